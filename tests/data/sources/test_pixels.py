"""One image file, as it is seen: upright, opaque, of 8 bits, against formulas of its own."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, features

from bnexp.data.sources.decode import Wanted, decode
from bnexp.data.sources.pixels import Range, white_point
from bnexp.data.sources.transparency import BACKGROUNDS, FADED, FAINT
from bnexp.errors import BnexpError


def noise(shape, seed=0, most=256):
    return np.random.default_rng(seed).integers(0, most, shape)


def read(folder, *names, background="white"):
    found = decode(folder, names, Wanted(background=background))
    assert found.broken == []
    return found.images, {kind.what: kind.count for kind in found.changed}


def png(pixels, color_type, bits, before=b"", after=b""):
    """Return a PNG of (H, W, C) samples of some bits, with chunks before and after the pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, _ = pixels.shape
    spread = (pixels[..., np.newaxis] >> np.arange(bits)[::-1] & 1).astype(np.uint8).reshape(height, -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in spread)
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    extra = [b"".join(chunk(*one) for one in chunks) for chunks in (before, after)]
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra[0] + body + extra[1] + chunk(b"IEND", b"")


def orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
"""From pixels as they are stored to how they are seen (EXIF 2.32, tag Orientation)."""


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "webp", "tif", "jpg", "late.png"])
def test_images_are_turned_as_their_orientation_says(tmp_path, value, ending):
    stored = np.repeat(np.repeat(noise((2, 3, 3)), 8, 0), 8, 1).astype(np.uint8)
    path = tmp_path / f"a.{ending}"
    options = {"lossless": True} if ending == "webp" else {"quality": 100, "subsampling": 0} if ending == "jpg" else {}
    if ending == "late.png":
        content = orientation(value).tobytes()[6:]
        path.write_bytes(png(stored.astype(int), 2, 8, after=[(b"eXIf", content)]))
    else:
        Image.fromarray(stored).save(path, exif=orientation(value), **options)
    images, changed = read(tmp_path, path.name)
    seen = TURNED[value](stored).transpose(2, 0, 1)
    assert images[0].shape == seen.shape
    assert np.abs(images[0].astype(int) - seen).max() <= (8 if ending == "jpg" else 0)
    assert changed == ({} if value == 1 else {"turned as their orientation tag says": 1})


@pytest.mark.parametrize("value", [0, 9, 1000])
def test_an_orientation_that_is_none_turns_nothing(tmp_path, value):
    stored = noise((4, 6, 3)).astype(np.uint8)
    Image.fromarray(stored).save(tmp_path / "a.png", exif=orientation(value))
    images, changed = read(tmp_path, "a.png")
    np.testing.assert_array_equal(images[0], stored.transpose(2, 0, 1))
    assert changed == {}


def on(background, color, alpha):
    """Return color * alpha + background * (1 - alpha), in exact arithmetic, rounded to the nearest."""
    opacity = np.asarray(alpha, dtype=np.float64) / 255
    opacity = opacity[..., np.newaxis] if np.ndim(color) == 3 else opacity
    return np.floor(color * opacity + BACKGROUNDS[background] * (1 - opacity) + 0.5 + 1e-9)


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("channels", [2, 4])
def test_transparency_is_composed_on_the_background(tmp_path, background, channels):
    stored = noise((5, 7, channels)).astype(np.uint8)
    Image.fromarray(stored, "LA" if channels == 2 else "RGBA").save(tmp_path / "a.png")
    images, changed = read(tmp_path, "a.png", background=background)
    color = stored[..., 0] if channels == 2 else stored[..., :3]
    seen = on(background, color, stored[..., -1])
    np.testing.assert_array_equal(images[0], seen[np.newaxis] if channels == 2 else seen.transpose(2, 0, 1))
    assert changed == {f"with transparency, put on {background}": 1}


def test_an_opaque_alpha_changes_nothing(tmp_path):
    stored = noise((5, 7, 4)).astype(np.uint8)
    stored[..., 3] = 255
    Image.fromarray(stored).save(tmp_path / "a.png")
    images, changed = read(tmp_path, "a.png")
    np.testing.assert_array_equal(images[0], stored[..., :3].transpose(2, 0, 1))
    assert changed == {}


