"""The section `data` of the config, and the facts about datasets that are known without loading any."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, Self, get_args

from pydantic import AfterValidator, Field, TypeAdapter, ValidationInfo, field_validator, model_validator

from bnexp.config.section import Bool, Float, Int, Section, listed
from bnexp.config.wording import shown

NamedSet = Literal["mnist", "fashion_mnist", "kmnist", "cifar10", "cifar100", "mnist5k"]
DatasetName = Literal[NamedSet, "synthetic", "image_folder", "npz"]
DATASET_NAMES: tuple[DatasetName, ...] = get_args(DatasetName)


class DataAccount(Protocol):
    """What was found on the disk against what is used of it: an `Account` of `bnexp/data/sources/account.py`."""

    def lines(self) -> list[str]:
        """Return it for people."""

    def record(self) -> dict[str, Any]:
        """Return it for meta.json."""


@dataclass(frozen=True)
class DatasetInfo:
    """Image shape (C, H, W), classes, examples for training + validation and for the test, and what is known of them.

    `val_examples` are those of a validation part that the dataset brings; they then come on top of `train_examples`.
    `notes` inform; `warnings` are what gives reason to doubt the dataset.
    """

    summary: str
    shape: tuple[int, int, int]
    classes: int
    train_examples: int
    test_examples: int
    notes: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    """examples of each class in training and validation together; empty where all classes have as many"""
    val_examples: int | None = None
    warnings: tuple[str, ...] = ()
    account: DataAccount | None = None

    @property
    def guess(self) -> float:
        """Accuracy of always answering with the most frequent class, a fraction."""
        return max(self.class_counts) / sum(self.class_counts) if self.class_counts else 1 / self.classes


def unequal_counts(labels: Iterable[int], classes: int) -> tuple[int, ...]:
    """Return how many examples each class has, or nothing where all have as many."""
    found = Counter(labels)
    counts = tuple(found[label] for label in range(classes))
    return counts if len(set(counts)) > 1 else ()


UNEQUAL = 1.5
"""How many times larger a class is than another where accuracy says little of the smaller one; in MNIST it is 1.24."""


def are_unequal(counts: Sequence[int]) -> bool:
    """Tell whether the largest class has over 1.5 times the examples of the smallest, and not for one example alone."""
    least, most = min(counts), max(counts)
    return most - least > 1 and most > UNEQUAL * least


_GRAY, _COLOR = (1, 28, 28), (3, 32, 32)
DATASETS: dict[DatasetName, DatasetInfo] = {
    "mnist": DatasetInfo(
        "handwritten digits, 60,000 + 10,000 (downloaded)",
        _GRAY,
        10,
        60_000,
        10_000,
        class_counts=(5_923, 6_742, 5_958, 6_131, 5_842, 5_421, 5_918, 6_265, 5_851, 5_949),
    ),
    "fashion_mnist": DatasetInfo("photos of clothes, 60,000 + 10,000 (downloaded)", _GRAY, 10, 60_000, 10_000),
    "kmnist": DatasetInfo("handwritten Japanese, 60,000 + 10,000 (downloaded)", _GRAY, 10, 60_000, 10_000),
    "cifar10": DatasetInfo("small photos, 50,000 + 10,000 (downloaded)", _COLOR, 10, 50_000, 10_000),
    "cifar100": DatasetInfo("small photos in 100 classes, 50,000 + 10,000 (downloaded)", _COLOR, 100, 50_000, 10_000),
    "mnist5k": DatasetInfo("handwritten digits, 4,000 + 1,000 (carried, offline)", _GRAY, 10, 4_000, 1_000),
    "synthetic": DatasetInfo("patterns made on the spot: classes, shape and size as options", _GRAY, 10, 2_000, 400),
}
"""The datasets whose sizes are known without reading the disk."""

OWN_DATASETS: dict[DatasetName, str] = {
    "image_folder": "your images: train/, test/ and perhaps val/, a folder per class in each; or only class folders",
    "npz": "your arrays: x_train, y_train, x_test, y_test, or as others name them, in one NumPy file",
}
"""Datasets of the user's own, at `data.path`; their sizes are read from the disk."""

DATASET_SUMMARIES: dict[DatasetName, str] = {name: info.summary for name, info in DATASETS.items()} | OWN_DATASETS

CROP_PADDING = 4
"""Pixels around an image that `crop_flip` crops from."""
SHIFT_PIXELS = 2
"""Pixels by which `shift` shifts at most."""
DEFAULT_WHITEN_EPS = 1e-3
"""Lets a direction without variance be amplified by at most 1 / sqrt(0.001), 32 times."""
MAX_WHITENED_FEATURES = 12_288
"""Features that can be whitened: 3 x 64 x 64, whose covariance takes 1.2 GB in float64 and minutes to decompose."""

WRITTEN: tuple[DatasetName, ...] = ("mnist", "kmnist", "mnist5k")
"""The datasets of written signs, which must not be mirrored."""

