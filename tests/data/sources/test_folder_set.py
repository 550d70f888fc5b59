"""A folder of images as a dataset: decoded once, kept, noticed when it changes, and honest about what is broken."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from bnexp.config.data_section import ImageFolderData
from bnexp.data.sources import image_cache
from bnexp.data.sources import image_folder as folder_set
from bnexp.data.sources.facts import dataset_info
from bnexp.data.sources.image_folder import open_folder
from bnexp.errors import BnexpError, ConfigError, Interrupted


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def opened(photos, data_dir):
    """Return what opens the folder of photos, with options of the data section."""

    def open_with(**options):
        return open_folder(ImageFolderData(dataset="image_folder", path=str(photos), **options), data_dir)

    return open_with


@pytest.fixture
def decodings(monkeypatch):
    """Return a list that grows by the number of files at each decoding."""
    calls, decode = [], folder_set.decode

    def counted(folder, paths, image_size):
        calls.append(len(paths))
        return decode(folder, paths, image_size)

    monkeypatch.setattr(folder_set, "decode", counted)
    return calls


def values(images):
    return images[:, 0, 0, 0].tolist()


ALL = [10, 11, 12, 20, 21, 30, 40]


def cache_files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_folder_is_decoded_once_and_nothing_is_written_beside_it(opened, decodings, photos, data_dir, user_cache):
    first, again = opened(), opened()
    assert decodings == [7]
    np.testing.assert_array_equal(first.images(), again.images())
    assert values(again.images()) == ALL
    assert again.about == first.about
    assert (again.about.labels, again.about.train_examples) == ((0, 0, 0, 1, 1, 0, 1), 5)
    (cached,) = cache_files(user_cache)
    assert cached.parent == user_cache / "bnexp" / "images"
    assert not data_dir.exists()
    assert sorted(path.name for path in photos.iterdir()) == ["test", "train"]


@pytest.mark.parametrize("change", ["added", "removed", "replaced"])
def test_a_changed_folder_is_decoded_anew_and_only_one_cache_stays(
    opened, decodings, photos, put_image, user_cache, change
):
    opened()
    path = photos / "train" / "cat" / "1.png"
    if change == "added":
        put_image(photos / "train" / "cat" / "7.png", 99)
    elif change == "removed":
        path.unlink()
    else:
        put_image(path, 98)
        os.utime(path, ns=(5, 5))
    expected = {
        "added": [10, 11, 12, 99, *ALL[3:]],
        "removed": [10, 12, *ALL[3:]],
        "replaced": [10, 98, 12, *ALL[3:]],
    }
    assert values(opened().images()) == expected[change]
    assert values(opened().images()) == expected[change]
    assert len(decodings) == 2
    assert len(cache_files(user_cache)) == 1


def test_each_size_has_a_cache_of_its_own(opened, decodings, user_cache):
    assert opened(image_size=(2, 2)).images().shape == (7, 3, 2, 2)
    assert opened().images().shape == (7, 3, 4, 3)
    assert opened(image_size=(2, 2)).images().shape == (7, 3, 2, 2)
    assert len(decodings) == len(cache_files(user_cache)) == 2


@pytest.mark.parametrize("where", ["the middle", "the end", "everything"])
def test_a_damaged_cache_is_decoded_over(opened, decodings, user_cache, where):
    opened()
    (path,) = cache_files(user_cache)
    content = bytearray(path.read_bytes())
    pixel = content.index(bytes([12] * 12))
    content[pixel] ^= 1
    path.write_bytes({"the middle": bytes(content), "the end": content[:-30], "everything": b"no cache"}[where])
    assert values(opened().images()) == ALL
    assert values(opened().images()) == ALL
    assert values(opened().images()) == ALL
    assert decodings in ([7, 7], [7, 7, 7])  # a flipped pixel is only found when pixels are read
    np.testing.assert_array_equal(opened().images()[2], 12)


def test_a_pickled_cache_is_not_loaded(opened, decodings, user_cache):
    opened()
    (path,) = cache_files(user_cache)
    np.savez(path, about=np.array([{"a": 1}], dtype=object), images=np.array([1]))
    assert values(opened().images()) == ALL
    assert decodings == [7, 7]


def resave(path, **changes):
    """Write a cache anew with other arrays, or with other values in what it says of them."""
    with np.load(path) as arrays:
        about, images = json.loads(arrays["about"].tobytes()), arrays["images"]
    images = changes.pop("images", images)
    text = changes.pop("text", None) or json.dumps({**about, **changes}).encode()
    np.savez(path, about=np.frombuffer(text, dtype=np.uint8), images=images)


CRAFTED = {
    "floats": {"images": np.zeros((7, 3, 4, 3))},
    "too few images": {"images": np.zeros((6, 3, 4, 3), dtype=np.uint8)},
    "other pixels": {"images": np.full((7, 3, 4, 3), 7, dtype=np.uint8)},
    "another shape": {"images": np.zeros((7, 3, 4, 4), dtype=np.uint8)},
    "flat": {"images": np.zeros(7 * 36, dtype=np.uint8)},
    "labels beyond the classes": {"labels": [0, 0, 0, 1, 1, 0, 2]},
    "a negative label": {"labels": [0, 0, 0, 1, 1, 0, -1]},
    "labels in words": {"labels": ["0"] * 7},
    "labels that are fractions": {"labels": [0.5] * 7},
    "no labels": {"labels": None},
    "too many to train on": {"train_examples": 8},
    "a word to train on": {"train_examples": "all"},
    "a shape in words": {"shape": "abc"},
    "an empty shape": {"shape": []},
    "a negative shape": {"shape": [3, -4, -3]},
    "broken that are no pairs": {"broken": [["a"]]},
    "broken that are no words": {"broken": [[1, 2]]},
    "an unknown key": {"more": 1},
    "a list": {"text": b"[1, 2]"},
    "a depth": {"text": b"[" * 100_000},
    "no text": {"text": b"\xff\xfe"},
}


@pytest.mark.parametrize("kind", CRAFTED)
def test_a_crafted_cache_is_decoded_over(opened, decodings, user_cache, kind):
    opened()
    (path,) = cache_files(user_cache)
    resave(path, **CRAFTED[kind])
    for _ in range(3):
        found = opened()
        assert values(found.images()) == ALL
        assert found.about.labels == (0, 0, 0, 1, 1, 0, 1)
    assert decodings in ([7, 7], [7, 7, 7])


def test_a_cache_larger_than_the_limit_is_decoded_over(opened, decodings, monkeypatch):
    opened()
    for limit in ("MAX_SET_BYTES", "MAX_ABOUT_BYTES"):
        with monkeypatch.context() as patch:
            patch.setattr(image_cache, limit, 10)
            assert values(opened().images()) == ALL
    assert len(decodings) == 3


def test_a_pipe_in_the_place_of_a_cache_is_not_waited_for(opened, decodings, user_cache):
    opened()
    (path,) = cache_files(user_cache)
    path.unlink()
    os.mkfifo(path)
    assert values(opened().images()) == ALL
    assert decodings == [7, 7]
    assert path.is_file()


def test_the_cache_is_the_users_alone_whatever_the_umask(opened, user_cache):
    before = os.umask(0)
    try:
        opened()
    finally:
        os.umask(before)
    (path,) = cache_files(user_cache)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_what_others_could_have_written_is_not_used_and_said(opened, decodings, photos, data_dir, user_cache):
    opened()
    (path,) = cache_files(user_cache)
    path.chmod(0o620)
    assert values(opened().images()) == ALL
    assert decodings == [7, 7]
    path.parent.chmod(0o777)
    info = dataset_info(ImageFolderData(dataset="image_folder", path=str(photos)), data_dir)
    assert decodings == [7, 7, 7]
    assert info.notes == (
        f"The decoded images are not kept: others can write to {path.parent}; rm -r {path.parent} "
        "deletes it, and it is made anew for you alone.",
    )


def test_what_belongs_to_another_user_is_not_used(opened, decodings, user_cache, monkeypatch):
    opened()
    (path,) = cache_files(user_cache)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert values(opened().images()) == ALL
    assert decodings == [7, 7]
    assert opened().on_cache() == [
        f"The decoded images are not kept: {path.parent} belongs to another user; the variable XDG_CACHE_HOME names "
        "another place."
    ]


@pytest.mark.parametrize("alias", ["a link", "a detour", "a link within"])
def test_a_folder_under_another_name_is_the_same(opened, decodings, photos, data_dir, user_cache, alias):
    opened()
    (photos.parent / "linked").symlink_to(photos)
    (photos.parent / "album").mkdir()
    for part in ("train", "test"):
        (photos.parent / "album" / part).symlink_to(photos / part)
    path = {"a link": "linked", "a detour": "album/../photos", "a link within": "album"}[alias]
    data = ImageFolderData(dataset="image_folder", path=str(photos.parent / path))
    assert values(open_folder(data, data_dir).images()) == ALL
    assert decodings == [7]
    assert len(cache_files(user_cache)) == 1


@pytest.mark.parametrize("change", ["swapped folders", "other pixels", "another name"])
def test_a_change_that_keeps_sizes_and_times_is_noticed(opened, photos, put_image, change):
    """As when an archive is unpacked: sizes and times of all images are the same."""
    cat, dog = photos / "test" / "cat" / "0.png", photos / "test" / "dog" / "0.png"
    for number, path in enumerate((cat, dog)):
        put_image(path.with_suffix(".bmp"), 60 + number)
        path.unlink()
    cat, dog = cat.with_suffix(".bmp"), dog.with_suffix(".bmp")
    for path in (cat, dog, cat.parent, dog.parent):
        os.utime(path, ns=(10**18, 10**18))
    before = opened().about
    if change == "swapped folders":
        cat.parent.rename(photos / "aside")
        dog.parent.rename(photos / "test" / "cat")
        (photos / "aside").rename(photos / "test" / "dog")
        expected = [*ALL[:5], 61, 60]
    elif change == "other pixels":
        content = bytearray(cat.read_bytes())
        content[-3] ^= 1
        cat.write_bytes(content)
        expected = [*ALL[:5], 60, 61]
    else:
        cat.rename(cat.with_name("9.bmp"))
        expected = [*ALL[:5], 60, 61]
    for path in (cat, dog, cat.parent, dog.parent, cat.with_name("9.bmp")):
        if path.exists():
            os.utime(path, ns=(10**18, 10**18))
    assert opened().about.key != before.key
    assert values(opened().images()) == expected


def test_images_that_change_while_they_are_read_are_not_kept(opened, photos, user_cache, monkeypatch):
    decode = folder_set.decode

    def changing(folder, paths, *options):
        decoded = decode(folder, paths, *options)
        (photos / "test" / "dog" / "0.png").write_bytes((photos / "test" / "cat" / "0.png").read_bytes())
        return decoded

    monkeypatch.setattr(folder_set, "decode", changing)
    assert values(opened().images()) == ALL
    assert cache_files(user_cache) == []
    assert values(opened().images()) == [*ALL[:6], 30]


def test_other_decoders_read_anew(opened, decodings, monkeypatch):
    opened()
    image_cache._reading.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(image_cache.PIL, "__version__", "99")
        opened()
    image_cache._reading.cache_clear()
    assert decodings == [7, 7]


def test_it_is_told_once_where_the_images_are_kept(photos, data_dir, user_cache):
    data = ImageFolderData(dataset="image_folder", path=str(photos))
    place = user_cache / "bnexp" / "images"
    assert dataset_info(data, data_dir).notes == (
        f"Under 1 MB of decoded images are kept in {place}; bnexp data cache lists and clears them.",
    )
    assert dataset_info(data, data_dir).notes == ()


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    monkeypatch.setattr(image_cache.platformdirs, "user_cache_dir", lambda name, **options: f"~/.cache/{name}")
    assert image_cache.cache_folder() is None


@pytest.mark.parametrize("place", ["a file", "nothing"])
def test_without_any_place_for_a_cache_it_is_decoded_each_time(opened, decodings, monkeypatch, tmp_path, place):
    (tmp_path / "file").write_text("in which nothing can be made")
    folder = tmp_path / "file" / "images" if place == "a file" else None
    monkeypatch.setattr(image_cache, "cache_folder", lambda: folder)
    monkeypatch.setattr(folder_set, "cache_folder", lambda: folder)
    for _ in range(2):
        assert values(opened().images()) == ALL
    assert decodings == [7, 7]
    assert opened().on_cache()[0].startswith("The decoded images are not kept: ")


@pytest.mark.parametrize("moment", ["decoding", "writing", "moving"])
def test_an_interruption_leaves_nothing_half_and_the_next_run_works(opened, user_cache, monkeypatch, moment):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    target = {"decoding": (folder_set, "decode"), "writing": (image_cache.np, "savez"), "moving": (Path, "replace")}
    with monkeypatch.context() as patch:
        patch.setattr(*target[moment], interrupted)
        with pytest.raises(Interrupted, match="nothing was kept"):
            opened()
    assert cache_files(user_cache) == []
    assert values(opened().images()) == ALL


def test_a_full_disk_while_writing_leaves_nothing_half(opened, data_dir, user_cache, monkeypatch):
    def full(path, **arrays):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_cache.np, "savez", full)
    assert values(opened().images()) == ALL
    assert cache_files(user_cache) == cache_files(data_dir) == []


# Broken images


def test_broken_images_stop_it_named_and_counted(opened, photos):
    (photos / "train" / "cat" / "1.png").write_bytes(b"no image")
    (photos / "test" / "dog" / "1.png").write_bytes(b"")
    for _ in range(2):  # from the files, and from the cache
        with pytest.raises(BnexpError) as found:
            opened()
        message = str(found.value)
        assert "2 of 8 images cannot be read" in message
        assert "train/cat/1.png: not an image" in message
        assert "test/dog/1.png: empty: it has 0 bytes" in message
        assert "--set data.skip_broken=true" in message


def test_many_broken_images_are_counted_and_some_named(opened, photos):
    for number in range(14):
        (photos / "train" / "cat" / f"bad{number}.png").write_bytes(b"no image")
    with pytest.raises(BnexpError, match=r"14 of 21 images cannot be read:(\n.*){10}\n  and 4 more\n"):
        opened()


def test_broken_images_can_be_left_out_and_are_noted(opened, photos, data_dir):
    (photos / "train" / "cat" / "1.png").write_bytes(b"no image")
    found = opened(skip_broken=True)
    assert values(found.images()) == [10, 12, *ALL[3:]]
    assert found.about.labels == (0, 0, 1, 1, 0, 1)
    assert found.about.train_examples == 4
    info = dataset_info(ImageFolderData(dataset="image_folder", path=str(photos), skip_broken=True), data_dir)
    assert (info.train_examples, info.test_examples) == (4, 2)
    rest = "broken: not an image of a known format"
    assert info.account.lines()[:2] == [
        f"6 of 7 files in {photos} used: 6 PNG",
        f"passed over: 1 {rest} (train/cat/1.png)",
    ]
    assert info.warnings[0] == f"1 file left out, 6 used: 1 {rest} (train/cat/1.png)."


def test_a_test_set_of_which_nothing_is_left_is_refused(opened, photos):
    for path in (photos / "test").rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(BnexpError, match="no image of the test set can be read"):
        opened(skip_broken=True)


def test_a_class_of_which_nothing_is_left_is_refused(opened, photos):
    for number in range(2):
        (photos / "train" / "dog" / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(BnexpError, match="no image of class dog can be read"):
        opened(skip_broken=True)


# What a config is told


def test_shape_and_sizes_are_those_found(photos, data_dir):
    info = dataset_info(ImageFolderData(dataset="image_folder", path=str(photos)), data_dir)
    assert (info.shape, info.classes, info.train_examples, info.test_examples) == ((3, 4, 3), 2, 5, 2)


def test_without_parts_a_fifth_is_the_test(photos, data_dir):
    info = dataset_info(ImageFolderData(dataset="image_folder", path=str(photos / "train")), data_dir)
    assert (info.train_examples, info.test_examples) == (4, 1)


def test_mixed_sizes_are_noted_with_the_rule(photos, put_image, data_dir):
    put_image(photos / "train" / "cat" / "0.png", 10, size=(9, 9))
    info = dataset_info(ImageFolderData(dataset="image_folder", path=str(photos)), data_dir)
    said = "images of 2 sizes are scaled and cropped to 4 x 3 (the median; data.image_size sets it)."
    assert info.notes[0] == said


def test_a_path_is_relative_to_the_data_folder(photos):
    info = dataset_info(ImageFolderData(dataset="image_folder", path="photos"), photos.parent)
    assert info.train_examples == 5


def test_images_of_which_cropping_leaves_less_than_half_are_doubtful(photos, put_image, data_dir):
    put_image(photos / "train" / "cat" / "0.png", 10, size=(4, 7))
    put_image(photos / "train" / "cat" / "1.png", 10, size=(8, 5))
    info = dataset_info(ImageFolderData(dataset="image_folder", path=str(photos)), data_dir)
    (doubt,) = [warning for warning in info.warnings if "half" in warning]
    assert doubt.startswith(
        "1 of 7 images, such as train/cat/0.png, are cropped to less than half of their area at 4 x 3"
    )


def test_a_missing_folder_is_named_with_where_it_was_looked_for(data_dir):
    with pytest.raises(ConfigError, match=rf"gone: no such folder(.|\n)*{data_dir} "):
        dataset_info(ImageFolderData(dataset="image_folder", path="gone"), data_dir)


def test_the_real_cifar_images_are_read_where_they_are_at_hand(data_dir):
    folder = os.environ.get("BNEXP_DATA")
    if not folder or not (Path(folder) / "cifar10-jpeg" / "test").is_dir():
        pytest.skip("needs cifar10-jpeg in the folder that the variable BNEXP_DATA names")
    path = Path(folder) / "cifar10-jpeg" / "test"
    found = open_folder(ImageFolderData(dataset="image_folder", path=str(path)), data_dir)
    assert found.images().shape == (10_000, 3, 32, 32)
    assert found.about.classes[:3] == ("airplane", "automobile", "bird")
    assert np.bincount(found.about.labels).tolist() == [1_000] * 10
