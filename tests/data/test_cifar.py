"""CIFAR's archives: downloaded from a server on this machine, checked, and never half used."""

import dataclasses
import gzip
import io
import tarfile

import numpy as np
import pytest
import torch

from bnexp.data import cifar, download
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
    assert_refused(small, tmp_path, "HTTP Error 404")


def test_a_download_cut_off_leaves_nothing_half_and_the_next_one_works(small, tmp_path):
    small.server.cut.add(small.published.archive)
    assert_refused(small, tmp_path, "it cannot be downloaded")
    small.server.cut.clear()
    small.check(small.load(tmp_path))


def test_an_interruption_leaves_nothing_half(small, tmp_path, monkeypatch):
    def interrupted(url, path, *arguments):
        path.write_bytes(small.archive[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(cifar, "retrieve", interrupted)
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


# Archives with the right checksum that hold what the published ones do not


def entry(name, content=b"", kind=tarfile.REGTYPE, **more):
    """Return a member and its content; further attributes are those of tarfile.TarInfo."""
    made = tarfile.TarInfo(name)
    made.type, made.size = kind, len(content)
    for key, value in more.items():
        setattr(made, key, value)
    return made, content


def crafted(small, *entries, without=None):
    """Return the archive of a set with more members in front, and one left out."""
    memory = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(small.archive)) as before,
        tarfile.open(fileobj=memory, mode="w:gz") as archive,
    ):
        for made, content in entries:
            archive.addfile(made, io.BytesIO(content))
        for made in before:
            if made.name != without:
                archive.addfile(made, before.extractfile(made))
    return memory.getvalue()


def load_crafted(small, content, tmp_path):
    small.published = dataclasses.replace(small.published, md5=md5(content))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / small.published.archive).write_bytes(content)
    return small.load(tmp_path / "data", download=False)


def test_members_that_nobody_wants_are_passed_over_and_nothing_is_written(small, tmp_path):
    others = [
        entry("../outside", b"x"),
        entry("/tmp/absolute", b"x"),
        entry(f"./{small.published.test}/../../outside", b"x"),
        entry("link", kind=tarfile.SYMTYPE, linkname="/etc/passwd"),
        entry("hard", kind=tarfile.LNKTYPE, linkname="../../etc/passwd"),
        entry("device", kind=tarfile.CHRTYPE, devmajor=1, devminor=5),
        entry("pipe", kind=tarfile.FIFOTYPE),
    ]
    small.check(load_crafted(small, crafted(small, *others), tmp_path))
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(["data", small.published.archive])


KINDS = {
    "a link": {"kind": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
    "a hard link": {"kind": tarfile.LNKTYPE, "linkname": "/etc/passwd"},
    "a device": {"kind": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5},
    "a pipe": {"kind": tarfile.FIFOTYPE},
    "a folder": {"kind": tarfile.DIRTYPE},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_wanted_name_on_what_is_no_plain_file_is_refused(small, tmp_path, kind):
    content = crafted(small, entry(small.published.test, **KINDS[kind]), without=small.published.test)
    with pytest.raises(BnexpError, match="is no plain file"):
        load_crafted(small, content, tmp_path)


def test_a_member_larger_than_it_can_be_is_refused(small, tmp_path):
    small.published = dataclasses.replace(small.published, records=RECORDS)
    content = crafted(small, entry(small.published.test, bytes(small.published.member_limit + 1)))
    with pytest.raises(BnexpError, match=r"is no plain file of at most [\d,]+ bytes"):
        load_crafted(small, content, tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda small: crafted(small, entry(small.published.test, b"x" * 4)), "there once"),
        (lambda small: crafted(small, without=small.published.test), "is missing"),
        (lambda small: crafted(small, entry(small.published.test, b"x"), without=small.published.test), "record"),
        (lambda small: b"no archive", "[Nn]ot a gzip"),
        (lambda small: gzip.compress(b"no archive"), "truncated header|not the published"),
        (lambda small: small.archive[:-100], "not the published archive"),
    ],
    ids=["twice", "missing", "no whole record", "not packed", "no tar", "truncated"],
)
def test_an_archive_that_cannot_be_read_is_named(small, tmp_path, change, reason):
    with pytest.raises(BnexpError, match=reason) as found:
        load_crafted(small, change(small), tmp_path)
    assert small.published.archive in str(found.value)


def test_an_archive_that_unpacks_to_more_than_is_known_stops_there(small, tmp_path, memory_below):
    small.published = dataclasses.replace(small.published, records=RECORDS)
    content = crafted(small, entry("bomb", bytes(2**25)))
    with memory_below(2**23), pytest.raises(BnexpError, match=r"holds more than the [\d,]+ bytes that are known"):
        load_crafted(small, content, tmp_path)


def test_a_hole_in_the_place_of_an_archive_is_not_read(small, tmp_path):
    with (tmp_path / small.published.archive).open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(BnexpError, match="cannot be read: 1,099,511,627,776 bytes, expected at most"):
        small.load(tmp_path)


@pytest.mark.parametrize("published", [CIFAR10, CIFAR100], ids=["cifar10", "cifar100"])
def test_the_published_archives_are_within_their_limits(published):
    # What their authors say: 50,000 + 10,000 images, and archives of 162 and 161 MB.
    assert published.member_limit >= 10_000 * (published.label_bytes + 3072)
    assert len(published.train) * published.records == 50_000
    assert cifar.MAX_ARCHIVE_BYTES > 162 * 2**20
