"""The datasets: their names and sizes, known without loading them."""

from dataclasses import dataclass
from typing import Literal, get_args

DatasetName = Literal["mnist", "fashion_mnist", "mnist5k", "synthetic"]
DATASET_NAMES: tuple[DatasetName, ...] = get_args(DatasetName)


@dataclass(frozen=True)
class DatasetInfo:
    """What a dataset holds: image shape (C, H, W), classes, and examples for training + validation and for testing."""

    summary: str
    shape: tuple[int, int, int]
    classes: int
    train_examples: int
    test_examples: int


DATASETS: dict[DatasetName, DatasetInfo] = {
    "mnist": DatasetInfo("handwritten digits, 60,000 + 10,000 (downloaded)", (1, 28, 28), 10, 60_000, 10_000),
    "fashion_mnist": DatasetInfo("photos of clothes, 60,000 + 10,000 (downloaded)", (1, 28, 28), 10, 60_000, 10_000),
    "mnist5k": DatasetInfo("handwritten digits, 4,000 + 1,000 (carried, offline)", (1, 28, 28), 10, 4_000, 1_000),
    "synthetic": DatasetInfo(
        "patterns made on the spot: classes, shape and size as options", (1, 28, 28), 10, 2_000, 400
    ),
}
