"""What a set is made of: doubts where a score would mean something else, and none about honest sets."""

import re

import numpy as np
import pytest

from bnexp.data.parts import stratified_split
from bnexp.data.sources.composition import Findings, look_at_labels, look_at_pictures

NAMES = ["a", "b", "c"]


def noise(count, *, seed=0, shape=(1, 6, 6)):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)


def turns(count, classes=3):
    return np.arange(count) % classes


def labels_of(*counts):
    return np.repeat(np.arange(len(counts)), counts)


def pictures(train, test, *, labels=None, splits_train=False):
    images = {"train": train, "test": test}
    labels = labels or {part: turns(len(pixels)) for part, pixels in images.items()}
    return look_at_pictures(images, labels, NAMES, splits_train=splits_train)


def test_nothing_is_said_of_an_honest_set():
    labels = {"train": turns(60), "val": turns(12), "test": turns(12)}
    assert look_at_labels(labels, NAMES, val_examples=None) == Findings()
    assert look_at_labels({"train": turns(60)}, NAMES, test_examples=12, val_examples=5) == Findings()
    assert pictures(noise(60), noise(12, seed=1), splits_train=True) == Findings()
    dim = 100 + noise(60) // 16  # sixteen levels
    assert pictures(dim, 100 + noise(12, seed=1) // 16, splits_train=True) == Findings()


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_part_without_a_class_is_named(part):
    labels = {"train": turns(60), "val": turns(12), "test": turns(12)}
    labels[part] = labels[part][labels[part] != 1]
    (found,) = look_at_labels(labels, NAMES, val_examples=None).warnings
    assert found.startswith(f"{part}: no image of class b, ")


def test_classes_too_small_to_split_are_those_that_the_split_leaves_out():
    labels = labels_of(1, 1, 1, 2, 3, 20, 20)
    names = list("abcdefg")
    found = look_at_labels({"train": labels}, names, test_examples=10, val_examples=4).warnings
    rest, test = (np.bincount(labels[index], minlength=7) for index in map(np.asarray, _split(labels, 10)))
    tested_only = [name for name, count in zip(names, rest, strict=True) if not count]
    untested = [name for name, count in zip(names, test, strict=True) if not count]
    assert any(f"none for it of {len(untested)} of 7 classes ({', '.join(untested[:5])}" in line for line in found)
    for name in tested_only:
        assert any("none for training" in line and name in line for line in found)


def _split(labels, held_out):
    import torch

    return stratified_split(torch.from_numpy(labels), held_out, 0)


@pytest.mark.parametrize(
    ("counts", "doubted"),
    [((95, 5), True), ((75, 25), True), ((70, 30), False), ((60, 20, 20), False), ((70, 15, 15), True)],
)
def test_a_class_dominates_where_guessing_earns_half_of_what_there_is_above_chance(counts, doubted):
    labels = labels_of(*counts)
    found = look_at_labels({"train": labels}, NAMES[: len(counts)], val_examples=20).warnings
    assert [f"scores {counts[0]:.1f}%" in line for line in found] == [True] * doubted


def test_the_same_picture_in_two_parts_is_counted():
    train = noise(20)
    assert "test: 3 of 12 images stand in train too, such as test[4], the same pixels as train[7]" in _one_warning(
        pictures(train, np.concatenate([noise(4, seed=1), train[7:10], noise(5, seed=2)]), labels=_same())
    )


def _same():
    return {"train": np.zeros(20, dtype=np.int64), "test": np.zeros(12, dtype=np.int64)}


def test_copies_count_where_a_split_would_part_them():
    train = np.concatenate([noise(18), noise(2)])
    assert pictures(train, noise(12, seed=1), labels=_same()) == Findings()
    assert "2 of 20 images are copies of others, such as train[18], the same pixels as train[0]" in _one_warning(
        pictures(train, noise(12, seed=1), labels=_same(), splits_train=True)
    )


def test_the_same_picture_under_two_labels_is_counted():
    train, labels = noise(20), turns(20)
    train[11] = train[3]
    found = _one_warning(pictures(train, noise(3, seed=1), labels={"train": labels, "test": turns(3)}))
    assert "2 of 23 images have the pixels of an image of another class" in found
    assert "train[3] (a) and train[11] (c)" in found


def test_less_than_a_trace_is_a_note():
    train = noise(300)
    test = np.concatenate([train[5:6], noise(199, seed=1)])
    labels = {"train": np.zeros(300, dtype=np.int64), "test": np.zeros(200, dtype=np.int64)}
    found = pictures(train, test, labels=labels)
    assert (len(found.warnings), len(found.notes)) == (0, 1)
    assert "1 of 200" in found.notes[0]


@pytest.mark.parametrize("value", [0, 255, 7])
def test_images_of_one_color_are_counted(value):
    train = noise(20, shape=(3, 4, 4))
    train[5:9] = np.array([value, 3, 200], dtype=np.uint8)[:, None, None]
    train[5:9, 0, 0, 0] ^= np.arange(4, dtype=np.uint8)  # as JPEG leaves it
    found = _one_warning(pictures(train, noise(12, seed=1, shape=(3, 4, 4)), splits_train=True))
    assert "4 of 32 images are of one color throughout (to 4 levels of 255), such as train[5]" in found


def test_plain_pictures_are_copies_of_each_other_too():
    """Icons and swatches of one color are pictures: each in train and test, and under two labels."""
    swatches = 20 * np.arange(12, dtype=np.uint8).reshape(-1, 1, 1, 1).repeat(36, axis=-1)
    found = pictures(swatches, swatches[::-1].copy()).warnings
    assert any("test: 12 of 12 images stand in train too" in line for line in found)
    assert any("24 of 24 images are of one color throughout" in line for line in found)


def test_a_set_of_one_picture_is_told_once():
    black = np.zeros((12, 1, 6, 6), dtype=np.uint8)
    found = pictures(black, black, splits_train=True).warnings
    assert [line[:25] for line in found if "nearly" not in line] == [
        "24 of 24 images are of on",
        "all 24 images are the sam",
    ]


def test_images_that_hardly_differ_are_doubted():
    picture = noise(1)
    train = np.clip(picture.astype(int) + np.random.default_rng(3).integers(-2, 3, (20, 1, 6, 6)), 0, 255)
    found = _one_warning(pictures(train.astype(np.uint8), noise(12, seed=1), splits_train=True))
    assert "nearly identical: they differ from their mean by 1.4 levels" in found


def test_a_part_that_was_scaled_differently_is_doubted():
    rng = np.random.default_rng(3)
    train, test = ((rng.random((n, 1, 6, 6)) * rng.integers(150, 256, (n, 1, 1, 1))).astype(np.uint8) for n in (60, 12))
    assert pictures(train, test, splits_train=True) == Findings()
    found = _one_warning(
        pictures(train, test // 16 + rng.integers(0, 2, test.shape).astype(np.uint8), splits_train=True)
    )
    assert re.match(r"test: the images have a mean of \d of 255, and those of train \d\d+: was one scaled", found)
    assert "test: the images have a mean" in _one_warning(pictures(train // 2, 255 - test // 2, splits_train=True))


def test_a_class_that_was_scaled_differently_is_doubted():
    train, labels = noise(60), turns(60)
    train[labels == 1] //= 16
    found = pictures(train, noise(12, seed=1), splits_train=True).warnings
    assert len(found) == 1
    assert "class b has no pixel above 15 of 255, and class a has some of 255" in found[0]


def test_floats_that_were_cut_to_bytes_are_doubted():
    big = (1, 60, 60)
    found = _one_warning(pictures(noise(60, shape=big) // 255, noise(12, seed=1, shape=big) // 255, splits_train=True))
    assert "no pixel is above 1 of 255" in found


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 5, 7), (1, 1, 2)])
def test_what_a_quick_look_finds_is_what_comparing_every_two_images_finds(shape):
    """Images that differ in one byte, in any place of the words that are hashed, are other images; few bytes, too."""
    rng = np.random.default_rng(5)
    train = np.repeat(noise(4, shape=shape), 4, axis=0)
    flat = train.reshape(len(train), -1)
    for number in range(0, len(train), 2):
        flat[number, rng.integers(flat.shape[1])] ^= 1 << rng.integers(8)
    same = (flat[:, None] == flat[None]).all(axis=-1)
    copies = sum(same[number, :number].any() for number in range(len(train)))
    found = pictures(train, noise(5, seed=9, shape=shape), labels={"train": 0 * turns(16), "test": 0 * turns(5)})
    split = pictures(
        train, noise(5, seed=9, shape=shape), labels={"train": 0 * turns(16), "test": 0 * turns(5)}, splits_train=True
    )
    assert any(f"{copies} of 16 images are copies of others" in line for line in split.warnings)
    assert not any("copies" in line for line in found.warnings)


def _one_warning(findings):
    assert findings.notes == ()
    (warning,) = findings.warnings
    return warning