def test_a_palette_is_looked_up_with_its_transparency(tmp_path):
    numbers, palette = noise((5, 7), most=4).astype(np.uint8), noise((4, 3), seed=1).astype(np.uint8)
    image = Image.fromarray(numbers)
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "opaque.png")
    image.save(tmp_path / "one.gif", transparency=2)
    image.save(tmp_path / "several.png", transparency=bytes([0, 255, 100, 255]))
    images, changed = read(tmp_path, "opaque.png", "one.gif", "several.png")
    color = palette[numbers].astype(float)
    for found, opacity in zip(images, ([255] * 4, [255, 255, 0, 255], [0, 255, 100, 255]), strict=True):
        np.testing.assert_array_equal(found, on("white", color, np.array(opacity)[numbers]).transpose(2, 0, 1))
    assert changed == {"with transparency, put on white": 2}


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("color_type", [0, 2])
def test_one_color_that_a_png_marks_is_transparent(tmp_path, bits, color_type):
    if color_type == 2 and bits < 8:
        pytest.skip("PNG has no colors of so few bits")
    channels = 3 if color_type else 1
    stored = noise((6, 9, channels), most=2**bits)
    stored[0, 0], stored[1, 1] = 2**bits - 1, 0
    stored[2, 2] = 1
    marked = stored[2, 2]
    mark = (b"tRNS", struct.pack(f">{channels}H", *marked.tolist()))
    (tmp_path / "a.png").write_bytes(png(stored, color_type, bits, before=[mark]))
    images, changed = read(tmp_path, "a.png", background="gray")
    seen = np.floor(stored * 255 / (2**bits - 1) + 0.5)
    seen[(stored == marked).all(axis=2)] = BACKGROUNDS["gray"]
    np.testing.assert_array_equal(images[0], seen.transpose(2, 0, 1))
    assert changed["with transparency, put on gray"] == 1


# More than 8 bits


@pytest.mark.parametrize("most", [255, 4095, 16383, 65535])
@pytest.mark.parametrize(("color_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bits_are_scaled_by_the_bits_that_the_set_uses(tmp_path, most, color_type, channels):
    opaque = color_type in (4, 6)
    for name, seed in (("a.png", 0), ("b.png", 1)):
        stored = noise((5, 7, channels), seed, most // 3 if seed else most + 1)
        stored[0, 0] = most // 3 if seed else most
        if opaque:
            stored[..., -1] = 65535
        (tmp_path / name).write_bytes(png(stored, color_type, 16))
    images, changed = read(tmp_path, "a.png", "b.png")
    color = stored[..., :-1] if opaque else stored
    np.testing.assert_array_equal(images[1], np.floor(color * 255 / most + 0.5).transpose(2, 0, 1))
    assert changed == {f"of more than 8 bits, with white at {most:,}": 2}


def test_16_bits_with_transparency(tmp_path):
    stored = noise((5, 7, 4), most=65536)
    stored[0, 0] = 65535
    (tmp_path / "a.png").write_bytes(png(stored, 6, 16))
    images, _ = read(tmp_path, "a.png")
    eight = np.floor(stored * 255 / 65535 + 0.5)
    np.testing.assert_array_equal(images[0], on("white", eight[..., :3], eight[..., 3]).transpose(2, 0, 1))


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bits_of_tiff(tmp_path, compression, order):
    stored = noise((5, 7), most=65536)
    stored[0, 0] = 65535
    pixels = stored.astype(f"{order}u2")
    image = Image.frombytes("I;16" if order == "<" else "I;16B", (7, 5), pixels.tobytes())
    image.save(tmp_path / "a.tif", compression=compression)
    images, _ = read(tmp_path, "a.tif")
    np.testing.assert_array_equal(images[0, 0], np.floor(stored * 255 / 65535 + 0.5))


def tiff(pixels, order):
    """Return an uncompressed TIFF of 16 bits per color (H, W, 3)."""
    height, width, channels = pixels.shape
    body = pixels.astype(f"{order}u2").tobytes()
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, 8 + len(body)), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 8), (277, 3, 1, channels), (278, 4, 1, height), (279, 4, 1, len(body))]
    bits = struct.pack(f"{order}3H", 16, 16, 16)
    entries = b""
    for tag, kind, count, value in tags:
        short = kind == 3 and count == 1
        entries += struct.pack(f"{order}HHI", tag, kind, count) + struct.pack(
            f"{order}{'HH' if short else 'I'}", *((value, 0) if short else (value,))
        )
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(body) + len(bits))
    return head + body + bits + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bits_per_color_of_tiff(tmp_path, order):
    stored = noise((5, 7, 3), most=4096)
    stored[0, 0] = 4095
    (tmp_path / "a.tif").write_bytes(tiff(stored, order))
    images, changed = read(tmp_path, "a.tif")
    np.testing.assert_array_equal(images[0], np.floor(stored * 255 / 4095 + 0.5).transpose(2, 0, 1))
    assert changed == {"of more than 8 bits, with white at 4,095": 1}


