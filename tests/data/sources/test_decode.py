"""From files to bytes of one shape."""

import os
import re
import struct
import subprocess
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import EpsImagePlugin, GifImagePlugin, Image, TiffImagePlugin, WebPImagePlugin

from bnexp.data.sources import decode as module
from bnexp.data.sources.decode import Wanted, decode
from bnexp.data.sources.formats import ENDINGS
from bnexp.errors import BnexpError


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@pytest.fixture
def write(tmp_path):
    """Return what writes arrays as PNGs and gives their names."""

    def write_all(*arrays):
        for number, array in enumerate(arrays):
            Image.fromarray(array).save(tmp_path / f"{number:03}.png")
        return [f"{number:03}.png" for number in range(len(arrays))]

    return write_all


def test_color_images_of_one_size_come_as_they_are(tmp_path, write):
    arrays = [noise((5, 7, 3), seed) for seed in range(200)]
    found = decode(tmp_path, write(*arrays), Wanted())
    np.testing.assert_array_equal(found.images, np.stack(arrays).transpose(0, 3, 1, 2))
    assert (found.numbers, found.broken, found.sizes) == (list(range(200)), [], 1)
    assert found.images.dtype == np.uint8


def test_gray_images_have_one_channel(tmp_path, write):
    arrays = [noise((5, 7), seed) for seed in range(3)]
    np.testing.assert_array_equal(decode(tmp_path, write(*arrays), Wanted()).images, np.stack(arrays)[:, np.newaxis])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_one_color_image_makes_all_color(tmp_path, write, order):
    arrays = [noise((5, 7)), noise((5, 7, 3))]
    found = decode(tmp_path, write(*(arrays[place] for place in order)), Wanted()).images
    assert found.shape == (2, 3, 5, 7)
    np.testing.assert_array_equal(found[order.index(0)], np.stack([arrays[0]] * 3))
    np.testing.assert_array_equal(found[order.index(1)], arrays[1].transpose(2, 0, 1))


def test_images_of_mixed_sizes_come_in_the_median_size(tmp_path, write):
    sizes = [(10, 8), (6, 20), (8, 12), (8, 12), (30, 30)]
    found = decode(tmp_path, write(*(noise((*size, 3)) for size in sizes)), Wanted())
    assert found.images.shape == (5, 3, 8, 12)
    assert found.sizes == 4
    np.testing.assert_array_equal(found.images[2], noise((8, 12, 3)).transpose(2, 0, 1))


@pytest.mark.parametrize("first", [(4, 4), (8, 8)])
def test_the_first_image_does_not_decide_the_size(tmp_path, write, first):
    found = decode(tmp_path, write(*(noise((*size, 3)) for size in (first, (8, 8), (8, 8)))), Wanted())
    assert found.images.shape == (3, 3, 8, 8)


def test_scaling_keeps_proportions_and_cuts_off_evenly(tmp_path, write):
    # A wide image, dark on both sides: at the size asked for, only its bright middle is left.
    array = np.zeros((10, 40), dtype=np.uint8)
    array[:, 12:28] = 200  # the filter looks a little beyond the cut
    found = decode(tmp_path, write(array), Wanted((5, 5))).images
    np.testing.assert_array_equal(found, np.full((1, 1, 5, 5), 200))


def test_scaling_down_averages(tmp_path, write):
    array = np.indices((16, 16)).sum(axis=0) % 2 * np.uint8(200)  # a checkerboard
    found = decode(tmp_path, write(array.astype(np.uint8)), Wanted((4, 4))).images
    assert np.abs(found.astype(int) - 100).max() <= 20


def test_a_size_asked_for_holds_for_all(tmp_path, write):
    found = decode(tmp_path, write(noise((9, 9, 3)), noise((4, 4, 3)), noise((6, 5))), Wanted((6, 5)))
    assert found.images.shape == (3, 3, 6, 5)
    np.testing.assert_array_equal(found.images[2], np.stack([noise((6, 5))] * 3))


