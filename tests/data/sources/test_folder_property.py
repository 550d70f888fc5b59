"""Random folders of mixed kinds: read as a reader of its own reads them, pixel for pixel, or refused by name.

The reference knows what it wrote, as arrays and facts, and follows the documented rules with NumPy alone.
"""

import unicodedata
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from bnexp.config.data_section import ImageFolderData
from bnexp.data.sources.image_folder import folder_info, open_folder
from bnexp.errors import BnexpError

SIZE = (6, 5)
"""Height and width of all images as they are seen: scaling has tests of its own."""
BACK = {"white": 255, "black": 0, "gray": 128}
UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}
"""From stored to seen."""


def stored_size(orientation):
    return SIZE if orientation < 5 else SIZE[::-1]


def write_image(path, kind, rng, orientation):
    """Write an image, and return its color as stored, its opacity 0 .. 255 or None, and how deep it is."""
    height, width = stored_size(orientation)
    color = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    alpha = rng.choice([0, 90, 255], (height, width)).astype(np.uint8)
    alpha[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif} if orientation > 1 else {}
    if path.suffix == ".webp":
        options |= {"lossless": True, "exact": True}
    if kind == "RGB":
        Image.fromarray(color).save(path, **options)
        return color, None, "8"
    if kind == "L":
        Image.fromarray(color[..., 0]).save(path, **options)
        return color[..., :1], None, "8"
    if kind == "1":
        bits = color[..., 0] > 127
        Image.fromarray(bits).save(path, **options)
        return (255 * bits[..., np.newaxis]).astype(np.uint8), None, "8"
    if kind in ("RGBA", "LA"):
        shown = color if kind == "RGBA" else color[..., :1]
        Image.fromarray(np.dstack([shown, alpha]), kind).save(path, **options)
        return shown, alpha, "8"
    if kind == "P":
        palette, numbers = rng.integers(0, 256, (4, 3)).astype(np.uint8), color[..., 0] % 4
        image = Image.fromarray(numbers)
        image.putpalette(palette.tobytes())
        image.save(path, transparency=2, **options)
        return palette[numbers], np.where(numbers == 2, 0, 255), "8"
    values = rng.integers(0, 4096, (height, width)).astype(np.uint16)
    values[0, 0] = 4095
    if kind == "I;16":
        Image.fromarray(values).save(path, **options)
        return values[..., np.newaxis], None, "16"
    Image.fromarray(values.astype(np.float32) / 4095).save(path, **options)
    return values[..., np.newaxis].astype(np.float64) / np.float32(4095), None, "float"


KINDS = {
    "RGB": (".png", ".bmp", ".tif", ".webp", ".PNG", ".ppm", ""),
    "L": (".png", ".bmp", ".tiff", ".pgm", ".gif"),
    "1": (".png", ".tif", ".pbm"),
    "RGBA": (".png", ".tif", ".webp"),
    "LA": (".png", ".tif"),
    "P": (".png", ".gif"),
    "I;16": (".png", ".tif"),
    "F": (".tif",),
}
FORMATS = {"": "PNG", ".png": None}
WITH_EXIF = (".png", ".tif", ".webp", ".tiff", ".PNG")
NAMES = ["cat", "dog", "Vögel", "été", "two words", "鳥", "-x"]
DEEPER = ["", "", "", "2024/", "a/b/"]
OTHER = {
    "notes.txt": b"none",
    ".hidden.png": b"none",
    "Thumbs.db": b"none",
    "photo.heic": b"\0\0\0\x18ftypheic",
    "scan.pdf": b"%PDF-1.4",
    "what": b"\1\2\3",
}
LAYOUTS = [
    {"train": ""},
    {"train": "pets/"},
    {"train": "train/", "test": "test/"},
    {"train": "Training/", "val": "dev/", "test": "TEST/"},
    {"train": "set/train/images/", "test": "set/test/images/"},
    {"train": "train/", "val": "Validation/"},
]