def test_floats_have_white_at_1(tmp_path):
    stored = np.random.default_rng(0).random((5, 7), dtype=np.float32)
    Image.fromarray(stored).save(tmp_path / "a.tif")
    images, _ = read(tmp_path, "a.tif")
    np.testing.assert_array_equal(images[0, 0], np.floor(stored.astype(np.float64) * 255 + 0.5))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([[0.5, np.nan]], "not finite"),
        ([[-990.0, 1.0]], "(a - LOWEST).round().astype('uint16'), with the lowest value of the whole set"),
        ([[-1.0, 1.0]], "values from -1 to 1, expected none below 0; save each as (32767.5 * (a + 1)).round()"),
    ],
)
def test_floats_that_are_no_shades_are_broken(tmp_path, values, reason):
    Image.fromarray(np.array(values, dtype=np.float32)).save(tmp_path / "a.tif")
    Image.new("L", (2, 1)).save(tmp_path / "b.png")
    (broken,) = decode(tmp_path, ["a.tif", "b.png"], Wanted()).broken
    assert reason in broken.reason


def test_floats_of_an_unknown_range_are_refused_by_name(tmp_path):
    for name, most in (("a.tif", 0.5), ("b.tif", 80.25)):
        Image.fromarray(np.array([[0, most]], dtype=np.float32)).save(tmp_path / name)
    with pytest.raises(BnexpError, match=r"2 images of floats, such as a.tif: floats from 0 to 80.25, .*divide all"):
        decode(tmp_path, ["a.tif", "b.tif"], Wanted())


@pytest.mark.parametrize(
    ("high", "floats", "whole", "white"),
    [
        *[(0, False, True, 255), (256, False, True, 1023), (2**31 - 1, False, True, 2**31 - 1), (200, True, True, 255)],
        *[(2**12, False, True, 2**14 - 1), (31_900, False, True, 2**16 - 1), (2**17, False, True, 2**18 - 1)],
    ],
)
def test_white_is_all_ones_of_the_bits_in_use(high, floats, whole, white):
    assert white_point([Range(0, 0, floats, whole), Range(0, high, floats, whole)]) == white


def tagged(path, tag, old, new):
    """Change the value of a short tag in a TIFF that Pillow wrote."""
    content = path.read_bytes()
    entry = [struct.pack("<HHIHH", tag, 3, 1, value, 0) for value in (old, new)]
    assert content.count(entry[0]) == 1
    path.write_bytes(content.replace(*entry))


def test_16_bits_with_white_at_0_are_turned_round(tmp_path):
    stored = noise((5, 7), most=65536).astype(np.uint16)
    stored[0, 0] = 0
    Image.fromarray(stored).save(tmp_path / "a.tif")
    tagged(tmp_path / "a.tif", 262, 1, 0)
    images, _ = read(tmp_path, "a.tif")
    np.testing.assert_array_equal(images[0, 0], np.floor((65535.0 - stored) * 255 / 65535 + 0.5))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_bands_that_are_no_color_are_left_out_and_counted(tmp_path, mode):
    stored = noise((5, 7, len(mode))).astype(np.uint8)
    Image.fromarray(stored, mode=mode).save(tmp_path / "a.tif")
    tagged(tmp_path / "a.tif", 338, 2, 0)  # no longer alpha
    images, changed = read(tmp_path, "a.tif")
    np.testing.assert_array_equal(images[0], stored[..., :-1].transpose(2, 0, 1))
    assert changed == {"with further bands, such as infrared, which are left out": 1}


