"""Find shape and sizes of a config's dataset without torch: checking a config needs them as much as training does."""

from dataclasses import replace
from pathlib import Path

from bnexp.config.data_section import DATASETS, DataConfig, DatasetInfo, ImageFolderData, NpzData, SyntheticData
from bnexp.config.refusals import refuse_to_whiten_too_much


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
    refuse_to_whiten_too_much(data, info)
    return info


def _found(data: DataConfig, data_dir: Path) -> DatasetInfo:
    if isinstance(data, ImageFolderData):
        from bnexp.data.sources.image_folder import folder_info

        return folder_info(data, data_dir)
    if isinstance(data, NpzData):
        from bnexp.data.sources.npz_file import npz_info

        return npz_info(data, data_dir)
    info = DATASETS[data.dataset]
    if not isinstance(data, SyntheticData):
        return info
    made = data.synthetic
    return replace(
        info, shape=made.shape, classes=made.classes, train_examples=made.size, test_examples=made.test_examples
    )
