"""A validation part that lies elsewhere: `data.val_path`."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bnexp.blueprint import draw
from bnexp.config.data_section import data_config
from bnexp.config.loading import load_config
from bnexp.data.load import load_dataset, load_image_folder, load_npz
from bnexp.data.sources.facts import dataset_info
from bnexp.data.sources.place import moved
from bnexp.errors import BnexpError, ConfigError


def put(folder, name, first, count):
    (folder / name).mkdir(parents=True)
    for number in range(count):
        Image.new("L", (4, 3), first + number).save(folder / name / f"{number}.png")


@pytest.fixture
def photos(tmp_path):
    """Return a data folder with `own`, class folders, and `held_out`, two images of one of the classes."""
    put(tmp_path / "own", "cat", 10, 10)
    put(tmp_path / "own", "dog", 100, 10)
    put(tmp_path / "held_out", "dog", 200, 2)
    return tmp_path


def folder_data(val_path="held_out", path="own"):
    return data_config("image_folder", path=path, val_path=str(val_path))


def values(part):
    return sorted(part.images[:, 0, 0, 0].tolist())


def test_images_of_another_folder_are_the_validation_part(photos):
    info, images = dataset_info(folder_data(), photos), load_image_folder(folder_data(), photos)
    assert values(images.val) == [200, 201]
    assert images.val.labels.tolist() == [1, 1]
    assert sorted(values(images.train) + values(images.test)) == [*range(10, 20), *range(100, 110)]
    assert (info.train_examples, info.val_examples, info.test_examples) == (16, 2, 4)
    assert info.account.lines()[0] == f"22 of 22 files in {photos / 'own'} used: 22 PNG"
    assert f"{photos / 'held_out'} is the validation part; data.val_fraction is not used." in info.notes
    assert any(line.startswith("val: no image of class cat") for line in info.warnings)


def test_it_may_lie_in_the_folder_beside_the_other_parts(photos):
    put(photos / "set" / "test", "cat", 30, 1)
    put(photos / "set" / "test", "dog", 130, 1)
    shutil.move(photos / "own", photos / "set" / "train")
    shutil.move(photos / "held_out", photos / "set" / "held_out")
    data = folder_data("set/held_out", "set")
    images = load_image_folder(data, photos)
    assert [values(part) for part in (images.val, images.test)] == [[200, 201], [30, 130]]
    account = dataset_info(data, photos).account
    assert (account.seen, account.used, account.passed_over) == (24, 24, ())


def test_its_content_counts_and_not_its_place(photos):
    before = dataset_info(folder_data(), photos)
    assert any("images are kept in" in note for note in before.notes)
    (photos / "held_out").rename(photos / "moved")
    moved = dataset_info(folder_data("moved"), photos)
    assert not any("images are kept in" in note for note in moved.notes)  # taken from the cache
    Image.new("L", (4, 3), 7).save(photos / "moved" / "dog" / "0.png")
    assert values(load_image_folder(folder_data("moved"), photos).val) == [7, 201]


def test_two_validation_parts_are_refused(photos):
    put(photos / "set" / "val", "cat", 30, 1)
    put(photos / "set" / "test", "cat", 40, 1)
    shutil.move(photos / "own", photos / "set" / "train")
    with pytest.raises(ConfigError, match=r"has val/, and data\.val_path names .*held_out; expected one"):
        dataset_info(folder_data(path="set"), photos)


@pytest.mark.parametrize("val_path", ["own", "own/cat", "."])
def test_images_are_not_used_twice(photos, val_path):
    with pytest.raises(ConfigError, match="lie in each other"):
        dataset_info(folder_data(val_path), photos)


def test_a_class_that_is_not_trained_on_is_refused(photos):
    put(photos / "held_out", "dgo", 1, 1)
    with pytest.raises(ConfigError, match=r'held_out/dgo: a class that the images .*Did you mean "dog"'):
        dataset_info(folder_data(), photos)
    with pytest.raises(ConfigError, match=r"data\.val_path nowhere: no such folder"):
        dataset_info(folder_data("nowhere"), photos)


@pytest.fixture
def arrays(tmp_path):
    """Return a folder with `own.npz` and, as others name its arrays, `val.npz`."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 4, 3)).astype(np.uint8)
    labels = np.array(["cat", "dog"])[np.arange(30) % 2]
    np.savez(tmp_path / "own.npz", x=pixels[:20], y=labels[:20])
    np.savez(tmp_path / "val.npz", x=pixels[20:], y=labels[20:], ids=np.arange(10))
    return tmp_path