def make_set(folder, seed):
    """Write a random folder, and return what is in it by part and class, with what else lies there."""
    rng = np.random.default_rng(seed)
    layout = LAYOUTS[seed % len(LAYOUTS)]
    names = list(rng.choice(NAMES, rng.integers(2, 4), replace=False))
    written = {part: {unicodedata.normalize("NFC", name): {} for name in names} for part in layout}
    rest = 0
    kinds = list(rng.choice(list(KINDS), rng.integers(1, 4), replace=False))
    for part, base in layout.items():
        for name in names:
            form = "NFD" if rng.random() < 0.5 else "NFC"
            place = folder / base / unicodedata.normalize(form, name)
            for number in range(rng.integers(1, 4) + (part == "train")):
                kind = str(rng.choice(kinds))
                ending = str(rng.choice(KINDS[kind]))
                orientation = int(rng.integers(1, 9)) if ending in WITH_EXIF else 1
                path = place / f"{'' if number == 0 else rng.choice(DEEPER)}{part}{number}{ending}"
                path.parent.mkdir(parents=True, exist_ok=True)
                if ending == "":
                    content = write_image(path.with_suffix(".png"), kind, rng, orientation)
                    path.with_suffix(".png").rename(path)
                else:
                    content = write_image(path, kind, rng, orientation)
                upright = [None if each is None else UPRIGHT[orientation](each) for each in content[:2]]
                written[part][unicodedata.normalize("NFC", name)][str(path)] = (*upright, content[2])
            for other in rng.choice(list(OTHER), rng.integers(0, 3), replace=False):
                (place / other).write_bytes(OTHER[other])
                rest += 1
    return written, rest


def seen(color, alpha, depth, background, channels):
    """Return what is to be read, uint8 (C, H, W)."""
    white = {"8": 255, "16": 4095, "float": 1}[depth]
    shades = np.floor(color.astype(np.float64) * 255 / white + 0.5)
    if alpha is not None:
        opacity = alpha.astype(np.float64)[..., np.newaxis] / 255
        shades = np.floor(shades * opacity + BACK[background] * (1 - opacity) + 0.5 + 1e-9)
    return np.repeat(shades, channels // shades.shape[2], 2).transpose(2, 0, 1).astype(np.uint8)


@pytest.mark.parametrize("seed", range(40))
def test_a_random_folder_is_read_as_it_was_written(tmp_path, seed):
    folder = tmp_path / "set"
    written, rest = make_set(folder, seed)
    background = ("white", "black", "gray")[seed % 3]
    data = ImageFolderData(dataset="image_folder", path=str(folder), background=background)
    images = [image for part in written.values() for of_class in part.values() for image in of_class.values()]
    opened = open_folder(data, tmp_path)
    classes = sorted(written["train"])
    assert list(opened.about.classes) == classes
    channels = 1 if all(color.shape[2] == 1 for color, _, _ in images) else 3
    expected = [
        (label, seen(*of_class[path], background, channels))
        for part in ("train", "val", "test")
        for label, of_class in enumerate(written.get(part, {}).get(name, {}) for name in classes)
        for path in sorted(of_class)
    ]
    assert list(opened.about.labels) == [label for label, _ in expected]
    np.testing.assert_array_equal(opened.images(), np.stack([pixels for _, pixels in expected]))
    sizes = [sum(map(len, written.get(part, {}).values())) for part in ("train", "val", "test")]
    assert opened.train_examples == sizes[0]
    assert (opened.about.val_examples or 0) == sizes[1]
    assert opened.test_examples == (sizes[2] or max(round(sizes[0] / 5), 1))
    account = folder_info(data, tmp_path).account
    assert account.seen == sum(path.is_file() for path in folder.rglob("*")) == len(images) + rest
    assert account.used == len(images) == sum(count for _, count in account.formats)
    assert sum(kind.count for kind in account.passed_over) == rest
    transparent = sum(alpha is not None and alpha.min() < 255 for _, alpha, _ in images)
    changed = {kind.what: kind.count for kind in account.changed}
    assert changed.get(f"with transparency, put on {background}", 0) == transparent
    assert sum(count for what, count in changed.items() if what.startswith("of more")) == sum(
        depth != "8" for _, _, depth in images
    )


DAMAGE = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "heic": lambda content: b"\0\0\0\x18ftypheic" + content[12:],
    "text": lambda content: b"not found",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_cannot_be_read_is_named_and_counted_when_left_out(tmp_path, damage):
    folder, rng = tmp_path / "set", np.random.default_rng(3)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(6):
            write_image(folder / name / f"{number}.png", "RGB", rng, 1)
    path = folder / "a" / "3.png"
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    data = ImageFolderData(dataset="image_folder", path=str(folder))
    with pytest.raises(BnexpError, match=r"1 of 12 images cannot be read:\n  a/3\.png: .+\n.*data.skip_broken=true"):
        open_folder(data, tmp_path)
    account = folder_info(data.model_copy(update={"skip_broken": True}), tmp_path).account
    assert (account.seen, account.used) == (12, 11)
    assert Counter({kind.example: kind.count for kind in account.passed_over}) == {"a/3.png": 1}
