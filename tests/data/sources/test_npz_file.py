"""Arrays in an npz file: what is taken, what is refused, and that nothing is unpickled."""

import os
import pickle

import numpy as np
import pytest

from bnexp.config.data_section import NpzData
from bnexp.data.sources import npz_file
from bnexp.data.sources.facts import dataset_info
from bnexp.data.sources.npz_file import read_npz
from bnexp.errors import BnexpError, ConfigError


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def arrays(**changes):
    return {
        "x_train": pixels(6, 5, 4, 3),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": pixels(2, 5, 4, 3),
        "y_test": np.array([2, 0]),
        **changes,
    }


@pytest.fixture
def read(tmp_path):
    """Return what saves arrays and reads them back as a dataset."""

    def read_back(save=np.savez, **changes):
        save(tmp_path / "set.npz", **{name: array for name, array in arrays(**changes).items() if array is not None})
        return read_npz(NpzData(dataset="npz", path="set.npz"), tmp_path)

    return read_back


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_channels_may_come_last(read, save):
    found = read(save)
    np.testing.assert_array_equal(found.x_train, pixels(6, 5, 4, 3).transpose(0, 3, 1, 2))
    assert found.x_train.flags.c_contiguous
    assert found.y_test.tolist() == [2, 0]
    assert found.y_train.dtype == np.int64


def test_channels_may_come_first(read):
    found = read(x_train=pixels(6, 3, 5, 4), x_test=pixels(2, 1, 5, 4).repeat(3, axis=1))
    np.testing.assert_array_equal(found.x_train, pixels(6, 3, 5, 4))


def test_gray_images_need_no_channels(read):
    found = read(x_train=pixels(6, 28, 28), x_test=pixels(2, 28, 28))
    np.testing.assert_array_equal(found.x_train[:, 0], pixels(6, 28, 28))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_labels_may_be_a_column_of_any_whole_numbers(read, dtype):
    assert read(y_train=np.array([[0], [1], [2], [0], [1], [2]], dtype=dtype)).y_train.tolist() == [0, 1, 2, 0, 1, 2]


REFUSED = {
    "a missing array": ({"y_test": None}, "no array y_test; found x_train, y_train, x_test; expected x_train"),
    "floats": ({"x_train": np.zeros((6, 5, 4))}, r"x_train is float64, expected uint8; \(255 \* x\)"),
    "wide integers": ({"x_test": np.zeros((2, 5, 4, 3), dtype=int)}, "x_test is int64, expected uint8$"),
    "flat images": ({"x_train": pixels(6, 60)}, r"x_train has shape \(6, 60\); expected \(N, H, W\)"),
    "empty images": ({"x_train": pixels(6, 0, 4)}, r"x_train has shape \(6, 0, 4\); expected"),
    "seven channels": ({"x_train": pixels(6, 5, 4, 7)}, r"shape \(6, 5, 4, 7\); expected.*C 1 or 3"),
    "two readings": ({"x_train": pixels(6, 3, 5, 3)}, "could be the second or the last"),
    "no test": ({"x_test": pixels(0, 5, 4, 3), "y_test": np.zeros(0, dtype=int)}, "x_test holds 0 images"),
    "other lengths": ({"y_train": np.array([0, 1])}, "x_train holds 6 images and y_train 2 labels"),
    "other shapes": ({"x_test": pixels(2, 5, 5, 3)}, r"\(3, 5, 4\) and x_test \(C, H, W\) = \(3, 5, 5\)"),
    "labels that are fractions": ({"y_test": np.array([0.0, 1.0])}, "y_test is float64, expected whole numbers"),
    "one-hot labels": ({"y_train": np.eye(6, dtype=int)}, r"y_train has shape \(6, 6\), expected \(N,\)"),
    "a negative label": ({"y_train": np.array([-1, 0, 1, 2, 0, 1])}, "4 classes, expected 0 .. 3.*found -1"),
    "a gap": ({"y_train": np.array([0, 1, 3, 0, 1, 3])}, "expected 0 .. 2 without a gap; found 3"),
    "one class": ({"y_train": np.zeros(6, dtype=int), "y_test": np.zeros(2, dtype=int)}, "the one class 0"),
    "an unknown class": ({"y_test": np.array([0, 3])}, "y_test has the class 3, which y_train does not have"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_arrays_that_are_no_dataset_are_refused(read, tmp_path, kind):
    changes, message = REFUSED[kind]
    with pytest.raises(BnexpError, match=message) as found:
        read(**changes)
    assert str(tmp_path / "set.npz") in str(found.value)


class Hostile:
    """Marks a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", npz_file.NAMES)
def test_pickled_arrays_are_refused_and_never_run(read, tmp_path, name):
    array = np.empty(6, dtype=object)
    array[0] = Hostile(tmp_path / "hacked")
    with pytest.raises(BnexpError, match=f"{name} holds Python objects, which are pickled and never loaded"):
        read(**{name: array})
    assert not (tmp_path / "hacked").exists()


def test_a_pickle_in_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "set.npz").write_bytes(pickle.dumps(Hostile(tmp_path / "hacked")))
    with pytest.raises(BnexpError, match="not an npz file"):
        read_npz(NpzData(dataset="npz", path="set.npz"), tmp_path)
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_file_is_named(read, tmp_path, damage):
    read()
    path = tmp_path / "set.npz"
    content = bytearray(path.read_bytes())
    content[content.index(pixels(6, 5, 4, 3).tobytes()[:40])] ^= 1
    path.write_bytes({"truncated": path.read_bytes()[:-40], "flipped": content, "empty": b""}[damage])
    with pytest.raises(BnexpError, match=r"set\.npz: truncated, corrupt or not an npz file"):
        read_npz(NpzData(dataset="npz", path="set.npz"), tmp_path)


def test_more_than_fits_in_memory_is_refused_before_it_is_read(read, monkeypatch):
    monkeypatch.setattr(npz_file, "MAX_SET_BYTES", 500)
    with pytest.raises(BnexpError, match=r"GiB in memory, expected at most"):
        read()


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "set.npz")
    with pytest.raises(ConfigError, match=r"set\.npz: cannot be read: not a regular file"):
        read_npz(NpzData(dataset="npz", path="set.npz"), tmp_path)


def test_what_is_a_pickle_before_it_is_a_zip_is_never_unpickled(read, tmp_path):
    read()
    path = tmp_path / "set.npz"
    path.write_bytes(pickle.dumps(Hostile(tmp_path / "hacked")) + path.read_bytes())
    read_npz(NpzData(dataset="npz", path="set.npz"), tmp_path)
    assert not (tmp_path / "hacked").exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.path gone\.npz: no such file"):
        read_npz(NpzData(dataset="npz", path="gone.npz"), tmp_path)


def test_a_folder_in_its_place_is_named(tmp_path):
    with pytest.raises(ConfigError, match="Is a directory"):
        read_npz(NpzData(dataset="npz", path="."), tmp_path)


def test_shape_and_sizes_are_those_found(read, tmp_path):
    read()
    info = dataset_info(NpzData(dataset="npz", path="set.npz"), tmp_path)
    assert (info.shape, info.classes, info.train_examples, info.test_examples) == ((3, 5, 4), 3, 6, 2)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_and_a_device_without_an_end_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    for path in ("pipe.npz", "/dev/zero"):
        with pytest.raises(ConfigError, match=f"{path}: cannot be read: not a regular file"):
            read_npz(NpzData(dataset="npz", path=path), tmp_path)
