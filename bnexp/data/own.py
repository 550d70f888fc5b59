"""Sets of your own: a folder of images, or arrays in an npz file."""

from pathlib import Path

import torch

from bnexp.config.data_section import DataConfig
from bnexp.config.randomness import SPLIT_SEED
from bnexp.data.images import ImageSet, Part
from bnexp.data.split import stratified_split
from bnexp.sources.folder_set import open_folder
from bnexp.sources.npz_file import read_npz


def load_image_folder(data: DataConfig, data_dir: Path) -> ImageSet:
    """Return the images of a folder; without `train/` and `test/` a fixed, stratified fifth is the test set.

    Raises:
        ConfigError: the folder is missing or not made of parts and classes.
        BnexpError: images are broken and `data.skip_broken` is not set.
    """
    opened = open_folder(data, data_dir)
    whole = Part(torch.from_numpy(opened.images()), torch.tensor(opened.about.labels))
    split = opened.about.train_examples
    if split is None:
        rest, test = stratified_split(whole.labels, opened.test_examples, SPLIT_SEED)
        return ImageSet(whole.take(rest), whole.take(test))
    return ImageSet(Part(whole.images[:split], whole.labels[:split]), Part(whole.images[split:], whole.labels[split:]))


def load_npz(data: DataConfig, data_dir: Path) -> ImageSet:
    """Return the arrays of an npz file.

    Raises:
        ConfigError: no such file.
        BnexpError: its arrays are not images and labels.
    """
    found = read_npz(data, data_dir)
    train = Part(torch.from_numpy(found.x_train), torch.from_numpy(found.y_train))
    return ImageSet(train, Part(torch.from_numpy(found.x_test), torch.from_numpy(found.y_test)))
