"""Which folders are parts and which are classes, as people name and nest them; and what is told of the rest."""

import os
import re
import subprocess
import sys
import unicodedata
from itertools import pairwise

import pytest
from PIL import Image

from bnexp.config.data_section import ImageFolderData
from bnexp.data.load import load_image_folder
from bnexp.data.sources.facts import dataset_info
from bnexp.data.sources.folder_listing import list_images
from bnexp.errors import BnexpError, ConfigError


@pytest.fixture
def make(tmp_path):
    """Return what makes a folder of images: each folder gets as many as it says, no two alike."""
    made = iter(range(1, 10_000))

    def make_set(counts, name="set"):
        for folder, count in counts.items():
            place = tmp_path / name / folder
            place.mkdir(parents=True, exist_ok=True)
            for _ in range(count):
                number = next(made)
                image = Image.new("L", (4, 3), number % 251)
                image.putpixel((0, 0), number // 251)
                image.save(place / f"{number:04}.png")
        return tmp_path / name

    return make_set


def counts(listing):
    """Return the images of each part and class."""
    first, val = listing.train_files, listing.val_files
    ends = [0, len(listing.files) if first is None else first]
    ends += [ends[1] + (val or 0), len(listing.files)]
    return [
        [sum(file.label == label for file in listing.files[start:end]) for label in range(len(listing.classes))]
        for start, end in pairwise(ends)
    ]


PARTS = {
    "as everywhere": ({"train": "train", "val": "val", "test": "test"}),
    "capital": ({"train": "Train", "val": "Valid", "test": "TEST"}),
    "long": ({"train": "training", "val": "validation", "test": "Testing"}),
    "sets": ({"train": "training_set", "val": "dev-set", "test": "test_set"}),
    "with a word before": ({"train": "seg_train", "val": "seg_val", "test": "seg_test"}),
    "each in itself": ({"train": "seg_train/seg_train", "val": "seg_val/seg_val", "test": "seg_test/seg_test"}),
    "in a folder": ({"train": "pets/train", "val": "pets/val", "test": "pets/test"}),
    "with images below": ({"train": "train/images", "val": "val/images", "test": "test/images"}),
}


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("with_val", [True, False])
def test_parts_are_found_by_the_names_that_people_use(make, kind, with_val):
    numbers = {"train": (5, 3), "val": (2, 1), "test": (1, 4)}
    folder = make(
        {
            f"{PARTS[kind][part]}/{name}": numbers[part][label]
            for part in ("train", "val", "test")
            for label, name in enumerate(("cat", "dog"))
            if with_val or part != "val"
        }
    )
    listing = list_images(folder)
    assert listing.classes == ("cat", "dog")
    assert counts(listing) == [[5, 3], [2, 1] if with_val else [0, 0], [1, 4]]
    assert (listing.val_files is not None) == with_val
    assert listing.passed_over == ()


def test_a_validation_part_is_used_as_it_is_and_it_is_said(make, tmp_path):
    make({"train/cat": 8, "train/dog": 8, "valid/cat": 3, "valid/dog": 2, "test/cat": 2, "test/dog": 2})
    data = ImageFolderData(dataset="image_folder", path="set")
    info = dataset_info(data, tmp_path)
    assert (info.train_examples, info.val_examples, info.test_examples) == (16, 5, 4)
    assert "valid/ is the validation part; data.val_fraction is not used." in info.notes
    images = load_image_folder(data, tmp_path)
    assert images.val is not None
    assert images.val.class_counts == (3, 2)


def test_without_a_test_a_fifth_of_train_is_one_where_there_is_a_validation_part(make, tmp_path):
    make({"train/cat": 10, "train/dog": 20, "val/cat": 3, "val/dog": 2})
    data = ImageFolderData(dataset="image_folder", path="set")
    info = dataset_info(data, tmp_path)
    assert (info.train_examples, info.val_examples, info.test_examples) == (24, 5, 6)
    assert "there is no test/: a fixed, stratified fifth of train/ is the test set." in info.notes
    images = load_image_folder(data, tmp_path)
    assert (images.train.class_counts, images.val.class_counts, images.test.class_counts) == ((8, 16), (3, 2), (2, 4))


CLASSES = {
    "one level deeper": ({"train/animals/cat": 3, "train/animals/dog": 2, "test/animals/cat": 1}, ("cat", "dog")),
    "a folder for all": ({"all/cat": 3, "all/dog": 2}, ("cat", "dog")),
    "unpacked into itself": ({"pets/pets/cat": 3, "pets/pets/dog": 2}, ("cat", "dog")),
    "images in each": ({"cat/images": 3, "dog/images": 2}, ("cat", "dog")),
    "one folder in each": ({"cat/a": 3, "dog/b": 2}, ("cat", "dog")),
    "the same folders in each": ({"cat/2023": 1, "cat/2024": 2, "dog/2023": 1, "dog/2024": 1}, ("cat", "dog")),
    "some deeper": ({"cat": 1, "cat/2024-shelter": 2, "dog": 1, "dog/x/y": 1}, ("cat", "dog")),
    "beside notes": ({"images/cat": 3, "images/dog": 2, "annotations": 0}, ("cat", "dog")),
    "a class called train": ({"plane": 2, "train": 3, "car": 1}, ("car", "plane", "train")),
    "a class called bullet train": ({"plane": 2, "bullet train": 3}, ("bullet train", "plane")),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_classes_are_found_where_they_are_unambiguous(make, kind):
    layout, classes = CLASSES[kind]
    listing = list_images(make(layout))
    assert listing.classes == classes
    assert len(listing.files) == sum(layout.values())
    assert listing.passed_over == ()


NOT_CLASSES = {
    "parts of unknown names": (
        {"fold1/cat": 3, "fold1/dog": 3, "fold2/cat": 2, "fold2/dog": 1},
        r"fold1, fold2 hold folders of the same names \(cat, dog\).*mv .*/fold1 .*/train && mv .*/fold2 .*/test",
    ),
    "conditions": (
        {f"subject{n}/{mood}": 2 for n in range(3) for mood in ("happy", "sad")},
        r"are they parts, or are they the classes\?.*data\.class_level=1",
    ),
    "sets of their own": (
        {f"fold{n}/{part}/{name}": 1 for n in (0, 1) for part in ("train", "test") for name in ("cat", "dog")},
        r"sets of their own, each with test, train; name one: --set data\.path=.*/fold0$",
    ),
}


@pytest.mark.parametrize("kind", NOT_CLASSES)
def test_folders_that_are_no_classes_are_refused(make, kind):
    layout, message = NOT_CLASSES[kind]
    folder = make(layout)
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        list_images(folder)


def test_years_are_no_part_of_the_name_of_a_part(make):
    layout = {f"{part}2017/{name}": count for part, count in (("train", 3), ("val", 2)) for name in ("cat", "dog")}
    listing = list_images(make(layout))
    assert (listing.classes, listing.train_files, listing.val_files) == (("cat", "dog"), 6, 4)


def test_the_line_for_parts_in_classes_makes_a_set_that_is_read(make):
    folder = make(
        {f"{name}/{part}": count for name in ("cat", "big dog") for part, count in (("train", 3), ("test", 2))}
    )
    with pytest.raises(ConfigError, match=r"the parts .* are in the classes") as caught:
        list_images(folder)
    subprocess.run(["sh", "-c", str(caught.value).splitlines()[1]], check=True)
    listing = list_images(folder)
    assert (listing.classes, listing.train_files, len(listing.files)) == (("big dog", "cat"), 6, 10)


@pytest.mark.parametrize(
    ("names", "parts"), [(("images", "masks"), [""]), (("JPEGImages", "Labels"), ["train", "test"])]
)
def test_masks_of_a_segmentation_are_no_class(make, names, parts):
    folder = make({f"{part}/{name}".strip("/"): 4 for part in parts for name in names})
    for part in parts:
        for name in names:
            for number, path in enumerate(sorted((folder / part / name).iterdir())):
                path.rename(path.with_name(f"scene{number}.png"))
    with pytest.raises(ConfigError, match=f"{names[1]}: 4 of 4 images have the names of those in {names[0]}/: "):
        list_images(folder)


def test_wearing_a_mask_is_a_class(make):
    assert list_images(make({"mask": 3, "no_mask": 3})).classes == ("mask", "no_mask")


def test_a_folder_of_another_class_in_a_class_is_doubted(make):
    listing = list_images(make({"train/cat": 3, "train/dog": 3, "test/cat": 2, "test/cat/Dog": 2, "test/dog": 2}))
    (warning,) = listing.warnings
    assert warning.startswith("2 images of class cat, such as test/cat/Dog/")
    assert "with the name of class dog" in warning


def test_a_class_in_a_folder_of_its_name_is_not_doubted(make):
    assert list_images(make({"cat": 1, "cat/cat": 2, "dog": 2})).warnings == ()


def test_what_lies_deeper_than_its_class_is_told(make):
    (note,) = list_images(make({"cat": 2, "cat/2024": 6, "dog": 2})).notes
    assert note.startswith("6 of 10 images lie deeper than in the folder of their class, such as cat/2024/")


def test_classes_that_could_be_on_two_levels_need_a_word(make):
    folder = make({"animals/cat": 3, "animals/dog": 2, "plants/oak": 2, "plants/rose": 1})
    with pytest.raises(ConfigError, match=r"animals, plants, or the folders in these: animals/cat, .*class_level=1 or"):
        list_images(folder)
    assert list_images(folder, 1).classes == ("animals", "plants")
    assert list_images(folder, 2).classes == ("animals/cat", "animals/dog", "plants/oak", "plants/rose")
    assert counts(list_images(folder, 2))[0] == [3, 2, 2, 1]


def test_the_level_holds_in_each_part(make):
    folder = make({"train/a/cat": 3, "train/a/dog": 2, "train/b/oak": 2, "train/b/elm": 1, "test/a/cat": 1})
    listing = list_images(folder, 2)
    assert counts(listing) == [[3, 2, 1, 2], [0] * 4, [1, 0, 0, 0]]
    assert counts(list_images(folder, 1)) == [[5, 3], [0, 0], [1, 0]]


REFUSED = {
    "another case": (
        {"train/Cat": 2, "train/Dog": 2, "test/cat": 1, "test/dog": 1},
        r'test/cat: a class that train/ does not have; known: Cat, Dog .*Did you mean "Cat"\? .*rename',
    ),
    "a class in val alone": (
        {"train/cat": 2, "train/dog": 2, "val/emu": 1, "test/dog": 1},
        "val/emu: a class that train/ does not have",
    ),
    "a part twice": (
        {"train/cat": 2, "train/dog": 2, "val/cat": 1, "valid/cat": 1, "test/dog": 1},
        r"val/ and valid/ could both be the val part; expected one",
    ),
    "train alone": (
        {"train/cat": 2, "train/dog": 2},
        r"has train/ but no test/\. .*--set data.path=.*/set/train",
    ),
    "a test with a slip": (
        {"train/cat": 2, "train/dog": 2, "tset/dog": 1},
        r'no test/\. Did you mean "tset"\?',
    ),
    "val and test": ({"val/cat": 2, "val/dog": 2, "test/dog": 1}, r"has val/ and test/ but no train/"),
    "a test without classes": (
        {"train/cat": 2, "train/dog": 2, "test": 3},
        r"set/test: 3 images without a class; .*--set data.path=.*/set/train",
    ),
    "images in a heap": ({"": 7}, r"set: 7 images directly in it, in no folder of a class; .*mkdir -p sorted/CLASS"),
    "an empty class": ({"cat": 2, "dog": 2, "emu": 0}, "set/emu: no images in this class; .*delete the folder"),
    "nothing": ({"cat": 0, "dog": 0}, "set: no images in its 2 folders; expected a folder per class"),
    "one class": ({"cat": 3}, r"1 folder \(cat/\); expected a folder per class, at least 2 classes"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_set_is_refused_with_the_way(make, kind):
    layout, message = REFUSED[kind]
    folder = make(layout)
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        list_images(folder)


CATS = {"train/cat": 3, "train/dog": 3}
MENDED = {
    "a part in itself": ({"train/train/cat": 2, "train/train/dog": 2, "test/test/cat": 1, "test/test/dog": 1}, ""),
    "train of another language": ({"apprentissage/cat": 2, "apprentissage/dog": 2, "test/cat": 1, "test/dog": 1}, ""),
    "test of another name": ({**CATS, "holdout/cat": 1, "holdout/dog": 1}, ""),
    "val in place of train": ({"dev/cat": 2, "dev/dog": 2, "test/cat": 1, "test/dog": 1}, ""),
    "class and part": ({"cats_train": 2, "dogs_train": 2, "cats_test": 1, "dogs_test": 1}, ""),
    "part and class": ({"train-cats": 2, "train-dogs": 2, "test-cats": 1, "test-dogs": 1}, ""),
    "train deeper": ({"train/pets/cat": 2, "train/pets/dog": 2, "train/wild/fox": 2, "test/cat": 1, "test/dog": 1}, ""),
    "test deeper": ({**CATS, "train/fox": 2, "test/pets/cat": 1, "test/pets/dog": 1, "test/wild/fox": 1}, ""),
    "names": ({"train": 6}, "mv train/{0} train/cat.{0}"),
    "a table": ({"train": 6}, "labels.csv file,label {0},cat"),
    "a table without endings": ({"": 6}, "labels.tsv id\tbreed {1}\tcat"),
    "a table without names": ({**CATS, "val/images": 4}, "val/val_annotations.txt - {0}\tcat\t0\t0\t62\t62"),
}


@pytest.mark.parametrize("kind", MENDED)
def test_the_line_that_is_printed_makes_a_set_that_is_read(make, monkeypatch, kind):
    layout, how = MENDED[kind]
    folder, lines = make(layout), 0
    monkeypatch.chdir(folder.parent)
    images = sorted(path for path in folder.rglob("*.png") if path.parent.name not in ("cat", "dog"))
    if how.startswith("mv"):
        for number, path in enumerate(images):
            path.rename(path.with_name(f"{('cat', 'dog')[number % 2]}.{path.name}"))
    elif how:
        name, head, row = how.split(" ")
        rows = [row.format(path.name, path.stem).replace("cat", ("cat", "dog")[n % 2]) for n, path in enumerate(images)]
        (folder / name).write_text("\n".join([*([head] if head != "-" else []), *rows]) + "\n")
    while lines < 3:
        try:
            listing = list_images(folder)
            break
        except ConfigError as error:
            line = next(line for line in re.findall(r"^  (\S.*)|\? (mv .*)$", str(error), re.MULTILINE))
            subprocess.run(["sh", "-c", "".join(line)], check=True, env={**os.environ, "PATH": PATH})
            folder, lines = folder.parent / "sorted" if "--set data.path=sorted" in str(error) else folder, lines + 1
    assert sum(map(sum, counts(listing))) == sum(layout.values())
    assert len(listing.classes) == len({name.split("/")[-1] for name in layout} & {"fox"}) + 2


PATH = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"


def test_a_name_with_an_accent_is_one_class_however_it_is_written(make):
    composed, decomposed = (unicodedata.normalize(form, "Käfer") for form in ("NFC", "NFD"))
    assert composed != decomposed
    folder = make({f"train/{composed}": 3, "train/Wal": 2, f"test/{decomposed}": 1, "test/Wal": 1})
    listing = list_images(folder)
    assert listing.classes == (composed, "Wal")
    assert counts(listing) == [[3, 2], [0, 0], [1, 1]]


def test_two_folders_of_one_name_are_refused(make):
    folder = make({unicodedata.normalize(form, "Käfer"): 2 for form in ("NFC", "NFD")} | {"Wal": 2})
    with pytest.raises(ConfigError, match=r"one name .* written in two ways"):
        list_images(folder)


def test_classes_that_differ_in_case_alone_are_doubtful(make):
    warnings = list_images(make({"Cat": 2, "cat": 2, "dog": 1})).warnings
    assert [warning.partition(":")[0] for warning in warnings] == ["class Cat", "class cat"]


# What is passed over


def passed_over(listing):
    return {kind.what: (kind.count, kind.expected) for kind in listing.passed_over}


def test_every_file_is_used_or_counted(make, tmp_path):
    folder = make({"train/cat": 3, "train/dog": 2, "test/dog": 1, "train": 1, "extra/emu": 2, "": 1})
    for name in ("README.md", "train/cat/labels.csv", "train/cat/Thumbs.db", ".git/config", "train/__MACOSX/._0.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("no image")
    (folder / "train" / "dog" / "0.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (folder / "train" / "dog" / "raw").write_bytes(b"\0\0\0\x18ftypmif1")
    (folder / "train" / "dog" / "1.NEF").write_bytes(b"II*\0")
    (folder / "train" / "dog" / "what").write_bytes(b"\1\2\3")
    (folder / "train" / "dog" / "gone.png").symlink_to("nowhere")
    os.mkfifo(folder / "train" / "dog" / "pipe.png")
    listing = list_images(folder)
    assert len(listing.files) == 6
    one, every = (f"magick mogrify -format png {files}" for files in ("FILE", "{} +"))
    every = f"find {folder} -iname '*.heic' -exec {every}"
    heic = [f"HEIC, which is not read: {line} converts it (ImageMagick)" for line in (one, every)]
    assert passed_over(listing) == {
        "image in no folder of a class": (4, False),
        "no image (.md)": (1, True),
        "no image (.csv)": (1, True),
        "hidden or system files": (3, True),
        **dict.fromkeys(heic, (1, False)),
        "camera RAW, which is not read: darktable-cli FILE FILE.png converts it": (1, False),
        "no image known by its ending or first bytes (no ending)": (1, False),
        "link that leads nowhere": (1, False),
        "pipe or device": (1, False),
    }
    assert listing.seen == 6 + sum(count for count, _ in passed_over(listing).values())


def test_more_than_a_trace_that_is_not_used_is_a_doubt(make, tmp_path):
    folder = make({"cat": 6, "dog": 6})
    for number in range(4):
        (folder / "cat" / f"{number}.heic").write_bytes(b"\0\0\0\x18ftypheic")
    warnings = dataset_info(ImageFolderData(dataset="image_folder", path="set"), tmp_path).warnings
    assert any(warning.startswith("4 files left out, 12 used: 4 HEIC, which is not read") for warning in warnings)


def test_a_class_of_what_cannot_be_read_is_refused_with_the_cure(make):
    folder = make({"cat": 6, "dog": 0, "emu": 2})
    for name in ("1.heic", "a/2.heic"):
        (folder / "dog" / name).parent.mkdir(exist_ok=True)
        (folder / "dog" / name).write_bytes(b"\0\0\0\x18ftypheic")
    reason = r"2 HEIC, which is not read: find [^ ]*/set -iname '\*\.heic' -exec [^;]*$"
    with pytest.raises(ConfigError, match=f"dog: no images in this class: {reason}"):
        list_images(folder)


def test_images_are_known_by_their_first_bytes_where_the_name_says_nothing(make):
    folder = make({"cat": 2, "dog": 2})
    for number, path in enumerate(sorted((folder / "cat").iterdir())):
        path.rename(path.with_name(("picture", "photo.jpg_large")[number]))
    assert [file.path for file in list_images(folder).files][:2] == ["cat/photo.jpg_large", "cat/picture"]


def test_a_class_that_is_a_link_to_nothing_is_refused(make):
    folder = make({"a": 2, "b": 2})
    (folder / "c").symlink_to("nowhere")
    with pytest.raises(ConfigError, match="set/c: a link that leads nowhere, where a class is expected; mend it or"):
        list_images(folder)


def test_classes_that_are_links_are_followed_and_those_in_circles_are_not(make, tmp_path):
    elsewhere = make({"": 3}, "elsewhere")
    folder = make({"a": 2, "b": 2})
    (folder / "c").symlink_to(elsewhere)
    (folder / "a" / "again").symlink_to(folder)
    listing = list_images(folder)
    assert counts(listing)[0] == [2, 2, 3]
    assert passed_over(listing) == {"link that leads back to a folder above": (1, False)}


def test_links_that_an_archive_left_as_text_are_named(tmp_path):
    (tmp_path / "set").mkdir()
    for name in ("a", "b"):
        (tmp_path / "set" / name).write_text(f"../elsewhere/{name}")
    with pytest.raises(ConfigError, match="2 links stored as text, which are not read: make it a link again"):
        list_images(tmp_path / "set")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("pets.zip", b"PK\3\4", r"no such folder, but an archive; unpack it \(unzip .*pets.zip -d .*pets\)"),
        ("pets.tar.gz", b"\x1f\x8b\x08", r"an archive; unpack it \(tar xf"),
        ("pets.npy", b"\x93NUMPY", "data.dataset: npz"),
        ("pets.png", b"\x89PNG\r\n\x1a\n", "no such folder, but a file; expected images in a folder per class"),
    ],
)
def test_a_file_in_place_of_the_folder_is_refused_with_the_way(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        list_images(tmp_path / name)


# What the background hides


def icon(value, shape):
    image = Image.new("LA", (8, 8), (value, 0))
    for x in range(8):
        image.putpixel((x, shape % 8), (value, 255))
        image.putpixel((shape // 8, x), (value, 255))
    return image


@pytest.fixture
def icons(tmp_path):
    """Return what makes two classes of icons of one color, whose shape is in their transparency."""

    def draw_icons(value):
        for number in range(20):
            place = tmp_path / "icons" / ("a", "b")[number % 2]
            place.mkdir(parents=True, exist_ok=True)
            icon(value, number).save(place / f"{number}.png")

    return draw_icons


def test_black_icons_are_seen_on_white(icons, tmp_path):
    icons(0)
    data = ImageFolderData(dataset="image_folder", path="icons")
    info = dataset_info(data, tmp_path)
    assert info.account.lines()[1] == "changed on reading: 20 with transparency, put on white (a/0.png)"
    images = load_image_folder(data, tmp_path)
    assert (images.train.images == 0).any(dim=(1, 2, 3)).all()
    assert (images.train.images == 255).any(dim=(1, 2, 3)).all()


def test_white_icons_are_refused_on_white_and_read_on_black(icons, tmp_path):
    icons(255)
    data = ImageFolderData(dataset="image_folder", path="icons")
    with pytest.raises(BnexpError, match=r"20 of 20 images, such as a/0.png, show nothing on white.*=black"):
        dataset_info(data, tmp_path)
    images = load_image_folder(data.model_copy(update={"background": "black"}), tmp_path)
    assert (images.train.images == 255).any(dim=(1, 2, 3)).all()


def test_hidden_images_are_missed_and_what_macos_leaves_is_not(make, tmp_path):
    folder = make({"cat": 9, "dog": 9})
    (folder / "cat" / "0001.png").rename(folder / "cat" / ".0001.png")
    (folder / "cat" / "._0002.png").write_bytes(b"\0\5\x16\7" + bytes(60))
    account = dataset_info(ImageFolderData(dataset="image_folder", path="set"), tmp_path).account
    (doubt,) = account.doubts()
    assert doubt.startswith("1 file left out, 17 used: 1 hidden images; a name without a dot")
    assert [(kind.count, kind.expected) for kind in account.passed_over] == [(1, False), (1, True)]
