"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), from the published archive of the binary version.

torchvision's datasets read the Python version, which is pickled: reading it runs what the file says, and since NumPy
2.4 warns at every array. The binary version holds the same images as plain bytes. It is kept as the one file that it
is, its checksum is compared at every load, and nothing is unpacked onto the disk: only plain members of the known
names are read, each up to its known size.
"""

import io
import os
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bnexp.config.data_section import DatasetName
from bnexp.data.download import FETCHED_AGAIN, Wanted, fetching, gunzip, md5, retrieve
from bnexp.data.parts import ImageSet, Part
from bnexp.errors import BnexpError
from bnexp.files import read_file

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
MAX_ARCHIVE_BYTES = 2**28
"""Bytes that an archive may have; the published ones have 170 million."""


@dataclass(frozen=True)
class CifarSet:
    """A published archive, with the MD5 that its authors publish.

    Attributes:
        train: its members to train on, in order; `test` is its member for the test.
        label_bytes: bytes before the pixels of each record; the last of them is the class.
        records: images of the largest member.
    """

    url: str
    archive: str
    md5: str
    train: tuple[str, ...]
    test: str
    label_bytes: int
    records: int

    @property
    def member_limit(self) -> int:
        """Bytes of the largest member."""
        return self.records * (self.label_bytes + PIXELS)


CIFAR10 = CifarSet(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    archive="cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
    train=tuple(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)),
    test="cifar-10-batches-bin/test_batch.bin",
    label_bytes=1,
    records=10_000,
)
CIFAR100 = CifarSet(
    url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    archive="cifar-100-binary.tar.gz",
    md5="03b5dce01913d631647c71ecec9e9cb8",
    train=("cifar-100-binary/train.bin",),
    test="cifar-100-binary/test.bin",
    label_bytes=2,  # the coarse class, then the fine one
    records=50_000,
)


def load_cifar(cifar: CifarSet, dataset: DatasetName, data_dir: Path, download: bool) -> ImageSet:
    """Return the dataset, whose archive lies in `data_dir`; `download` fetches it when it is missing.

    Raises:
        ConfigError: missing and not to be had.
        BnexpError: the archive is truncated or corrupt.
    """
    path = data_dir / cifar.archive
    if not os.path.isfile(path):
        wanted = Wanted(dataset, data_dir, [cifar.archive], f"from {cifar.url}")
        if not download:
            raise wanted.refused("downloading is off (data.download: false)")
        with fetching(wanted, data_dir) as aside:
            retrieve(cifar.url, aside / cifar.archive, cifar.md5, MAX_ARCHIVE_BYTES)
            (aside / cifar.archive).replace(path)
    try:
        members = _members(_intact(path, cifar), cifar)
        train = [_part(members[name], cifar.label_bytes) for name in cifar.train]
        test = _part(members[cifar.test], cifar.label_bytes)
    except (ValueError, OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise BnexpError(f"{path}: not the published archive: {error}; {FETCHED_AGAIN}") from None
    return ImageSet(Part(torch.cat([part.images for part in train]), torch.cat([part.labels for part in train])), test)


def _intact(path: Path, cifar: CifarSet) -> bytes:
    """Return the bytes of the archive whose checksum was found right."""
    try:
        content = read_file(path, MAX_ARCHIVE_BYTES)
    except OSError as error:
        raise BnexpError(f"{path}: cannot be read: {error.strerror}") from None
    if md5(content) != cifar.md5:
        found = f"{len(content):,} bytes whose checksum is not that of the published archive"
        raise BnexpError(f"{path}: truncated or corrupt: {found}; {FETCHED_AGAIN}")
    return content


def _members(content: bytes, cifar: CifarSet) -> dict[str, bytes]:
    """Return the wanted members of an archive, each a plain file that is there once and no larger than it can be."""
    wanted, members = {*cifar.train, cifar.test}, {}
    unpacked = gunzip(content, len(wanted) * cifar.member_limit + 2**20)  # the rest is a readme and names of classes
    with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
        for member in archive:
            if member.name not in wanted:
                continue
            if not member.isreg() or member.size > cifar.member_limit or member.name in members:
                raise ValueError(f"{member.name} is no plain file of at most {cifar.member_limit:,} bytes, there once")
            file = archive.extractfile(member)
            members[member.name] = file.read() if file is not None else b""
    if missing := sorted(wanted - set(members)):
        raise ValueError(f"{missing[0]} is missing")
    return members


def _part(member: bytes, label_bytes: int) -> Part:
    if len(member) % (label_bytes + PIXELS):
        raise ValueError(f"{len(member):,} bytes in a member, expected whole records of {label_bytes + PIXELS:,}")
    records = torch.from_numpy(np.frombuffer(member, dtype=np.uint8).reshape(-1, label_bytes + PIXELS).copy())
    return Part(records[:, label_bytes:].reshape(-1, *SHAPE), records[:, label_bytes - 1].long())
