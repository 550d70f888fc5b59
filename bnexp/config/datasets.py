"""The datasets, and what is done to their images: names and sizes, known without loading anything."""

from dataclasses import dataclass
from typing import Literal, get_args

DatasetName = Literal[
    "mnist", "fashion_mnist", "kmnist", "cifar10", "cifar100", "mnist5k", "synthetic", "image_folder", "npz"
]
DATASET_NAMES: tuple[DatasetName, ...] = get_args(DatasetName)


@dataclass(frozen=True)
class DatasetInfo:
    """What a dataset holds: image shape (C, H, W), classes, and examples for training + validation and for testing."""

    summary: str
    shape: tuple[int, int, int]
    classes: int
    train_examples: int
    test_examples: int
    notes: tuple[str, ...] = ()
    """what a person should know of the images found, a sentence each"""


DATASETS: dict[DatasetName, DatasetInfo] = {
    "mnist": DatasetInfo("handwritten digits, 60,000 + 10,000 (downloaded)", (1, 28, 28), 10, 60_000, 10_000),
    "fashion_mnist": DatasetInfo("photos of clothes, 60,000 + 10,000 (downloaded)", (1, 28, 28), 10, 60_000, 10_000),
    "kmnist": DatasetInfo("handwritten Japanese, 60,000 + 10,000 (downloaded)", (1, 28, 28), 10, 60_000, 10_000),
    "cifar10": DatasetInfo("small photos, 50,000 + 10,000 (downloaded)", (3, 32, 32), 10, 50_000, 10_000),
    "cifar100": DatasetInfo(
        "small photos in 100 classes, 50,000 + 10,000 (downloaded)", (3, 32, 32), 100, 50_000, 10_000
    ),
    "mnist5k": DatasetInfo("handwritten digits, 4,000 + 1,000 (carried, offline)", (1, 28, 28), 10, 4_000, 1_000),
    "synthetic": DatasetInfo(
        "patterns made on the spot: classes, shape and size as options", (1, 28, 28), 10, 2_000, 400
    ),
}
"""The sets whose sizes are known without a look at the disk."""

OWN_DATASETS: dict[DatasetName, str] = {
    "image_folder": "your images: train/ and test/ with a folder per class, or one folder of class folders",
    "npz": "your arrays: x_train, y_train, x_test, y_test in one NumPy file",
}
"""The sets of your own, at `data.path`; the disk knows their sizes."""

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
