"""Shape and sizes of a config's dataset, without torch: checking a config needs them as much as training does."""

import math
from dataclasses import replace
from pathlib import Path

from bnexp.config.data_section import DataConfig
from bnexp.config.datasets import DATASETS, MAX_WHITENED_FEATURES, DatasetInfo
from bnexp.data.sources.image_folder import folder_info
from bnexp.data.sources.npz_file import npz_info
from bnexp.errors import ConfigError


def dataset_info(data: DataConfig, data_dir: Path) -> DatasetInfo:
    """Return what the chosen dataset holds. The disk is only looked at for a set of your own.

    Args:
        data: the section `data` of a config.
        data_dir: where datasets lie.

    Raises:
        ConfigError: missing, or it cannot be preprocessed as the config says.
        BnexpError: a set of your own is broken.
    """
    info = _found(data, data_dir)
    _refuse_to_whiten_too_much(data, info)
    return info


def _found(data: DataConfig, data_dir: Path) -> DatasetInfo:
    if data.dataset == "image_folder":
        return folder_info(data, data_dir)
    if data.dataset == "npz":
        return npz_info(data, data_dir)
    info = DATASETS[data.dataset]
    if data.synthetic is None:
        return info
    made = data.synthetic
    return replace(
        info, shape=made.shape, classes=made.classes, train_examples=made.size, test_examples=made.test_examples
    )


def _refuse_to_whiten_too_much(data: DataConfig, info: DatasetInfo) -> None:
    features = math.prod(info.shape)
    if data.whitens and features > MAX_WHITENED_FEATURES:
        size = " x ".join(map(str, info.shape))
        raise ConfigError(
            f"data.preprocess {data.preprocess}: {size} = {features:,} features have a covariance of "
            f"{8 * features**2 / 1e9:,.1f} GB; expected at most {MAX_WHITENED_FEATURES:,} features"
        )
