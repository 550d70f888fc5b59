"""Arrays in an npz file: what is taken, what is refused, and that nothing is unpickled."""

import os
import pickle
import re

import numpy as np
import pytest
import torch

from bnexp.config.data_section import NpzData
from bnexp.data.load import load_npz
from bnexp.data.sources import npz_file
from bnexp.data.sources.class_names import class_names
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
    np.testing.assert_array_equal(found.images["train"], pixels(6, 5, 4, 3).transpose(0, 3, 1, 2))
    assert found.images["train"].flags.c_contiguous
    assert found.labels["test"].tolist() == [2, 0]
    assert found.labels["train"].dtype == np.int64


def test_channels_may_come_first(read):
    found = read(x_train=pixels(6, 3, 5, 4), x_test=pixels(2, 1, 5, 4).repeat(3, axis=1))
    np.testing.assert_array_equal(found.images["train"], pixels(6, 3, 5, 4))


def test_gray_images_need_no_channels(read):
    found = read(x_train=pixels(6, 28, 28), x_test=pixels(2, 28, 28))
    np.testing.assert_array_equal(found.images["train"][:, 0], pixels(6, 28, 28))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_labels_may_be_a_column_of_any_whole_numbers(read, dtype):
    assert read(y_train=np.array([[0], [1], [2], [0], [1], [2]], dtype=dtype)).labels["train"].tolist() == [
        0,
        1,
        2,
        0,
        1,
        2,
    ]