def png_claiming(width, height, bits=8):
    """Return a PNG of a few bytes that claims a size."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty: it has 0 bytes"),
        (b"hello", "not an image of a known format"),
        (png_claiming(8200, 8200), "over the 67,108,864 pixels .* -resize"),
        (png_claiming(10_000, 10_000), "(?i)pixels"),
        (png_claiming(60_000, 60_000), "(?i)pixels"),
        (png_claiming(5, 5, bits=16), "truncated|unrecognized|broken|end of"),
        (png_claiming(5, 5), "truncated|unrecognized|broken|end of"),
    ],
    ids=["empty", "text", "many pixels", "more pixels", "a bomb", "16 bits", "no pixels"],
)
@pytest.mark.parametrize("first", [False, True])
def test_an_image_that_cannot_be_read_is_told_apart(tmp_path, write, content, reason, first):
    names = write(*(noise((5, 5), seed) for seed in range(3)))
    bad = 0 if first else 1
    (tmp_path / names[bad]).write_bytes(content)
    found = decode(tmp_path, names, Wanted())
    good = [number for number in range(3) if number != bad]
    assert found.numbers == good
    np.testing.assert_array_equal(found.images[:, 0], np.stack([noise((5, 5), seed) for seed in good]))
    (broken,) = found.broken
    assert broken.number == bad
    assert re.search(reason, broken.reason), broken.reason


def test_a_truncated_jpeg_is_broken(tmp_path):
    for number in range(3):
        Image.fromarray(noise((40, 40, 3), number)).save(tmp_path / f"{number}.jpg")
    content = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(content[: len(content) // 2])
    found = decode(tmp_path, ["0.jpg", "1.jpg", "2.jpg"], Wanted())
    assert found.numbers == [0, 2]
    assert "truncated" in found.broken[0].reason


# What may be tried, and how much of it


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 5\n%%EndComments\n/x 1 def\nshowpage\n%%EOF\n"


def test_a_program_for_a_printer_never_reaches_its_interpreter(tmp_path, write, monkeypatch):
    names = write(noise((5, 5, 3)), noise((5, 5, 3)))
    (tmp_path / names[1]).write_bytes(EPS)
    with Image.open(tmp_path / names[1]) as image:
        assert image.format == "EPS"  # so that the test is one
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *arguments, **options: pytest.fail("Ghostscript"))
    monkeypatch.setattr(subprocess, "Popen", lambda *arguments, **options: pytest.fail("a program was started"))
    (broken,) = decode(tmp_path, names, Wanted()).broken
    assert (broken.number, broken.reason[:10]) == (1, "EPS inside")


@pytest.mark.parametrize("other", ["ICO", "TGA", "PCX", "SGI", "PDF"])
def test_other_formats_are_not_tried_whatever_the_name(tmp_path, write, other):
    names = write(noise((5, 5, 3)), noise((5, 5, 3)))
    Image.fromarray(noise((16, 16, 3))).save(tmp_path / names[1], format=other)
    known = f"{other} inside: magick mogrify -format png FILE converts it (ImageMagick)"
    expected = known if other in ("ICO", "PDF") else "not an image of a known format"
    assert decode(tmp_path, names, Wanted()).broken[0].reason == expected


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_that_is_listed_is_decoded(tmp_path, ending):
    array = np.full((8, 8), 77, dtype=np.uint8)
    format_ = {".pjpeg": "JPEG", ".pjp": "JPEG", ".dib": "BMP"}.get(ending)
    Image.fromarray(array).save(tmp_path / f"a{ending}", format=format_)
    found = decode(tmp_path, [f"a{ending}"], Wanted()).images
    assert np.abs(found.astype(int) - 77).max() <= 2  # JPEG and WebP come near


@pytest.mark.parametrize("ending", [".gif", ".tif", ".webp"])
def test_of_many_frames_only_the_first_is_decoded(tmp_path, ending, monkeypatch):
    frames = [Image.fromarray(np.full((8, 8), value, dtype=np.uint8)) for value in range(0, 250, 5)]
    frames[0].save(tmp_path / f"a{ending}", save_all=True, append_images=frames[1:])
    for plugin in (GifImagePlugin.GifImageFile, TiffImagePlugin.TiffImageFile, WebPImagePlugin.WebPImageFile):
        monkeypatch.setattr(plugin, "seek", lambda self, frame: frame and pytest.fail("another frame"))
    found = decode(tmp_path, [f"a{ending}"], Wanted())
    assert found.broken == []
    assert found.images.max() <= 2


def test_a_frame_larger_than_its_picture_says_is_broken(tmp_path, write):
    names = write(*(noise((5, 5)) for _ in range(3)))
    frame = b"," + struct.pack("<HHHHB", 0, 0, 60_000, 60_000, 0) + b"\x02\x02\x44\x01\x00;"
    (tmp_path / names[1]).write_bytes(b"GIF89a" + struct.pack("<HHBBB", 5, 5, 0x80, 0, 0) + bytes(6) + frame)
    found = decode(tmp_path, names, Wanted())
    assert found.numbers == [0, 2]
    assert "pixels" in found.broken[0].reason


def test_a_file_larger_than_any_image_is_not_read(tmp_path, write):
    names = write(*(noise((5, 5)) for _ in range(3)))
    with (tmp_path / names[1]).open("wb") as file:
        file.write(b"RIFF\xff\xff\xff\xffWEBPVP8L")
        file.truncate(2**40)  # a hole: it takes no room on the disk
    (broken,) = decode(tmp_path, names, Wanted()).broken
    assert re.fullmatch(r"1,099,511,627,776 bytes, expected at most [\d,]+", broken.reason)


def test_a_pipe_and_a_device_are_broken_and_nobody_waits_for_them(tmp_path, write):
    names = write(noise((5, 5)))
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    found = decode(tmp_path, [*names, "pipe.png", "device.png"], Wanted())
    assert [broken.reason for broken in found.broken] == ["not a regular file"] * 2


def test_an_image_that_changes_between_two_looks_is_broken(tmp_path, write, monkeypatch):
    names = write(noise((9, 9)), *(noise((5, 5)) for _ in range(2)))
    look = module._look

    def then_changed(file, number, *options):
        found = look(file, number, *options)
        if options:
            (tmp_path / names[0]).write_bytes(png_claiming(8200, 8200))
        return found

    monkeypatch.setattr(module, "_look", then_changed)
    monkeypatch.setattr(module, "ThreadPoolExecutor", lambda threads: ThreadPoolExecutor(1))
    (broken,) = decode(tmp_path, names, Wanted()).broken
    assert "over the 67,108,864 pixels" in broken.reason


def test_a_missing_file_is_broken(tmp_path, write):
    found = decode(tmp_path, [*write(noise((5, 5))), "gone.png"], Wanted())
    assert found.broken[0].reason == "No such file or directory"


def test_a_set_without_a_readable_image_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(BnexpError, match=r"none of 1 images can be read, such as a.png: not an image"):
        decode(tmp_path, ["a.png"], Wanted())


def test_more_than_fits_in_memory_is_refused_with_the_numbers(tmp_path, write, monkeypatch):
    monkeypatch.setattr(module, "MAX_SET_BYTES", 3 * 5 * 7 * 3 - 1)
    names = write(*(noise((5, 7, 3)) for _ in range(3)))
    with pytest.raises(BnexpError, match=r"3 images of 5 x 7 pixels.*data.image_size"):
        decode(tmp_path, names, Wanted())
    assert decode(tmp_path, names, Wanted((4, 4))).images.shape == (3, 3, 4, 4)


def test_one_large_image_in_front_does_not_refuse_the_set(tmp_path, write, monkeypatch):
    monkeypatch.setattr(module, "MAX_SET_BYTES", 200)
    found = decode(tmp_path, write(noise((50, 50)), noise((5, 5)), noise((5, 5))), Wanted())
    assert found.images.shape == (3, 1, 5, 5)
