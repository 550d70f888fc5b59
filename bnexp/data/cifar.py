"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), from the published archive of the binary version.

torchvision's datasets read the Python version, which is pickled: reading it runs what the file says, and since NumPy
2.4 warns at every array. The binary version holds the same images as plain bytes. torchvision downloads it; it is
kept as the one file that it is, its checksum is compared at every load, and nothing is unpacked onto the disk.
"""

import io
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bnexp.config.datasets import DatasetName
from bnexp.data.download import FETCHED_AGAIN, Wanted, fetching, md5
from bnexp.data.images import ImageSet, Part
from bnexp.data.torchvision_import import torchvision_utils
from bnexp.errors import BnexpError

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class CifarSet:
    """A published archive.

    Attributes:
        url: where it comes from.
        archive: its name on the disk.
        md5: of the archive, as its authors publish it.
        train: its members to train on, in order.
        test: its member for the test.
        label_bytes: bytes before the pixels of each record; the last of them is the class.
    """

    url: str
    archive: str
    md5: str
    train: tuple[str, ...]
    test: str
    label_bytes: int


CIFAR10 = CifarSet(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    archive="cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
    train=tuple(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)),
    test="cifar-10-batches-bin/test_batch.bin",
    label_bytes=1,
)
CIFAR100 = CifarSet(
    url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    archive="cifar-100-binary.tar.gz",
    md5="03b5dce01913d631647c71ecec9e9cb8",
    train=("cifar-100-binary/train.bin",),
    test="cifar-100-binary/test.bin",
    label_bytes=2,  # the coarse class, then the fine one
)


def load_cifar(cifar: CifarSet, dataset: DatasetName, data_dir: Path, download: bool) -> ImageSet:
    """Return the dataset, downloading it when it is missing and that is allowed.

    Args:
        cifar: which archive.
        dataset: its name in the config, for messages.
        data_dir: folder in which the archive lies.
        download: fetch it when it is missing.

    Raises:
        ConfigError: missing and not to be had.
        BnexpError: the archive is truncated or corrupt.
    """
    path = data_dir / cifar.archive
    if not os.path.isfile(path):
        wanted = Wanted(dataset, data_dir, [cifar.archive], f"from {cifar.url}")
        if not download:
            raise wanted.refused("downloading is off (data.download: false)")
        utils = torchvision_utils()
        with fetching(wanted, data_dir) as aside:
            utils.download_url(cifar.url, aside, cifar.archive, cifar.md5)
            (aside / cifar.archive).replace(path)
    members = _members(path, cifar)
    train = [_part(members[name], cifar.label_bytes) for name in cifar.train]
    whole = Part(torch.cat([part.images for part in train]), torch.cat([part.labels for part in train]))
    return ImageSet(whole, _part(members[cifar.test], cifar.label_bytes))


def _members(path: Path, cifar: CifarSet) -> dict[str, bytes]:
    """Return the members of the archive, read from the very bytes whose checksum was found right."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BnexpError(f"{path}: cannot be read: {error.strerror}") from None
    if md5(content) != cifar.md5:
        found = f"{len(content):,} bytes whose checksum is not that of the published archive"
        raise BnexpError(f"{path}: truncated or corrupt: {found}; {FETCHED_AGAIN}")
    wanted = {*cifar.train, cifar.test}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        return {
            member.name: file.read()
            for member in archive
            if member.name in wanted and (file := archive.extractfile(member)) is not None
        }


def _part(member: bytes, label_bytes: int) -> Part:
    records = torch.from_numpy(np.frombuffer(member, dtype=np.uint8).reshape(-1, label_bytes + PIXELS).copy())
    return Part(records[:, label_bytes:].reshape(-1, *SHAPE), records[:, label_bytes - 1].long())
