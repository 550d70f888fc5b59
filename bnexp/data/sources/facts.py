"""Find shape and sizes of a config's dataset without torch: checking a config needs them as much as training does."""

from pathlib import Path

from bnexp.config.data_section import DATASETS, DataConfig, DatasetInfo, ImageFolderData, NpzData, SyntheticData
from bnexp.config.refusals import refuse_to_whiten_too_much


def dataset_info(data: DataConfig, data_dir: Path) -> DatasetInfo:
    """Return what the chosen dataset holds. The disk is only looked at for a set of your own.

    Raises:
        ConfigError: missing, or it cannot be preprocessed as the config says.
        BnexpError: a set of your own is broken.
    """
    if isinstance(data, ImageFolderData):
        from bnexp.data.sources.image_folder import folder_info  # loads Pillow

        info = folder_info(data, data_dir)
    elif isinstance(data, NpzData):
        from bnexp.data.sources.npz_file import npz_info

        info = npz_info(data, data_dir)
    else:
        info = DATASETS[data.dataset]
    if isinstance(data, SyntheticData):
        made = data.synthetic
        info = DatasetInfo(info.summary, made.shape, made.classes, made.size, made.test_examples)
    refuse_to_whiten_too_much(data, info)
    return info
