"""CIFAR's archives: downloaded from a server on this machine, checked, and never half used."""

import dataclasses
import gc
import io
import tarfile
import warnings

import numpy as np
import pytest
import torch

from bnexp.data import download
from bnexp.data.cifar import CIFAR10, CIFAR100, load_cifar
from bnexp.data.download import md5
from bnexp.errors import BnexpError, ConfigError

RECORDS = 6


def records(seed, label_bytes, classes):
    """Return classes (N,), pixels (N, 3, 32, 32), and both in the format as its authors describe it."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (RECORDS, 3, 32, 32)).astype(np.uint8)
    labels = random.integers(0, classes, RECORDS).astype(np.uint8)
    coarse = [[7]] * RECORDS if label_bytes == 2 else [[]] * RECORDS
    rows = (
        bytes([*first, label]) + image.tobytes() for first, label, image in zip(coarse, labels, pixels, strict=True)
    )
    return labels, pixels, b"".join(rows)


def packed(members):
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as archive:
        for name, content in {"readme.html": b"hello", **members}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return memory.getvalue()


class Small:
    """A small set in the format of a published one."""

    def __init__(self, published, classes):
        names = [*published.train, published.test]
        parts = [records(number, published.label_bytes, classes) for number in range(len(names))]
        self.labels = [labels for labels, _, _ in parts]
        self.pixels = [pixels for _, pixels, _ in parts]
        self.archive = packed({name: content for name, (_, _, content) in zip(names, parts, strict=True)})
        self.published = dataclasses.replace(published, md5=md5(self.archive))

    def load(self, data_dir, download=True):
        return load_cifar(self.published, "cifar10", data_dir, download)

    def check(self, images):
        assert images.train.images.dtype == torch.uint8
        assert images.train.labels.dtype == torch.int64
        np.testing.assert_array_equal(images.train.images, np.concatenate(self.pixels[:-1]))
        np.testing.assert_array_equal(images.train.labels, np.concatenate(self.labels[:-1]))
        np.testing.assert_array_equal(images.test.images, self.pixels[-1])
        np.testing.assert_array_equal(images.test.labels, self.labels[-1])


@pytest.fixture(params=[(CIFAR10, 10), (CIFAR100, 100)], ids=["cifar10", "cifar100"])
def small(request, file_server):
    made = Small(*request.param)
    made.server = file_server
    made.published = dataclasses.replace(made.published, url=file_server.url + made.published.archive)
    file_server.files[made.published.archive] = made.archive
    return made


def test_a_missing_archive_is_downloaded_and_the_next_load_downloads_nothing(small, tmp_path):
    data_dir = tmp_path / "made" / "on the way"
    small.check(small.load(data_dir))
    assert [path.name for path in data_dir.iterdir()] == [small.published.archive]
    small.server.asked.clear()
    small.check(small.load(data_dir))
    assert small.server.asked == []


def assert_refused(small, data_dir, reason, **options):
    with pytest.raises(ConfigError) as found:
        small.load(data_dir, **options)
    message = str(found.value)
    for words in (reason, "dataset cifar10: not found", str(data_dir), "BNEXP_DATA", small.published.url):
        assert words in message
    assert "mnist5k" not in message  # digits are another task, and too small for some networks
    assert list(data_dir.iterdir()) == []


def test_without_permission_to_download_it_is_refused(small, tmp_path):
    assert_refused(small, tmp_path, "downloading is off (data.download: false)", download=False)
    assert small.server.asked == []


def test_a_wrong_checksum_is_refused(small, tmp_path):
    small.server.files[small.published.archive] = packed({})
    assert_refused(small, tmp_path, "corrupted")


def test_a_server_without_the_archive_is_refused(small, tmp_path):
    small.server.files.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # torchvision keeps the refused connection in its error
        assert_refused(small, tmp_path, "HTTP Error 404")
        gc.collect()


def test_a_download_cut_off_leaves_nothing_half_and_the_next_one_works(small, tmp_path):
    small.server.cut.add(small.published.archive)
    assert_refused(small, tmp_path, "it cannot be downloaded")
    small.server.cut.clear()
    small.check(small.load(tmp_path))


def test_an_interruption_leaves_nothing_half(small, tmp_path, monkeypatch):
    from torchvision.datasets import utils

    def interrupted(url, filename, *arguments):
        (tmp_path / filename).write_bytes(small.archive[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(utils, "_urlretrieve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small.load(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_stays_silent_is_refused(small, tmp_path, monkeypatch):
    import socket

    monkeypatch.setattr(download, "TIMEOUT_SECS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        small.published = dataclasses.replace(small.published, url=url)
        assert_refused(small, tmp_path, "timed out")


@pytest.mark.parametrize("change", ["truncated", "flipped", "another archive"])
def test_an_archive_that_is_not_the_published_one_is_named(small, tmp_path, change):
    flipped = bytearray(small.archive)
    flipped[len(flipped) // 2] ^= 1
    content = {"truncated": small.archive[:-9], "flipped": bytes(flipped), "another archive": packed({})}[change]
    path = tmp_path / small.published.archive
    path.write_bytes(content)
    with pytest.raises(BnexpError, match=f"{path}: truncated or corrupt: {len(content):,} bytes.*delete it"):
        small.load(tmp_path)


def test_nothing_is_ever_unpickled(small, tmp_path, monkeypatch):
    import pickle

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, lambda *arguments, **options: pytest.fail("unpickled"))
    small.check(small.load(tmp_path))
