"""MNIST, Fashion-MNIST and Kuzushiji-MNIST: downloaded, checked byte for byte, and never half used.

torchvision knows the addresses and the checksums of the archives. Where the files lie under the data directory is its
choice, such as `MNIST/raw/`. They are read here, in the bytes that were checked: torchvision would prefer the unchecked
`processed/` of its old versions, and its import takes longer than all the rest of a start.
"""

import http.client
import math
import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bnexp.config.data_section import DatasetName
from bnexp.data.download import FETCHED_AGAIN, Wanted, fetching, gunzip, md5, packed_limit, retrieve
from bnexp.data.parts import ImageSet, Part
from bnexp.data.torchvision_import import torchvision_datasets
from bnexp.errors import BnexpError
from bnexp.files import read_file

CLASSES = 10

Bytes = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


@dataclass(frozen=True)
class IdxFile:
    """One file of the set, by its name without `.gz`.

    Its MD5 is not always known; then that of the published archive stands in, whose last bytes hold the file's CRC-32.
    """

    name: str
    examples: int
    md5: str | None = None
    archive_md5: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 28, 28) of images or (N,) of labels, one byte each."""
        return (self.examples, 28, 28) if "images" in self.name else (self.examples,)

    @property
    def header(self) -> bytes:
        """The first bytes: a magic number for bytes in so many dimensions, and the extent of each."""
        return bytes((0, 0, 8, len(self.shape))) + b"".join(extent.to_bytes(4, "big") for extent in self.shape)

    @property
    def size(self) -> int:
        """Bytes of the intact file."""
        return len(self.header) + math.prod(self.shape)

    @property
    def archive(self) -> str:
        """Name of the file as it is published."""
        return f"{self.name}.gz"


@dataclass(frozen=True)
class IdxSet:
    """A dataset in MNIST's file format, under the name that torchvision gives it.

    The files are the images and the labels to train on, and the images and the labels of the test.
    """

    torchvision_class: str
    files: tuple[IdxFile, IdxFile, IdxFile, IdxFile]

    def folder(self, data_dir: Path) -> Path:
        """Return where torchvision puts the files."""
        return data_dir / self.torchvision_class / "raw"


MNIST = IdxSet(
    "MNIST",
    (
        IdxFile("train-images-idx3-ubyte", 60_000, md5="6bbc9ace898e44ae57da46a324031adb"),
        IdxFile("train-labels-idx1-ubyte", 60_000, md5="a25bea736e30d166cdddb491f175f624"),
        IdxFile("t10k-images-idx3-ubyte", 10_000, md5="2646ac647ad5339dbf082846283269ea"),
        IdxFile("t10k-labels-idx1-ubyte", 10_000, md5="27ae3e4e09519cfbb04c329615203637"),
    ),
)
FASHION_MNIST = IdxSet(
    "FashionMNIST",
    (
        IdxFile("train-images-idx3-ubyte", 60_000, archive_md5="8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        IdxFile("train-labels-idx1-ubyte", 60_000, archive_md5="25c81989df183df01b3e8a0aad5dffbe"),
        IdxFile("t10k-images-idx3-ubyte", 10_000, archive_md5="bef4ecab320f06d8554ea6380940ec79"),
        IdxFile("t10k-labels-idx1-ubyte", 10_000, archive_md5="bb300cfdad3c16e7a12a480ee83cd310"),
    ),
)
KMNIST = IdxSet(
    "KMNIST",
    (
        IdxFile("train-images-idx3-ubyte", 60_000, archive_md5="bdb82020997e1d708af4cf47b453dcf7"),
        IdxFile("train-labels-idx1-ubyte", 60_000, archive_md5="e144d726b3acfaa3e44228e80efcd344"),
        IdxFile("t10k-images-idx3-ubyte", 10_000, archive_md5="5c965bf0a639b31b8f53240b1b52f4d7"),
        IdxFile("t10k-labels-idx1-ubyte", 10_000, archive_md5="7320c461ea6c1c855c0b718fb2a4b134"),
    ),
)


def load_idx_set(idx_set: IdxSet, dataset: DatasetName, data_dir: Path, download: bool) -> ImageSet:
    """Return the dataset; torchvision's folder lies in `data_dir`, and `download` fetches what is missing.

    Raises:
        ConfigError: missing and not to be had.
        BnexpError: a file is truncated or corrupt; the message names it.
    """
    raw = idx_set.folder(data_dir)
    missing = [file.name for file in idx_set.files if not os.path.isfile(raw / file.name)]
    if missing:
        wanted = Wanted(dataset, raw, missing, "uncompressed")
        if not download:
            raise wanted.refused("downloading is off (data.download: false)")
        _download(idx_set, wanted, data_dir)
    images, labels, test_images, test_labels = (_read(raw / file.name, file) for file in idx_set.files)
    # (N, H, W) -> (N, 1, H, W)
    train, test = Part(images.unsqueeze(1), labels.long()), Part(test_images.unsqueeze(1), test_labels.long())
    return ImageSet(train, test)


def _download(idx_set: IdxSet, wanted: Wanted, data_dir: Path) -> None:
    """Fetch the set, unpack it and move it into place file by file."""
    published = getattr(torchvision_datasets(), idx_set.torchvision_class)
    checksums = dict(published.resources)
    with fetching(wanted, data_dir) as aside:
        for file in idx_set.files:
            packed = aside / file.archive
            _fetch(published.mirrors, packed, checksums[file.archive], packed_limit(file.size))
            (aside / file.name).write_bytes(gunzip(packed.read_bytes(), file.size))
        wanted.folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(aside.iterdir()):
            path.replace(wanted.folder / path.name)


def _fetch(mirrors: Sequence[str], path: Path, checksum: str, limit: int) -> None:
    """Download a file from the first place that has it, or raise what the last one answered."""
    for mirror in mirrors[:-1]:
        with suppress(OSError, http.client.HTTPException):
            return retrieve(f"{mirror}{path.name}", path, checksum, limit)
    return retrieve(f"{mirrors[-1]}{path.name}", path, checksum, limit)


def _read(path: Path, file: IdxFile) -> Tensor:
    """Return the bytes of a file, in its shape, after their size and checksum were found right."""
    try:
        size = path.stat().st_size
        content = np.fromfile(path, dtype=np.uint8, count=file.size) if size == file.size else None
    except OSError as error:
        raise BnexpError(f"{path}: cannot be read: {error.strerror}") from None
    if content is None or content.size != file.size:
        found = f"{size:,} bytes, expected {file.size:,}"
        raise BnexpError(f"{path}: {found}: truncated or not this file; {FETCHED_AGAIN}")
    if not _is_intact(content, file, path.with_name(file.archive)):
        raise BnexpError(f"{path}: corrupt: its checksum is not that of the published file; {FETCHED_AGAIN}")
    return torch.from_numpy(content[len(file.header) :]).view(file.shape)


def _is_intact(content: Bytes, file: IdxFile, archive: Path) -> bool:
    """Tell whether a file of the right size holds what was published, as far as its checksums can tell.

    Without a checksum of the file itself, header and labels must be possible ones, and the archive that the download
    left beside it stands in. An archive that is not the published one says nothing about the file that is used.
    """
    if file.md5 is not None:
        return md5(content.data) == file.md5
    start = len(file.header)
    if content[:start].tobytes() != file.header or (len(file.shape) == 1 and content[start:].max() >= CLASSES):
        return False
    try:
        packed = read_file(archive, packed_limit(file.size))
    except OSError:
        return True
    return md5(packed) != file.archive_md5 or zlib.crc32(content.data) == int.from_bytes(packed[-8:-4], "little")
