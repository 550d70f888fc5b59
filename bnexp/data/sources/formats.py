"""Tell what a file holds by its ending and its first bytes: an image that is read, a picture that is not, or none.

The content decides which decoder reads an image. The ending only decides what is looked at: a file with the ending of
an image is one, broken or not; one without a known ending is one if its first bytes say so.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from shlex import quote

from PIL import features

from bnexp.files import open_file

AVIF_IS_READ = bool(features.check("avif"))
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP", *(["AVIF"] if AVIF_IS_READ else []))
"""The formats that are tried, whatever the file's ending: those that Pillow decodes itself. EPS runs Ghostscript."""
_IMAGES = (
    ".jpg .jpeg .jpe .jfif .pjpeg .pjp .png .apng .bmp .dib .gif .pbm .pgm .ppm .pnm .pfm .tif .tiff .webp"
    + " .avif" * AVIF_IS_READ
)
ENDINGS = tuple(_IMAGES.split())

_RAW = ".cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .dng .orf .rw2 .raf .pef .srw .raw .rwl .x3f .3fr"
_PICTURES: Mapping[str, str] = {
    "HEIC": ".heic .heif .hif",
    "AVIF": ".avif",
    "camera RAW": _RAW,
    "SVG": ".svg .svgz",
    "PDF": ".pdf",
    "PSD": ".psd .psb",
    "JPEG 2000": ".jp2 .j2k .jpf .jpx .jpm",
    "JPEG XL": ".jxl",
    "EPS": ".eps .ps .ai",
    "ICO": ".ico .icns .cur",
    "TGA": ".tga",
    "PCX": ".pcx",
    "EXR": ".exr .hdr",
    "DDS": ".dds",
    "DICOM": ".dcm .dicom",
    "NIfTI": ".nii",
    "XCF": ".xcf",
    "NumPy": ".npy .npz",
    "video": ".mp4 .mov .avi .mkv .webm .m4v .mpg .mpeg",
    "archive": ".zip .tar .gz .tgz .bz2 .xz .rar .7z",
}
_UNREAD = {ending: name for name, endings in _PICTURES.items() for ending in endings.split() if ending not in ENDINGS}
_BESIDE = (
    ".txt .csv .tsv .json .jsonl .xml .yaml .yml .md .rst .html .htm .log .py .ipynb .sh .ini .cfg .db .url .lnk"
    " .sha256 .md5 .mat .pkl .cache .xmp .aae .toml .xlsx .xls .doc .docx .sqlite"
)
_OTHERS = frozenset(_BESIDE.split())
"""Endings of what often lies beside images, and is none."""
SYSTEM_NAMES = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin", "__pycache__"}
    | {"system volume information", "lost+found", "#recycle"}
)
"""Names, in small letters, of what systems leave behind; nobody means it as a class or an image."""

_SIGNATURES: tuple[tuple[str, re.Pattern[bytes]], ...] = tuple(
    (name, re.compile(pattern, re.DOTALL))
    for name, pattern in (
        ("PNG", rb"\x89PNG\r\n\x1a\n"),
        ("JPEG", rb"\xff\xd8\xff"),
        ("GIF", rb"GIF8[79]a"),
        ("BMP", rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00"),
        ("TIFF", rb"II\*\x00|MM\x00\*|II\+\x00|MM\x00\+"),
        ("WEBP", rb"RIFF.{4}WEBP"),
        ("PPM", rb"P[1-6]\s+[#\d]"),
        ("AVIF", rb".{4}ftyp(avif|avis|.{4,40}(avif|avis))"),
        ("HEIC", rb".{4}ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)"),
        ("PDF", rb"%PDF"),
        ("EPS", rb"%!PS"),
        ("PSD", rb"8BPS"),
        ("JPEG 2000", rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51"),
        ("JPEG XL", rb"\xff\x0a|\x00\x00\x00\x0cJXL "),
        ("ICO", rb"\x00\x00[\x01\x02]\x00[\x01-\xff]\x00"),
        ("EXR", rb"v/1\x01"),
        ("DDS", rb"DDS "),
        ("DICOM", rb".{128}DICM"),
        ("NumPy", rb"\x93NUMPY"),
        ("archive", rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!"),
        ("video", rb".{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI "),
        ("SVG", rb"(\xef\xbb\xbf)?\s*(<\?xml.{0,200}?)?(<!--.{0,200}?-->\s*)?(<!DOCTYPE\s+svg|<svg)"),
        ("web page", rb"\s*<(!DOCTYPE html|html)"),
        ("Git LFS pointer", rb"version https://git-lfs"),
        ("link stored as text", rb"\.{0,2}/?([^\s/]+/)+[^\s/]+\n?$"),
    )
)


def is_system(name: str) -> bool:
    """Tell whether a file or folder is hidden, or one that a system leaves behind."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def ending_of(name: str) -> str:
    """Return the ending of a name in small letters, with its dot, or nothing."""
    return Path(name).suffix.lower()


def sniffed(path: Path) -> str | None:
    """Return the format that the first bytes of a file have, None where they are of no picture or cannot be read."""
    try:
        with open_file(path) as file:
            head = file.read(512)
    except OSError:
        return None
    return next((name for name, signature in _SIGNATURES if signature.match(head)), None)


def is_image(path: Path, *, hidden: bool = False) -> bool:
    """Tell whether a file is to be decoded, by its ending, or by content where a `hidden` name or none says nothing.

    macOS leaves a hidden file with the ending of an image beside each image.
    """
    if hidden:
        return sniffed(path) in FORMATS
    ending = ending_of(path.name)
    if ending in ENDINGS:
        return True
    return ending not in _UNREAD and ending not in _OTHERS and sniffed(path) in FORMATS


def reason_not_read(path: Path, root: Path) -> tuple[str, bool]:
    """Return what a file below `root` is that `is_image` does not take, its cure, and whether nobody would miss it."""
    ending = ending_of(path.name)
    if ending in _OTHERS:
        return f"no image ({ending})", True
    if name := _UNREAD.get(ending) or sniffed(path):
        return f"{name}, which is not read: {cure_of(name, path, root)}", False
    return f"no image known by its ending or first bytes ({ending or 'no ending'})", False


_CURES = {
    "Git LFS pointer": "git lfs pull fetches the images",
    "link stored as text": "make it a link again, or put there what it names",
    "web page": "fetch the image itself",
    "video": "ffmpeg -i VIDEO frame%04d.png makes images of it",
    "archive": "unpack it",
    "NumPy": "data.dataset: npz reads arrays",
    "camera RAW": "darktable-cli FILE FILE.png converts it",
}


def cure_of(name: str, path: Path | None = None, root: Path | None = None) -> str:
    """Return how a person makes something readable of what is not read: of each file like `path` below `root`."""
    if name in _CURES:
        return _CURES[name]
    if path is None or root is None or not path.suffix:
        return "magick mogrify -format png FILE converts it (ImageMagick)"
    every = f"-iname {quote(f'*{path.suffix.lower()}')}"
    return f"find {quote(str(root))} {every} -exec magick mogrify -format png {{}} + converts it (ImageMagick)"