def test_numbers_that_pillow_takes_for_others_are_broken(tmp_path):
    Image.fromarray(noise((5, 7)).astype(np.uint8)).save(tmp_path / "signed.tif", tiffinfo={339: 2})
    Image.fromarray(np.ones((5, 7), dtype=np.float32)).save(tmp_path / "negative.tif")
    tagged(tmp_path / "negative.tif", 262, 1, 0)
    Image.new("L", (7, 5)).save(tmp_path / "z.png")
    reasons = [one.reason for one in decode(tmp_path, ["signed.tif", "negative.tif", "z.png"], Wanted()).broken]
    assert "8 bits with a sign" in reasons[0]
    assert "white is stored as 0" in reasons[1]


@pytest.mark.parametrize("bits", [16, 64])
def test_a_tiff_of_floats_that_is_not_read_is_named(tmp_path, bits):
    Image.fromarray(np.ones((5, 7), dtype=np.float32)).save(tmp_path / "a.tif")
    tagged(tmp_path / "a.tif", 258, 32, bits)
    Image.new("L", (7, 5)).save(tmp_path / "z.png")
    (broken,) = decode(tmp_path, ["a.tif", "z.png"], Wanted()).broken
    assert broken.reason.startswith(f"a TIFF of 1 x floats of {bits} bits, which is not read; save it as")


# Other colors and frames


def profile(red=(0.64, 0.33), green=(0.21, 0.71), blue=(0.15, 0.06), gamma=563 / 256):
    """Return an ICC profile (version 2) of a matrix and a gamma; by default the one of Adobe RGB (1998)."""
    primaries = np.array([[x / y, 1, (1 - x - y) / y] for x, y in (red, green, blue)]).T
    white = np.array([0.3127 / 0.3290, 1, 0.3583 / 0.3290])
    d50 = np.array([0.9642, 1, 0.8249])
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    adapted = np.linalg.inv(bradford) @ np.diag(bradford @ d50 / (bradford @ white)) @ bradford
    matrix = adapted @ (primaries * np.linalg.solve(primaries, white))

    def xyz(values):
        return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(float(value) * 65536) for value in values))

    name = b"Test RGB\0"
    text = b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(78)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    content = {b"desc": text + bytes(-len(text) % 4), b"wtpt": xyz(d50), b"cprt": b"text" + bytes(8)}
    content |= {tag: xyz(matrix[:, number]) for number, tag in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    content |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body, start = b"", b"", 132 + 12 * len(content)
    for tag, value in content.items():
        table += tag + struct.pack(">II", start + len(body), len(value))
        body += value
    head = bytes(8) + struct.pack(">I", 0x02200000) + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    head += struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    whole = head + struct.pack(">I", len(content)) + table + body
    return struct.pack(">I", len(whole)) + whole[4:], matrix


def test_colors_of_a_wide_profile_become_srgb_by_the_formula(tmp_path):
    """sRGB: IEC 61966-2-1; Adobe RGB (1998): a matrix and a gamma of 563 / 256; both at D65."""
    stored = np.array([[[200, 100, 50], [90, 120, 80], [128, 128, 128], [60, 70, 160]]], dtype=np.uint8)
    icc, to_xyz = profile()
    _, from_xyz = profile(red=(0.64, 0.33), green=(0.30, 0.60))
    Image.fromarray(stored).save(tmp_path / "a.png", icc_profile=icc)
    images, changed = read(tmp_path, "a.png")
    linear = np.linalg.solve(from_xyz, to_xyz @ ((stored[0] / 255) ** (563 / 256)).T).clip(0, 1)
    seen = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(images[0, :, 0] - 255 * seen).max() < 2
    assert np.abs(images[0, :, 0].T - stored[0].astype(int)).max() > 10
    assert changed == {"of the color profile Test RGB, converted to sRGB": 1}


@pytest.mark.parametrize("icc", [ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), b"damaged"])
def test_colors_of_srgb_stay_as_they_are(tmp_path, icc):
    stored = noise((5, 7, 3)).astype(np.uint8)
    Image.fromarray(stored).save(tmp_path / "a.png", icc_profile=icc)
    images, changed = read(tmp_path, "a.png")
    np.testing.assert_array_equal(images[0], stored.transpose(2, 0, 1))
    assert changed == {}


@pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF")
@pytest.mark.parametrize("deep", [False, True])
def test_an_avif_of_more_than_8_bits_is_counted(tmp_path, deep):
    Image.fromarray(noise((16, 16, 3)).astype(np.uint8)).save(tmp_path / "a.avif")
    content = bytearray((tmp_path / "a.avif").read_bytes())
    content[content.index(b"av1C") + 6] |= 0x40 * deep  # what the header says; Pillow goes by the pixels
    at = content.index(b"pixi") + 9
    content[at : at + 3] = bytes([10 if deep else 8] * 3)
    (tmp_path / "a.avif").write_bytes(content)
    _, changed = read(tmp_path, "a.avif")
    assert any(what.startswith("AVIF of more than 8 bits") for what in changed) == deep


def test_cmyk_becomes_rgb_as_printed(tmp_path):
    stored = np.zeros((8, 8, 4), dtype=np.uint8)
    stored[..., 0], stored[..., 3] = 255, 51
    Image.frombytes("CMYK", (8, 8), stored.tobytes()).save(tmp_path / "a.tif")
    Image.frombytes("CMYK", (8, 8), stored.tobytes()).save(tmp_path / "b.jpg", quality=100)
    images, changed = read(tmp_path, "a.tif", "b.jpg")
    seen = (255 - stored[..., :3].astype(int)) * (255 - 51) / 255
    assert np.abs(images - seen.transpose(2, 0, 1)).max() <= 2
    assert changed == {"of CMYK, converted to RGB": 2}


def test_lab_becomes_rgb_by_the_formula_of_cie(tmp_path):
    stored = np.array([[[160, 128, 128], [110, 175, 150], [200, 100, 160]]], dtype=np.uint8)
    signed = stored ^ np.array([0, 128, 128], dtype=np.uint8)  # as TIFF keeps a and b
    Image.frombytes("LAB", (3, 1), signed.tobytes()).save(tmp_path / "a.tif")
    images, changed = read(tmp_path, "a.tif")
    lightness, a, b = stored[0, :, 0] / 255 * 100, stored[0, :, 1] - 128.0, stored[0, :, 2] - 128.0
    y = (lightness + 16) / 116
    ratios = np.stack([y + a / 500, y, y - b / 200])
    xyz = np.where(ratios > 6 / 29, ratios**3, 3 * (6 / 29) ** 2 * (ratios - 4 / 29)) * [[0.9642], [1.0], [0.8249]]
    to_linear = np.array(  # D50 to sRGB, Bradford (Lindbloom)
        [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
    )
    linear = (to_linear @ xyz).clip(0, 1)
    seen = 255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    assert np.abs(images[0, :, 0] - seen).max() <= 3
    assert changed == {"of LAB, converted to RGB": 1}


@pytest.mark.parametrize("ending", ["gif", "tif", "webp", "png"])
def test_of_several_frames_the_first_is_used_and_counted(tmp_path, ending):
    frames = [Image.fromarray(np.full((8, 8), value, dtype=np.uint8)) for value in (40, 200, 90)]
    options = {"lossless": True} if ending == "webp" else {}
    frames[0].save(tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:], **options)
    images, changed = read(tmp_path, f"a.{ending}")
    np.testing.assert_array_equal(images, 40)
    assert changed == {"of several frames or pages, of which the first is used": 1}


def test_a_photo_with_more_pictures_inside_is_a_jpeg_of_one_frame(tmp_path):
    frames = [Image.new("RGB", (8, 8), (value, 0, 0)) for value in (40, 200)]
    frames[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:])
    found = decode(tmp_path, ["a.jpg"], Wanted())
    assert (found.formats, found.changed) == ((("JPEG", 1),), ())


