"""The section `data` of the config: what is learned from."""

import math
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from bnexp.config.datasets import AUGMENTATIONS, OWN_DATASETS, PREPROCESSINGS, AugmentName, DatasetName, PreprocessName
from bnexp.config.section import Bool, Float, Int, Section, listed
from bnexp.config.wording import shown

MAX_SIDE = 4096
ImageSide = Annotated[Int, Field(ge=1, le=MAX_SIDE)]
MAX_SYNTHETIC_GB = 1_000
"""Memory in which synthetic images are made, more than any machine has free for them."""


class SyntheticConfig(Section):
    """Options of the dataset `synthetic`: one random pattern per class, plus noise."""

    classes: Int = Field(10, ge=2, le=1000)
    """number of classes"""
    shape: tuple[Int, Int, Int] = (1, 28, 28)
    """channels, height and width of an image"""
    size: Int = Field(2_000, ge=10, le=10_000_000)
    """examples for training and validation; a fifth as many more for the test"""
    noise: Float = Field(0.25, ge=0, le=10)
    """standard deviation of the noise; 1 is the range of a pixel"""

    @field_validator("shape")
    @classmethod
    def _in_range(cls, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(shape) < 1 or max(shape) > MAX_SIDE:
            bounds = f"at least 1 and at most {MAX_SIDE}"
            raise ValueError(f"channels, height and width must each be {bounds}, found {shown(shape)}")
        return shape

    @model_validator(mode="after")
    def _fits_in_memory(self) -> "SyntheticConfig":
        images, shape = self.size + self.classes, " x ".join(map(str, self.shape))
        size = 4 * images * math.prod(self.shape) // 10**9
        if size > MAX_SYNTHETIC_GB:
            expected = f"expected at most {MAX_SYNTHETIC_GB:,} GB"
            raise ValueError(f"{images:,} images and patterns of {shape} take {size:,} GB to be made; {expected}")
        return self

    @property
    def test_examples(self) -> int:
        """Examples for the test, made besides `size`."""
        return max(self.size // 5, 1)


class DataConfig(Section):
    """What is learned from, and in which portions."""

    dataset: DatasetName
    """which images; `bnexp catalog` describes each"""
    batch_size: Int = Field(128, ge=1, le=1_000_000_000)
    """examples per training step, and per batch statistic of bn"""
    eval_batch_size: Int = Field(1024, ge=1, le=1_000_000_000)
    """examples per evaluation step; changes speed and memory, never a figure beyond rounding"""
    val_fraction: Float = Field(0.1, gt=0, lt=1)
    """part of the training set kept for validation: a fixed, stratified split that the seed does not change"""
    limit: Int | None = Field(None, ge=1, le=1_000_000_000)
    """train on the first n examples only, in an order that mixes the classes; validation and test stay whole"""
    drop_last: Bool = False
    """leave out the last batch of an epoch when it is not full"""
    preprocess: PreprocessName = Field(
        "standardize", description=f"from bytes to inputs, fitted on the training part; {listed(PREPROCESSINGS)}"
    )
    whiten_eps: Float | None = Field(None, gt=0)
    """with pca_whiten and zca_whiten: added to each variance, in units of the squared pixel range (default 0.001)"""
    augment: AugmentName = Field(
        "none", description=f"how training images are changed at each step; {listed(AUGMENTATIONS)}"
    )
    download: Bool = True
    """fetch a missing dataset"""
    path: str | None = Field(None, max_length=1024)
    """with image_folder and npz: the folder or file, absolute or relative to the data folder (`--data-dir`)"""
    image_size: tuple[ImageSide, ImageSide] | None = None
    """with image_folder: height and width that images are scaled and cropped to (default: theirs, or the median)"""
    skip_broken: Bool = False
    """with image_folder: leave images out that cannot be read, instead of stopping"""
    synthetic: SyntheticConfig | None = None
    """only with `dataset: synthetic`"""

    @model_validator(mode="before")
    @classmethod
    def _fill_synthetic(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("dataset") == "synthetic":
            return {"synthetic": {}, **values}
        return values

    @field_validator("path")
    @classmethod
    def _can_be_a_name(cls, path: str | None) -> str | None:
        if path is not None and "\0" in path:
            raise ValueError(f"expected the name of a folder or file, found {shown(path)}")
        return path

    @model_validator(mode="after")
    def _own_sets_have_a_path(self) -> "DataConfig":
        own = self.dataset in OWN_DATASETS
        if own and not self.path:
            raise ValueError(f"data.dataset {self.dataset} needs data.path: where it lies")
        if not own and self.path is not None:
            raise ValueError(f"data.path goes with data.dataset: image_folder or npz, found {self.dataset}")
        for key, value in (("image_size", self.image_size), ("skip_broken", self.skip_broken or None)):
            if value is not None and self.dataset != "image_folder":
                raise ValueError(f"data.{key} goes with data.dataset: image_folder, found {self.dataset}")
        return self

    @model_validator(mode="after")
    def _eps_is_of_whitening(self) -> "DataConfig":
        if self.whiten_eps is not None and not self.whitens:
            found = f"found data.preprocess: {self.preprocess}"
            raise ValueError(f"data.whiten_eps goes with data.preprocess: pca_whiten or zca_whiten, {found}")
        return self

    @property
    def whitens(self) -> bool:
        """Whether the preprocessing is one that needs the covariance of all features."""
        return self.preprocess in ("pca_whiten", "zca_whiten")

    @model_validator(mode="after")
    def _only_with_synthetic(self) -> "DataConfig":
        if self.synthetic is not None and self.dataset != "synthetic":
            raise ValueError(f"data.synthetic goes with data.dataset: synthetic, found data.dataset: {self.dataset}")
        return self