PreprocessName = Literal["none", "center", "standardize", "scale", "pca_whiten", "zca_whiten"]
PREPROCESSINGS: dict[PreprocessName, str] = {
    "none": "pixels in 0 .. 1",
    "center": "less the mean of each pixel over the training part (He et al. 2015)",
    "standardize": "mean 0 and standard deviation 1 of each channel over the training part",
    "scale": "pixels in -1 .. 1",
    "pca_whiten": "uncorrelated features of variance 1, one per principal direction; no longer an image",
    "zca_whiten": "uncorrelated features of variance 1 that stay nearest to the image",
}

AugmentName = Literal["none", "crop_flip", "shift"]
AUGMENTATIONS: dict[AugmentName, str] = {
    "none": "images as they are",
    "crop_flip": f"random crop from {CROP_PADDING} pixels of zero padding, random mirroring left to right",
    "shift": f"random shift by up to {SHIFT_PIXELS} pixels, for digits",
}

Background = Literal["white", "black", "gray"]

_MAX_SIDE = 4096
ImageSide = Annotated[Int, Field(ge=1, le=_MAX_SIDE)]
MAX_SYNTHETIC_GB = 1_000
"""Memory that synthetic images may take while they are made; no machine has more free for them."""


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
        if min(shape) < 1 or max(shape) > _MAX_SIDE:
            bounds = f"at least 1 and at most {_MAX_SIDE}"
            raise ValueError(f"channels, height and width must each be {bounds}, found {shown(shape)}")
        return shape

    @model_validator(mode="after")
    def _fits_in_memory(self) -> Self:
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


class _DataSection(Section):
    dataset: str
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

    @model_validator(mode="after")
    def _eps_is_of_whitening(self) -> Self:
        if self.whiten_eps is not None and not self.whitens:
            found = f"found data.preprocess: {self.preprocess}"
            raise ValueError(f"data.whiten_eps goes with data.preprocess: pca_whiten or zca_whiten, {found}")
        return self

    @property
    def whitens(self) -> bool:
        """Whether the preprocessing needs the covariance of all features."""
        return self.preprocess in ("pca_whiten", "zca_whiten")


def _refuse_to_skip(skip_broken: bool, info: ValidationInfo) -> bool:
    if skip_broken:
        raise ValueError(f"data.skip_broken goes with data.dataset: image_folder, found {info.data['dataset']}")
    return skip_broken


NothingSkipped = Annotated[
    Bool, AfterValidator(_refuse_to_skip), Field(description="false: only an image_folder has broken files to skip")
]
"""The key `skip_broken` where it can only be false: the resolved config of every run has it."""


def _check_path(path: str) -> str:
    if not path or "\0" in path:
        raise ValueError(f"expected the name of a folder or file, found {shown(path)}")
    return path


class WrittenPath(str):
    """A relative path as a config file says it; it remembers the folder of that file, where nothing was."""

    folder: str


OwnPath = Annotated[str, Field(max_length=1024), AfterValidator(_check_path)]


class NamedData(_DataSection):
    """A published dataset, downloaded or carried along."""

    dataset: NamedSet
    """which images; `bnexp catalog` describes each"""
    skip_broken: NothingSkipped = False


class SyntheticData(_DataSection):
    """Images made on the spot."""

    dataset: Literal["synthetic"]
    skip_broken: NothingSkipped = False
    synthetic: SyntheticConfig = SyntheticConfig()
    """how the images are made"""


class ImageFolderData(_DataSection):
    """Your own images, a folder per class."""

    dataset: Literal["image_folder"]
    path: OwnPath
    """the folder, absolute or relative to: the config's folder, the data folder (`--data-dir`), the current one"""
    val_path: OwnPath | None = None
    """another folder of class folders, whose images are the validation part (default: val/, else `val_fraction`)"""
    image_size: tuple[ImageSide, ImageSide] | None = None
    """height and width that images are scaled and cropped to (default: theirs, or the median)"""
    background: Background | None = None
    """what transparent pixels are put on (default: white)"""
    class_level: Int | None = Field(None, ge=1, le=8)
    """how many folders below a part the class stands, where folders in a class folder may be meant (default: found)"""
    skip_broken: Bool = False
    """leave images out that cannot be read, instead of stopping"""


class NpzData(_DataSection):
    """Your own arrays, in one NumPy file."""

    dataset: Literal["npz"]
    path: OwnPath
    """the file, absolute or relative to: the config's folder, the data folder (`--data-dir`), the current one"""
    val_path: OwnPath | None = None
    """another npz file, whose images are the validation part (default: x_val and y_val, else `val_fraction`)"""
    skip_broken: NothingSkipped = False


OwnData = ImageFolderData | NpzData
OWN_PATHS = ("path", "val_path")
"""The keys of a set of the user's own that name places on the disk."""
DataConfig = NamedData | SyntheticData | ImageFolderData | NpzData


def data_config(dataset: DatasetName, **options: Any) -> DataConfig:
    """Return the section `data` for a dataset, with defaults for all keys that `options` does not give.

    Raises:
        ValidationError: an option that this dataset does not have, or a value that it does not take.
    """
    section: TypeAdapter[DataConfig] = TypeAdapter(Annotated[DataConfig, Field(discriminator="dataset")])
    return section.validate_python({"dataset": dataset, **options})