SIX = np.array([0, 1, 2, 0, 1, 2])
REFUSED = {
    "a missing array": (
        {"y_test": None},
        r"no array to go with x_test; found x_train, .*\('set-named.npz', x=a\['x_train'\], y=a\['y_train'\]\)",
    ),
    "channels laid flat": ({"x_train": pixels(6, 192)}, r"x_train.reshape\(-1, 3, 8, 8\).*reshape\(-1, 8, 8, 3\)"),
    "rows that are no square": ({"x_train": pixels(6, 60)}, r"x_train.reshape\(-1, HEIGHT, WIDTH\)"),
    "rows of a table": ({"x_train": pixels(6, 4), "x_test": pixels(2, 4)}, r"x_train.reshape\(-1, HEIGHT, WIDTH\)"),
    "images in columns": ({"x_train": pixels(64, 6)}, r"x_train\.T has the images in rows"),
    "empty images": ({"x_train": pixels(6, 0, 4)}, r"x_train has shape \(6, 0, 4\), expected at least 1"),
    "seven channels": ({"x_train": pixels(6, 5, 4, 7)}, r"shape \(6, 5, 4, 7\); expected.*C 1 or 3"),
    "alpha": (
        {"x_train": pixels(6, 5, 6, 4)},
        r"on (black|white): a = x_train\[..., 3:\] / 255; \(x_train\[..., :3\] \* a",
    ),
    "alpha first": ({"x_train": pixels(6, 2, 5, 6)}, r"a = x_train\[:, 1\] / 255; \(x_train\[:, 0\] \* a"),
    "volumes": ({"x_train": pixels(6, 5, 5, 5, 1)}, r"np\.squeeze\(x_train\) drops axes of 1"),
    "two readings": ({"x_train": pixels(6, 3, 5, 3)}, "could be the second or the last"),
    "no test": (
        {"x_test": pixels(0, 5, 4, 3), "y_test": np.zeros(0, dtype=int)},
        "x_test has shape .*at least 1 image",
    ),
    "other lengths": ({"y_train": np.array([0, 1, 2])}, "x_train holds 6 images and y_train 3 labels"),
    "other shapes": ({"x_test": pixels(2, 5, 5, 3)}, r"\(3, 5, 4\) and x_test \(C, H, W\) = \(3, 5, 5\)"),
    "text for images": ({"x_train": np.full((6, 5, 4, 3), "a")}, "x_train is <U1, expected numbers"),
    "NaN": ({"x_train": np.full((6, 5, 4, 3), np.nan)}, r"360 values that are NaN .*np\.nan_to_num\(x_train"),
    "labels that are fractions": ({"y_test": np.array([0.0, 1.5])}, r"y_test is float64.*y_test\[1\] = 1.5"),
    "labels that lack": ({"y_train": np.array([0, 1, 2, 0, 1, np.nan])}, r"keep = ~np\.isnan\(y_train\)"),
    "empty text": ({"y_train": np.array([*"abcab", ""]), "y_test": np.array([*"ab"])}, r"1 of 6 labels are empty"),
    "two spellings": (
        {"y_train": np.array(["cat", "dog", "Cat ", "cat", "dog", "dog"]), "y_test": np.array(["cat", "dog"])},
        r'"Cat " and "cat", which differ in capitals or spaces',
    ),
    "bytes that are no text": ({"y_train": np.array([b"\xe9"] * 6)}, "latin-1"),
    "two kinds": ({"y_test": np.array(["0", "1"])}, "y_train is numbers and y_test is text"),
    "several classes an image": (
        {"y_train": np.ones((6, 3), dtype=int)},
        r"y_train\[0\] = 1, 1, 1; .*sum.* of several classes",
    ),
    "no class an image": ({"y_train": np.eye(4)[SIX][:, 1:]}, "sum.*== 1 .*without a class"),
    "one-hot rows across": ({"y_train": np.eye(6)[:3] + np.eye(6)[3:]}, r"y_train\.T has the images in rows"),
    "one-hot rows of another width": (
        {"y_train": np.eye(3)[SIX], "y_test": np.eye(4)[SIX[:2]]},
        "y_train has rows of 3 and y_test has rows of 4; expected",
    ),
    "labels of pixels": ({"y_train": np.zeros((6, 5, 4))}, "segmentation"),
    "one-hot rows in an axis of 1": ({"y_train": np.eye(3)[SIX][:, None]}, r"np\.squeeze\(y_train\)"),
    "an empty part": ({"x_train": pixels(0, 5, 4, 3), "y_train": SIX[:0]}, r"y_train has shape \(0,\), .*1 label"),
    "a single number": ({"x_train": np.array(5)}, r"x_train has shape \(\): a single value, no images"),
    "a single label": ({"y_train": np.array(5)}, r"y_train has shape \(\), .*one label for each image"),
    "a word for nothing": (
        {"y_train": np.array(["nan", "bee", "ant"])[SIX], "y_test": np.array(["ant", "bee"])},
        r"'nan', which .*~np\.isin\(y_train, \['nan'\]",
    ),
    "a number for nothing": ({"y_train": np.array([0, 1, -999])[SIX]}, "holds -999 beside 0, 1.*y_train != -999"),
    "another spelling": (
        {"y_train": np.array(["ant", "bee", "cat"])[SIX], "y_test": np.array(["Ant ", "bee"])},
        r"another spelling: np\.char\.lower",
    ),
    "no label of a test": ({"y_test": np.array([-1, -1])}, "all of them; if they are no labels, leave y_test and its"),
    "channels before images": ({"x_train": pixels(3, 6, 5, 4)}, r"x_train\.transpose\(1, 0, 2, 3\)"),
    "a marker": ({"y_train": np.array([-1, 0, 1, 2, 0, 1])}, "holds -1 beside 0 .. 2.*keep = y_train != -1"),
    "a marker at the end": ({"y_train": np.array([255, 0, 1, 2, 0, 1])}, "holds 255 beside 0 .. 2"),
    "one class": ({"y_train": np.zeros(6, dtype=int), "y_test": np.zeros(2, dtype=int)}, "the one class 0"),
    "an unknown class": (
        {"y_test": np.array([0, 3])},
        r"y_test has the class 3, which.*keep = np.isin\(y_test, y_train\)",
    ),
    "the same twice": (
        {"X_train": pixels(6, 5, 4, 3), "x_train": None, "train_images": pixels(6)},
        "could be the same",
    ),
    "other names": (
        {**dict.fromkeys(arrays()), "arr_0": pixels(6, 4, 4), "arr_1": SIX},
        r"no arrays of known names; found arr_0, arr_1; expected .*, x=a\['arr_0'\], y=a\['arr_1'\]\)",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_arrays_that_are_no_dataset_are_refused(read, tmp_path, kind):
    changes, message = REFUSED[kind]
    with pytest.raises(BnexpError, match=message) as found:
        read(**changes)
    assert str(tmp_path / "set.npz") in str(found.value)


RENAMED = {
    "exchanged": {"x_train": "y_train", "y_train": "x_train", "x_test": "y_test", "y_test": "x_test"},
    "other words": {"train_in": "x_train", "train_out": "y_train", "holdout_in": "x_test", "holdout_out": "y_test"},
    "in another order": {"d": "y_test", "c": "x_test", "b": "y_train", "a": "x_train"},
    "numbers": {"arr_0": "x_train", "arr_1": "y_train", "arr_2": "x_test", "arr_3": "y_test"},
}


@pytest.mark.parametrize("kind", RENAMED)
def test_the_line_that_renames_arrays_makes_a_file_that_is_read(read, tmp_path, monkeypatch, kind):
    stored = arrays()
    with pytest.raises(BnexpError, match=r"-named\.npz") as refused:
        read(**{**dict.fromkeys(stored), **{new: stored[name] for new, name in RENAMED[kind].items()}})
    monkeypatch.chdir(tmp_path)
    line = re.search(r"a = np\.load.*\)", str(refused.value))[0]
    exec(line, {"np": np})  # noqa: S102  the line of the message, as typed
    found = read_npz(NpzData(dataset="npz", path="set-named.npz"), tmp_path)
    np.testing.assert_array_equal(found.images["test"], stored["x_test"].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(found.labels["train"], stored["y_train"])


@pytest.mark.parametrize(
    ("changes", "test"),
    [
        ({"split": np.array(["train"] * 4 + ["test"] * 2)}, [1, 2]),
        ({"train_idx": np.array([0, 1, 2, 4]), "test_idx": np.array([3, 5])}, [0, 2]),
        ({"is_train": np.array([1, 1, 1, 0, 1, 0])}, [0, 2]),
    ],
)
def test_an_array_that_says_which_images_are_for_testing_is_not_passed_over(read, tmp_path, monkeypatch, changes, test):
    with pytest.raises(BnexpError, match="may say which images are for testing") as refused:
        read(**dict.fromkeys(arrays()), images=pixels(6, 5, 4, 3), labels=SIX, **changes)
    monkeypatch.chdir(tmp_path)
    exec(re.search(r"a = np\.load.*\)", str(refused.value))[0], {"np": np})  # noqa: S102  as typed
    found = read_npz(NpzData(dataset="npz", path="set-named.npz"), tmp_path)
    assert found.labels["test"].tolist() == test


def test_an_array_a_class_is_put_together_by_the_line(read, tmp_path, monkeypatch):
    with pytest.raises(BnexpError, match="where each array is a class") as refused:
        read(**dict.fromkeys(arrays()), cat=pixels(6, 5, 4, 3), dog=pixels(4, 5, 4, 3))
    monkeypatch.chdir(tmp_path)
    exec(re.search(r"a = np\.load.*\)", str(refused.value))[0], {"np": np})  # noqa: S102  as typed
    assert read_npz(NpzData(dataset="npz", path="set-named.npz"), tmp_path).classes == ("cat", "dog")


class Hostile:
    """Marks a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", list(arrays()))
def test_pickled_arrays_are_refused_and_never_run(read, tmp_path, name):
    array = np.empty(6, dtype=object)
    array[0] = Hostile(tmp_path / "hacked")
    with pytest.raises(BnexpError, match=f"{name} holds Python objects, which are pickled and never loaded"):
        read(**{name: array})
    assert not (tmp_path / "hacked").exists()


def test_a_pickle_in_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "set.npz").write_bytes(pickle.dumps(Hostile(tmp_path / "hacked")))
    with pytest.raises(BnexpError, match="a pickle, which can run code and is never loaded, expected an npz file"):
        read_npz(NpzData(dataset="npz", path="set.npz"), tmp_path)
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_file_is_named(read, tmp_path, damage):
    read()
    path = tmp_path / "set.npz"
    content = bytearray(path.read_bytes())
    content[content.index(pixels(6, 5, 4, 3).tobytes()[:40])] ^= 1
    path.write_bytes({"truncated": path.read_bytes()[:-40], "flipped": content, "empty": b""}[damage])
    with pytest.raises(BnexpError, match=r"set\.npz: (truncated, corrupt or not an npz file|an empty file, 0 bytes)"):
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
    with pytest.raises(ConfigError, match=r"a folder, expected an npz .*--set data\.dataset=image_folder"):
        read_npz(NpzData(dataset="npz", path="."), tmp_path)


RANGES = {
    "0 .. 1": (lambda x: x / 255, lambda x: x),
    "0 .. 1 of half precision": (lambda x: (x / 255).astype(np.float16), None),
    "-1 .. 1": (lambda x: x / 127.5 - 1, lambda x: x),
    "0 .. 255 of floats": (lambda x: x.astype(np.float32), lambda x: x),
    "fractions": (lambda x: x * 0.999, lambda x: np.round(x * 0.999)),
    "wide integers": (lambda x: x.astype(np.int64), lambda x: x),
    "16 bits": (lambda x: x.astype(np.uint16) * 257, lambda x: x),
    "12 bits": (lambda x: ((x.astype(int) * 4095 + 127) // 255).astype(np.uint16), lambda x: x),
    "truth": (lambda x: x > 127, lambda x: np.where(x > 127, 255, 0)),
}


@pytest.mark.parametrize("kind", RANGES)
def test_a_range_without_doubt_becomes_bytes_and_is_counted(read, kind):
    """The expected bytes are computed here, from the images before they were scaled."""
    store, expected = RANGES[kind]
    images = {
        "x_train": pixels(6, 5, 4, 3),
        "x_test": np.tile(np.array([0, 255], np.uint8), (2, 5, 2, 3)).reshape(2, 5, 4, 3),
    }
    found = read(**{name: store(array) for name, array in images.items()})
    wanted = (expected or np.asarray)(images["x_train"].astype(float)).transpose(0, 3, 1, 2)
    difference = np.abs(found.images["train"].astype(float) - wanted)
    assert difference.max() <= (0 if expected else 1)
    (changed,) = [change for change in found.account.changed if change.what.startswith("images of")]
    assert changed.count == 8


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (lambda x: x / 255 - 0.5, r"\(255 / 1 \* \(x_train \+ 0\.5\)\)"),
        (lambda x: (x / 255 - 0.1307) / 0.3081, r"\(255 / 3\.24\d+ \* \(x_train \+ 0\.424\d+\)\)"),
        (lambda x: x.astype(np.int32) * 10, r"\(255 / 2550 \* x_train\)"),
        (lambda x: x / 255 / 255, r"\(255 / 0\.0039\d+ \* x_train\)"),
        (lambda x: (x.astype(int) - 128).astype(np.int8), r"\(255 / 255 \* \(x_train\.astype\('f8'\) \+ 128\)\)"),
        (lambda x: x / 100.0, r"\(255 / 2\.55 \* x_train\)"),
    ],
)
def test_a_range_in_doubt_is_refused_and_the_line_is_right_for_it(read, values, line):
    images = {"x_train": pixels(6, 5, 4, 3), "x_test": pixels(2, 5, 4, 3)}
    for name in images:
        images[name].flat[:2] = (0, 255)
    with pytest.raises(BnexpError, match=line) as refused:
        read(**{name: values(array) for name, array in images.items()})
    mend = re.search(r"\(255 .*?astype\('uint8'\)", str(refused.value))[0]
    mended = eval(mend, {"x_train": values(images["x_train"])})  # noqa: S307  the line of the message, as typed
    np.testing.assert_array_equal(mended, images["x_train"])


@pytest.mark.parametrize(
    "test", [lambda x: x / 255, lambda x: x.astype(float), lambda x: (x // 128).astype(np.uint8), lambda x: x > 3]
)
def test_parts_that_were_scaled_in_different_ways_are_refused(read, test):
    x_train = pixels(6, 5, 4, 3)
    x_train.flat[:2] = (0, 255)
    with pytest.raises(BnexpError, match=r"x_train is uint8 in 0 \.\. 255 and x_test is .*scale them alike"):
        read(x_train=x_train, x_test=test(pixels(2, 5, 4, 3)))


LABELS = {
    "from one": (SIX + 1, ("1", "2", "3")),
    "with a gap": (np.array([0, 3, 8, 0, 3, 8]), ("0", "3", "8")),
    "of floats": (SIX.astype(np.float32), ()),
    "big-endian": (SIX.astype(">i4"), ()),
    "unsigned": (SIX.astype(np.uint64), ()),
    "one-hot": (np.eye(3)[SIX], ()),
    "one-hot of truth": (np.eye(3, dtype=bool)[SIX], ()),
    "a row": (SIX[None], ()),
    "text": (np.array(["ant", "bee", "cat"])[SIX], ("ant", "bee", "cat")),
    "large numbers": (SIX * 10**12, ("0", "1000000000000", "2000000000000")),
    "of half precision": (SIX.astype(np.float16), ()),
    "letters": (np.array(["-", "?", "a"])[SIX], ("-", "?", "a")),
    "bytes": (np.array(["ant", "b\xfc", "cat"])[SIX], ("ant", "b\xfc", "cat")),
    "numbers in text": (np.array(["2", "9", "10"])[SIX], ("2", "9", "10")),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_count_from_0_and_keep_their_names(read, tmp_path, kind):
    labels, names = LABELS[kind]
    if kind == "bytes":
        labels = np.char.encode(labels, "utf-8")
    test = labels[:, :2] if kind == "a row" else labels[:2]
    found = read(y_train=labels, y_test=test)
    assert (found.labels["train"].tolist(), found.labels["test"].tolist()) == (SIX.tolist(), [0, 1])
    assert class_names(NpzData(dataset="npz", path="set.npz"), tmp_path) == names


def test_names_in_two_forms_of_unicode_are_one_class(read):
    composed, apart = (np.array(["K\xe4se", "Brot", "Ei"])[SIX], np.array(["Ka\u0308se", "Brot"]))
    assert read(y_train=composed, y_test=apart).labels["test"].tolist() == [2, 0]


def test_the_line_that_puts_alpha_on_a_background_keeps_what_it_shows(read):
    shape = pixels(6, 5, 6, 4)[..., :1]
    white = np.concatenate([np.full((6, 5, 6, 3), 255, np.uint8), shape], axis=-1)
    with pytest.raises(BnexpError, match="on black") as refused:
        read(x_train=white)
    first, second = re.search(r"black: (a = .*?); (.*?'\))", str(refused.value)).groups()
    names = {"x_train": white}
    exec(first, names)  # noqa: S102  the line of the message, as typed
    np.testing.assert_array_equal(eval(second, names), shape.repeat(3, axis=-1))  # noqa: S307


def test_two_labels_may_be_true_and_false_or_minus_1_and_1(read):
    for low, high in ((False, True), (-1, 1)):
        found = read(y_train=np.array([low, high] * 3), y_test=np.array([high, low]))
        assert (found.labels["train"].tolist(), found.labels["test"].tolist()) == ([0, 1] * 3, [1, 0])


def test_names_of_classes_in_the_file_are_theirs(read, tmp_path):
    read(class_names=np.array(["ant", "bee", "cat"]))
    assert class_names(NpzData(dataset="npz", path="set.npz"), tmp_path) == ("ant", "bee", "cat")


NAMINGS = [
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("X_train", "Y_train", "X_test", "Y_test"),
    ("Xtr", "Ytr", "Xte", "Yte"),
    ("trainX", "trainy", "testX", "testy"),
    ("x_training", "targets_training", "x_testing", "targets_testing"),
]


@pytest.mark.parametrize("naming", NAMINGS, ids=lambda naming: naming[0])
def test_names_of_others_are_known(read, naming):
    stored = arrays()
    found = read(**dict.fromkeys(stored), **dict(zip(naming, stored.values(), strict=True)))
    np.testing.assert_array_equal(found.images["train"], stored["x_train"].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(found.labels["test"], stored["y_test"])


def test_a_validation_part_is_taken(read, tmp_path):
    read(val_images=pixels(3, 5, 4, 3), val_labels=np.array([[0], [1], [2]]))
    data = NpzData(dataset="npz", path="set.npz")
    info, loaded = dataset_info(data, tmp_path), load_npz(data, tmp_path)
    assert (info.train_examples, info.val_examples, info.test_examples) == (6, 3, 2)
    np.testing.assert_array_equal(loaded.val.images, pixels(3, 5, 4, 3).transpose(0, 3, 1, 2))
    assert any("val_images is the validation part; data.val_fraction does not apply" in note for note in info.notes)


@pytest.mark.parametrize(
    "naming", [("x", "y"), ("X", "y"), ("images", "labels"), ("data", "target"), ("x_train", "y_train")]
)
def test_without_a_test_part_a_fifth_is_it_and_that_is_said(read, tmp_path, naming):
    x = np.arange(30, dtype=np.uint8).repeat(12).reshape(30, 3, 4)
    read(**{**dict.fromkeys(arrays()), naming[0]: x, naming[1]: np.arange(30) % 3})
    data = NpzData(dataset="npz", path="set.npz")
    info, loaded = dataset_info(data, tmp_path), load_npz(data, tmp_path)
    assert (info.train_examples, info.test_examples) == (24, 6) == (len(loaded.train), len(loaded.test))
    assert sorted([*loaded.train.images[:, 0, 0, 0], *loaded.test.images[:, 0, 0, 0]]) == list(range(30))
    assert np.bincount(loaded.test.labels).tolist() == [2, 2, 2]
    assert any(f"6 images of {naming[0]} are it" in note for note in info.notes)


def test_axes_of_others_are_put_in_order(read):
    images = {"x_train": pixels(6, 9, 9, 3), "x_test": pixels(2, 9, 9, 3)}
    moved = read(**{name: np.moveaxis(array, 0, -1) for name, array in images.items()})
    np.testing.assert_array_equal(moved.images["train"], images["x_train"].transpose(0, 3, 1, 2))
    flat = read(x_train=pixels(6, 81), x_test=pixels(2, 81))
    np.testing.assert_array_equal(flat.images["train"], pixels(6, 1, 9, 9))
    opaque = {
        name: np.concatenate([array, np.full_like(array[..., :1], 255)], axis=-1) for name, array in images.items()
    }
    np.testing.assert_array_equal(read(**opaque).images["test"], images["x_test"].transpose(0, 3, 1, 2))
    assert [change.what for change in flat.account.changed] == ["flat rows of 81 read as 9 x 9"]


def test_arrays_of_other_names_are_counted_and_doubted_where_they_are_large(read, tmp_path):
    read(extra=pixels(600, 5, 4, 3), note=np.array(3))
    info = dataset_info(NpzData(dataset="npz", path="set.npz"), tmp_path)
    assert info.account.lines()[0].startswith("4 of 6 arrays in ")
    assert any("array of other names (extra)" in warning for warning in info.warnings)


def save_npy(path):
    np.save(path, pixels(3, 4))


def save_pickle_named_npz(path):
    path.write_bytes(pickle.dumps({"x_train": 1}))


def save_half(path):
    np.savez(path, **arrays())
    path.write_bytes(path.read_bytes()[:500])


FOREIGN = {
    "x.npy": (save_npy, r"one NumPy array .*np\.savez\('x\.npz', x=np\.load\('x\.npy'\)"),
    "x.mat": (lambda path: path.write_bytes(b"MATLAB 5.0 MAT-file, " + bytes(99)), r"scipy\.io\.loadmat\('x\.mat'\)"),
    "x.h5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), r"h5py\.File\('x\.h5'\)"),
    "x.pt": (lambda path: torch.save(torch.ones(3), path), r"torch\.load\('x\.pt', weights_only=True\)"),
    "x.pkl": (lambda path: path.write_bytes(pickle.dumps([1])), "a pickle, which can run code and is never loaded"),
    "x.csv": (lambda path: path.write_text("1,2\n3,4\n"), r"np\.loadtxt\('x\.csv', delimiter"),
    "cut.npz": (save_half, r"truncated, corrupt .*\(\d+ bytes\).*fetch it again"),
    "lfs.npz": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "page.npz": (lambda path: path.write_text("<!DOCTYPE html>\n<title>404"), "a web page"),
    "x.json": (lambda path: path.write_text("[[1, 2]]"), r"json\.load\(open\('x\.json'\)"),
    "x7.mat": (
        lambda path: path.write_bytes(b"MATLAB 7.3 MAT-file" + b" " * 493 + b"\x89HDF"),
        r"h5py\.File\('x7\.mat'",
    ),
    "x-idx3-ubyte": (lambda path: path.write_bytes(b"\0\0\x08\x03" + bytes(99)), "data.dataset: mnist"),
    "dict.npy": (lambda path: np.save(path, {"x": 1}), r"np\.load\('dict\.npy', allow_pickle=True\)\.item\(\)"),
    "folder": (lambda path: (path.mkdir(), np.save(path / "x.npy", pixels(3)))[1], r"x=np\.load\('folder/x\.npy'\)"),
    "x.npz": (save_pickle_named_npz, "a pickle, which can run code"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_other_kinds_are_named_with_the_line_that_makes_an_npz(tmp_path, name):
    make, message = FOREIGN[name]
    make(tmp_path / name)
    with pytest.raises(BnexpError, match=message):
        read_npz(NpzData(dataset="npz", path=name), tmp_path)


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
