"""Sets of your own, as parts of a dataset."""

import numpy as np
import pytest
import torch
from PIL import Image

from bnexp.config.data_section import ImageFolderData, NpzData
from bnexp.data.load import load_image_folder, load_npz
from bnexp.data.sources.facts import dataset_info


@pytest.fixture
def folder(tmp_path):
    """Return class folders of ten and of five images, each of a value of its own."""
    for name, first, count in (("cat", 0, 10), ("dog", 100, 5)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(count):
            Image.new("L", (4, 3), first + number).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def values(part):
    return part.images[:, 0, 0, 0].tolist()


def test_one_folder_is_split_the_same_way_each_time_and_by_class(folder, tmp_path):
    data = ImageFolderData(dataset="image_folder", path="photos")
    first, again = load_image_folder(data, tmp_path), load_image_folder(data, tmp_path)
    for one, other in ((first.train, again.train), (first.test, again.test)):
        assert torch.equal(one.images, other.images)
        assert [int(value >= 100) for value in values(one)] == one.labels.tolist()
    assert sorted(values(first.train) + values(first.test)) == [*range(10), *range(100, 105)]
    assert torch.bincount(first.test.labels).tolist() == [2, 1]
    info = dataset_info(data, tmp_path)
    assert (len(first.train), len(first.test)) == (info.train_examples, info.test_examples)
    assert first.train.images.shape[1:] == info.shape == (1, 3, 4)


def test_two_folders_are_the_two_parts(folder, tmp_path):
    for part in ("train", "test"):
        (tmp_path / "set" / part).mkdir(parents=True)
    for name in ("cat", "dog"):
        (folder / name).rename(tmp_path / "set" / "train" / name)
    (tmp_path / "set" / "test" / "dog").mkdir()
    Image.new("L", (4, 3), 200).save(tmp_path / "set" / "test" / "dog" / "x.png")
    images = load_image_folder(ImageFolderData(dataset="image_folder", path="set"), tmp_path)
    assert values(images.train) == [*range(10), *range(100, 105)]
    assert (values(images.test), images.test.labels.tolist()) == ([200], [1])


def test_arrays_become_parts(tmp_path):
    pixels = np.arange(2 * 5 * 4 * 3, dtype=np.uint8).reshape(2, 5, 4, 3)
    np.savez(tmp_path / "x.npz", x_train=pixels, y_train=[0, 1], x_test=pixels[:1], y_test=[1])
    images = load_npz(NpzData(dataset="npz", path="x.npz"), tmp_path)
    np.testing.assert_array_equal(images.train.images, pixels.transpose(0, 3, 1, 2))
    assert (images.train.images.dtype, images.train.labels.dtype) == (torch.uint8, torch.int64)
    assert (len(images.train), images.test.labels.tolist()) == (2, [1])
