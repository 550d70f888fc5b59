"""Shape and sizes of a config's dataset, without torch: checking a config needs them as much as training does."""

from dataclasses import replace
from pathlib import Path

from bnexp.config.data_section import DataConfig
from bnexp.config.datasets import DATASETS, DatasetInfo


def dataset_info(data: DataConfig, data_dir: Path) -> DatasetInfo:
    """Return what the chosen dataset holds. The disk is only looked at for a set of your own.

    Args:
        data: the section `data` of a config.
        data_dir: where datasets lie.
    """
    info = DATASETS[data.dataset]
    if data.synthetic is None:
        return info
    made = data.synthetic
    return replace(
        info, shape=made.shape, classes=made.classes, train_examples=made.size, test_examples=made.test_examples
    )
