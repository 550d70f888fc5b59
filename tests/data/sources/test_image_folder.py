"""Which files of a folder are images, of which part and class."""

import os

import pytest

from bnexp.data.sources.image_folder import list_images
from bnexp.errors import ConfigError


def listed(folder):
    return [(file.path, file.label) for file in list_images(folder).files]


def test_parts_and_classes_are_those_of_the_folders(photos):
    listing = list_images(photos)
    assert listing.classes == ("cat", "dog")
    assert listing.train_files == 5
    assert listed(photos) == [
        *((f"train/cat/{number}.png", 0) for number in range(3)),
        *((f"train/dog/{number}.png", 1) for number in range(2)),
        ("test/cat/0.png", 0),
        ("test/dog/0.png", 1),
    ]


def test_one_folder_of_class_folders_has_no_parts(photos):
    listing = list_images(photos / "train")
    assert (listing.train_files, listing.classes, len(listing.files)) == (None, ("cat", "dog"), 5)


def test_a_class_keeps_its_number_where_the_test_lacks_one(photos):
    (photos / "test" / "cat" / "0.png").unlink()
    (photos / "test" / "cat").rmdir()
    assert listed(photos)[-1] == ("test/dog/0.png", 1)


def test_other_files_and_hidden_ones_are_passed_over(photos, put_image):
    expected = listed(photos)
    (photos / "train" / "cat" / "notes.txt").write_text("no image")
    (photos / "README.md").write_text("no folder")
    put_image(photos / "train" / "cat" / ".hidden.png")
    put_image(photos / "train" / ".cache" / "0.png")
    (photos / "train" / "dog" / "deeper.png").mkdir()
    assert listed(photos) == expected


def test_endings_may_be_in_capitals(photos, put_image):
    put_image(photos / "train" / "cat" / "9.PNG")
    assert ("train/cat/9.PNG", 0) in listed(photos)


CHANGES = {
    "no folder": (lambda folder: folder.rename(folder.with_name("gone")), "no such folder.*data.path"),
    "train without test": (lambda folder: (folder / "test").rename(folder.parent / "x"), "has train/ but no test/"),
    "test without train": (lambda folder: (folder / "train").rename(folder.parent / "x"), "has test/ but no train/"),
    "an empty class": (lambda folder: (folder / "train" / "emu").mkdir(), "train/emu: no images in this class.*png"),
    "an unknown class": (
        lambda folder: (folder / "test" / "dog").rename(folder / "test" / "dgo"),
        "test/dgo: a class that train/ does not have; known: cat, dog",
    ),
    "an empty test": (
        lambda folder: [(folder / "test" / name).rename(folder.parent / name) for name in ("cat", "dog")],
        "test: no images",
    ),
    "one class": (
        lambda folder: [(folder / part / "dog").rename(folder.parent / part) for part in ("train", "test")],
        r"train: 1 folder \(cat/\); expected a folder per class, at least 2 classes",
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_folder_that_is_not_made_so_is_refused_by_name(photos, kind):
    change, message = CHANGES[kind]
    change(photos)
    with pytest.raises(ConfigError, match=message):
        list_images(photos)


def test_a_folder_without_classes_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no folders; expected a folder per class"):
        list_images(tmp_path)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_text("in the way")
    with pytest.raises(ConfigError, match="no such folder"):
        list_images(path)


def test_a_folder_that_cannot_be_read_is_named(photos, monkeypatch):
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("train/dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ConfigError, match="train/dog: cannot be read: Permission denied"):
        list_images(photos)


@pytest.mark.parametrize("kind", ["added", "removed", "renamed", "other bytes", "moved to another class"])
def test_a_changed_folder_has_another_key(photos, put_image, kind):
    before = list_images(photos).key({})
    path = photos / "train" / "cat" / "1.png"
    os.utime(path, ns=(1, 1))
    assert list_images(photos).key({}) == before
    changes = {
        "added": lambda: put_image(photos / "train" / "cat" / "7.png"),
        "removed": path.unlink,
        "renamed": lambda: path.rename(path.with_name("8.png")),
        "other bytes": lambda: path.write_bytes(path.read_bytes() + b"\0"),
        "moved to another class": lambda: path.rename(photos / "train" / "dog" / "8.png"),
    }
    changes[kind]()
    assert list_images(photos).key({}) != before
    assert list_images(photos).key({"image_size": 3}) != list_images(photos).key({})


def test_pipes_devices_and_links_to_nothing_are_passed_over(photos):
    before = listed(photos)
    place = photos / "train" / "cat"
    os.mkfifo(place / "pipe.png")
    (place / "device.png").symlink_to("/dev/zero")
    (place / "gone.png").symlink_to("nowhere")
    assert listed(photos) == before


def test_links_to_images_elsewhere_are_followed(photos, put_image, tmp_path):
    # A choice out of a large set is often a folder of links; and what a link leads to is only ever decoded as an image.
    (photos / "train" / "cat" / "7.png").symlink_to(put_image(tmp_path / "elsewhere" / "x.png", size=(9, 9)))
    assert "train/cat/7.png" in [file.path for file in list_images(photos).files]


def test_a_circle_of_links_is_named(photos):
    place = photos / "train" / "cat"
    (place / "7.png").symlink_to("8.png")
    (place / "8.png").symlink_to("7.png")
    with pytest.raises(ConfigError, match=r"cat/[78].png: cannot be read: .*symbolic links"):
        list_images(photos)