def npz_data(val_path="val.npz", path="own.npz"):
    return data_config("npz", path=path, val_path=val_path)


def test_arrays_of_another_file_are_the_validation_part(arrays):
    info, images = dataset_info(npz_data(), arrays), load_npz(npz_data(), arrays)
    with np.load(arrays / "val.npz") as stored:
        np.testing.assert_array_equal(images.val.images[:, 0], stored["x"])
    assert images.val.labels.tolist() == [0, 1] * 5
    assert (info.train_examples, info.val_examples, info.test_examples) == (16, 10, 4)
    assert "val.npz:x is the validation part; data.val_fraction does not apply." in info.notes
    assert (info.account.seen, info.account.used) == (5, 4)
    assert "val.npz:ids" in str(info.account.passed_over[0])
    assert load_npz(data_config("npz", path="own.npz"), arrays).val is None


@pytest.mark.parametrize("names", [("x_val", "y_val"), ("val_images", "val_labels"), ("x_test", "y_test")])
def test_its_arrays_may_be_those_of_any_one_part(arrays, names):
    with np.load(arrays / "val.npz") as stored:
        np.savez(arrays / "other.npz", **{names[0]: stored["x"], names[1]: stored["y"]})
    assert torch.equal(load_npz(npz_data("other.npz"), arrays).val.images, load_npz(npz_data(), arrays).val.images)


def test_arrays_that_could_be_two_parts_are_refused(arrays):
    with np.load(arrays / "val.npz") as stored:
        x, y = stored["x"], stored["y"]
    np.savez(arrays / "both.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    np.savez(arrays / "with_val.npz", x_train=x, y_train=y, x_val=x, y_val=y)
    np.savez(arrays / "far.npz", x=x / 255, y=y)
    with pytest.raises(BnexpError, match=r"both\.npz has several parts \(x_train, x_test\) and none for validation"):
        dataset_info(npz_data("both.npz"), arrays)
    with pytest.raises(BnexpError, match=r"has x_val, and data\.val_path names val\.npz; expected one"):
        dataset_info(npz_data(path="with_val.npz"), arrays)
    with pytest.raises(ConfigError, match=r"is the file of data\.path"):
        dataset_info(npz_data("own.npz"), arrays)
    with pytest.raises(BnexpError, match=r"x is uint8 .* and far\.npz:x is float64 .* expected one type and one range"):
        dataset_info(npz_data("far.npz"), arrays)


def test_its_place_is_found_like_that_of_the_set_and_moves_with_it(arrays, monkeypatch):
    config = arrays / "c.yaml"
    config.write_text(
        "data: {dataset: npz, path: own.npz, val_path: val.npz, batch_size: 4}\noptimizer: {name: sgd, lr: 0.1}\n"
        "model: {arch: mlp, hidden: [4], block: linear -> norm -> relu, norm: bn}\ntraining: {epochs: 1}\n"
    )
    blueprint = draw(load_config(config), arrays / "elsewhere")
    assert Path(blueprint.config.data.val_path) == arrays / "val.npz"
    dataset = load_dataset(blueprint.config.data, blueprint.info, blueprint.plan, Path("none"), torch.device("cpu"))
    assert (blueprint.plan.train_examples, blueprint.plan.val_examples, len(dataset.val)) == (16, 10, 10)
    (arrays / "new").mkdir()
    for name in ("own.npz", "val.npz"):
        (arrays / name).rename(arrays / "new" / name)
    found = moved(blueprint.config.data, arrays / "new")
    assert (Path(found.path), Path(found.val_path)) == (arrays / "new" / "own.npz", arrays / "new" / "val.npz")