def test_gray_among_color_is_counted(tmp_path):
    Image.new("L", (2, 2), 7).save(tmp_path / "a.png")
    Image.new("RGB", (2, 2)).save(tmp_path / "b.png")
    assert read(tmp_path, "a.png", "b.png")[1] == {"gray, given three equal channels": 1}


# What a background hides


def icon(color, background_alpha=0):
    stored = np.zeros((16, 16, 4), dtype=np.uint8)
    stored[..., :3], stored[..., 3] = color, background_alpha
    stored[4:12, 4:12, 3] = 255
    return Image.fromarray(stored)


@pytest.mark.parametrize(
    ("color", "lost"),
    [((0, 0, 0), "black"), ((255, 255, 255), "white"), ((250, 252, 251), "white"), ((128,) * 3, "gray")],
)
def test_what_is_drawn_in_the_color_of_a_background_is_lost_on_it(tmp_path, color, lost):
    icon(color).save(tmp_path / "a.png")
    found = decode(tmp_path, ["a.png"], Wanted())
    assert [(kind.what, kind.count, kind.example) for kind in found.lost] == [(lost, 1, "a.png")]


def test_a_transparent_photo_is_lost_on_no_background(tmp_path):
    stored = noise((16, 16, 4)).astype(np.uint8)
    Image.fromarray(stored).save(tmp_path / "a.png")
    assert decode(tmp_path, ["a.png"], Wanted()).lost == ()


@pytest.mark.parametrize(
    ("stored", "fault"),
    [
        ({"line": 90, "shape": 255}, FADED),
        ({"line": 90, "shape": 250}, FADED),
        ({"line": 90, "shape": 200}, None),
        ({"line": 255, "shape": 90}, FADED),
        ({"outlined": True}, None),
        ({"alpha": 12}, FAINT),
        ({"alpha": 128}, None),
    ],
)
def test_shapes_that_fade_beside_what_is_left_are_counted(tmp_path, stored, fault):
    pixels = np.zeros((16, 16, 4), dtype=np.uint8)
    if "line" in stored:
        pixels[[0, 15]] = (stored["line"], 20, 20, 255) if stored["line"] < 255 else 255
        pixels[5:11, 5:11] = (*[stored["shape"]] * 3, 255)
    elif "outlined" in stored:
        pixels[3:13, 3:13] = (90, 20, 20, 255)
        pixels[4:12, 4:12] = 255
    else:
        pixels[..., :3], pixels[..., 3] = noise((16, 16, 3)), stored["alpha"]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = {kind.what for kind in decode(tmp_path, ["a.png"], Wanted()).changed}
    assert found & {FADED, FAINT} == ({fault} if fault else set())


def test_an_image_that_is_transparent_everywhere_is_broken(tmp_path):
    stored = noise((4, 4, 4)).astype(np.uint8)
    Image.fromarray(stored).save(tmp_path / "a.png")
    stored[..., 3] = 0
    Image.fromarray(stored).save(tmp_path / "b.png")
    (broken,) = decode(tmp_path, ["a.png", "b.png"], Wanted()).broken
    assert broken.reason.startswith("transparent everywhere")


def test_damaged_exif_turns_nothing(tmp_path):
    stored = noise((8, 16, 3)).astype(np.uint8)
    Image.fromarray(stored).save(tmp_path / "a.png", exif=b"Exif\0\0garbage")
    np.testing.assert_array_equal(read(tmp_path, "a.png")[0][0], stored.transpose(2, 0, 1))


def test_turning_and_scaling_go_together_as_pillow_has_it(tmp_path):
    stored = noise((8, 16, 3)).astype(np.uint8)
    Image.fromarray(stored).save(tmp_path / "a.png", exif=orientation(6))
    found = decode(tmp_path, ["a.png"], Wanted((6, 6))).images[0]
    upright = ImageOps.exif_transpose(Image.open(tmp_path / "a.png"))
    np.testing.assert_array_equal(found.transpose(1, 2, 0), ImageOps.fit(upright, (6, 6), Image.Resampling.BILINEAR))
