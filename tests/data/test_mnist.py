"""MNIST's file format: downloaded from a server on this machine, checked, and never half used.

The sets are small: their sizes follow from the declared number of examples.
"""

import errno
import gzip
import hashlib
import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from bnexp.config.data_section import DATASETS as DATASETS_INFO
from bnexp.data import download, mnist
from bnexp.data.mnist import FASHION_MNIST, KMNIST, MNIST, IdxFile, IdxSet, load_idx_set
from bnexp.data.torchvision_import import torchvision_datasets
from bnexp.errors import BnexpError, ConfigError

TRAIN, TEST = 30, 20
IMAGES, LABELS, TEST_IMAGES, TEST_LABELS = (file.name for file in MNIST.files)
OFFLINE = "--set data.dataset=mnist5k"


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def make_pixels(examples):
    return np.random.default_rng(examples).integers(0, 256, (examples, 28, 28)).astype(np.uint8)


def idx_bytes(array):
    """Write an array in the format as its authors describe it: magic number, extents as big-endian int32, bytes."""
    return np.array([0x800 + array.ndim, *array.shape], dtype=">i4").tobytes() + array.astype(np.uint8).tobytes()


CONTENTS = {
    IMAGES: idx_bytes(make_pixels(TRAIN)),
    LABELS: idx_bytes(np.arange(TRAIN) % 10),
    TEST_IMAGES: idx_bytes(make_pixels(TEST)),
    TEST_LABELS: idx_bytes(np.arange(TEST) % 10),
}
ARCHIVES = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in CONTENTS.items()}


def small_set(torchvision_class, checked_by):
    """Return the small set: with the checksums of the files, as MNIST, or of their archives, as Fashion-MNIST."""
    contents = CONTENTS if checked_by == "md5" else {name: ARCHIVES[f"{name}.gz"] for name in CONTENTS}
    files = (
        IdxFile(name, TRAIN if "train" in name else TEST, **{checked_by: md5(content)})
        for name, content in contents.items()
    )
    return IdxSet(torchvision_class, tuple(files), published_as="small-set")


SMALL = {
    "mnist": small_set("MNIST", "md5"),
    "fashion_mnist": small_set("FashionMNIST", "archive_md5"),
    "kmnist": small_set("KMNIST", "archive_md5"),
}
DATASETS = pytest.mark.parametrize("dataset", SMALL)


@pytest.fixture
def server(file_server, monkeypatch):
    """Let torchvision download from a server on this machine."""
    file_server.files.update(ARCHIVES)
    datasets = torchvision_datasets()
    resources = [(name, md5(content)) for name, content in ARCHIVES.items()]
    for torchvision_class in (datasets.MNIST, datasets.FashionMNIST, datasets.KMNIST):
        monkeypatch.setattr(torchvision_class, "mirrors", [file_server.url])
        monkeypatch.setattr(torchvision_class, "resources", resources)
    return file_server


def raw_folder(data_dir: Path, dataset) -> Path:
    return data_dir / SMALL[dataset].torchvision_class / "raw"


@pytest.fixture
def put(tmp_path):
    """Return a function that lays the files of the small set in place, and gives their folder."""

    def lay(dataset, archives=False):
        raw = raw_folder(tmp_path, dataset)
        raw.mkdir(parents=True)
        for name, content in {**CONTENTS, **(ARCHIVES if archives else {})}.items():
            (raw / name).write_bytes(content)
        return raw

    return lay


def load(dataset, data_dir, download=True):
    return load_idx_set(SMALL[dataset], dataset, data_dir, download)


def assert_is_the_small_set(images):
    for part, examples in ((images.train, TRAIN), (images.test, TEST)):
        assert (part.images.dtype, part.labels.dtype) == (torch.uint8, torch.int64)
        assert part.images.shape == (examples, 1, 28, 28)
        assert np.array_equal(part.images[:, 0].numpy(), make_pixels(examples))
        assert part.labels.tolist() == [number % 10 for number in range(examples)]


def files_below(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# Found in place


@DATASETS
@pytest.mark.parametrize("archives", [False, True])
def test_files_in_place_are_read_without_a_download(put, tmp_path, monkeypatch, dataset, archives):
    put(dataset, archives)
    monkeypatch.setattr(mnist, "torchvision_datasets", lambda: pytest.fail("torchvision is only for the download"))
    assert_is_the_small_set(load(dataset, tmp_path))


def test_the_names_that_kaggle_gives_the_files_are_known(put, tmp_path):
    raw = put("mnist")
    for name in CONTENTS:
        (raw / name).rename(raw / name.replace("-idx", ".idx"))
        (raw / name).mkdir()
    assert_is_the_small_set(load("mnist", tmp_path, download=False))


def test_a_set_of_ones_own_in_the_same_format_is_not_to_be_deleted(put, tmp_path):
    path = put("mnist") / "train-labels-idx1-ubyte"
    path.write_bytes(bytes((0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3)))
    with pytest.raises(BnexpError, match=r"a set of 3 examples, .* data\.dataset: npz"):
        load("mnist", tmp_path)


def test_torchvision_reads_the_same(put, tmp_path):
    put("mnist")
    ours = load("mnist", tmp_path)
    for part, train in ((ours.train, True), (ours.test, False)):
        theirs = torchvision_datasets().MNIST(root=tmp_path, train=train)
        assert torch.equal(part.images[:, 0], theirs.data)
        assert torch.equal(part.labels, theirs.targets)


def test_the_unchecked_files_of_an_old_torchvision_are_not_used(put, tmp_path):
    processed = put("mnist").parent / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(3, 28, 28, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)), processed / name)
    assert_is_the_small_set(load("mnist", tmp_path))


@DATASETS
@pytest.mark.parametrize("name", CONTENTS)
def test_a_truncated_file_is_named_with_both_sizes(put, tmp_path, dataset, name):
    path = put(dataset) / name
    path.write_bytes(CONTENTS[name][:-7])
    size = len(CONTENTS[name])
    with pytest.raises(
        BnexpError, match=f"{name}: {size - 7:,} bytes, expected {size:,}: truncated.*delete it"
    ) as found:
        load(dataset, tmp_path)
    assert str(path) in str(found.value)


@DATASETS
@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("position", [0, 3, 7, -1])
def test_one_flipped_byte_is_named(put, tmp_path, dataset, name, position):
    path = put(dataset, archives=True) / name
    content = bytearray(CONTENTS[name])
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(BnexpError, match=f"{name}: corrupt.*delete it"):
        load(dataset, tmp_path)


@pytest.mark.parametrize(("name", "position"), [(IMAGES, 11), (IMAGES, 15), (TEST_LABELS, 2)])
def test_a_wrong_header_is_named_where_no_checksum_is_known(put, tmp_path, name, position):
    path = put("fashion_mnist") / name
    content = bytearray(CONTENTS[name])
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(BnexpError, match=f"{name}: corrupt"):
        load("fashion_mnist", tmp_path)


def test_a_label_that_no_class_has_is_named_where_no_checksum_is_known(put, tmp_path):
    path = put("fashion_mnist") / LABELS
    path.write_bytes(CONTENTS[LABELS][:-1] + bytes([10]))
    with pytest.raises(BnexpError, match=f"{LABELS}: corrupt"):
        load("fashion_mnist", tmp_path)


@pytest.mark.parametrize(
    "archive",
    [b"", b"short", ARCHIVES[f"{IMAGES}.gz"][:500], gzip.compress(b"something else")],
    ids=["empty", "short", "truncated", "of something else"],
)
def test_an_archive_that_is_not_the_published_one_says_nothing(put, tmp_path, archive):
    (put("fashion_mnist", archives=True) / f"{IMAGES}.gz").write_bytes(archive)
    assert_is_the_small_set(load("fashion_mnist", tmp_path))


def test_a_file_that_cannot_be_read_is_named(put, tmp_path, monkeypatch):
    path = put("mnist") / LABELS
    read = np.fromfile

    def refuse(chosen, **options):
        if chosen == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(chosen))
        return read(chosen, **options)

    monkeypatch.setattr(np, "fromfile", refuse)
    with pytest.raises(BnexpError, match=f"{LABELS}: cannot be read: Permission denied"):
        load("mnist", tmp_path)


# Shipped by others

PLACES = pytest.mark.parametrize("place", ["{class_}/raw", "{class_}", "small-set", ""])


@DATASETS
@PLACES
@pytest.mark.parametrize("packed_anew", [False, True])
def test_archives_beside_each_other_are_read_where_they_lie(tmp_path, monkeypatch, dataset, place, packed_anew):
    monkeypatch.setattr(mnist, "torchvision_datasets", lambda: pytest.fail("torchvision is only for the download"))
    folder = tmp_path / place.format(class_=SMALL[dataset].torchvision_class)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENTS.items():
        packed = gzip.compress(content, compresslevel=1, mtime=7) if packed_anew else ARCHIVES[f"{name}.gz"]
        (folder / f"{name}.gz").write_bytes(packed)
    assert_is_the_small_set(load(dataset, tmp_path))
    assert files_below(tmp_path) == sorted(ARCHIVES)


@DATASETS
@pytest.mark.parametrize("position", [30, -30, -6])
def test_a_damaged_archive_is_named(tmp_path, dataset, position):
    for name, packed in ARCHIVES.items():
        (tmp_path / name).write_bytes(packed)
    damaged = bytearray(ARCHIVES[f"{IMAGES}.gz"])
    damaged[position] ^= 1
    (tmp_path / f"{IMAGES}.gz").write_bytes(damaged)
    with pytest.raises(BnexpError, match=rf"{IMAGES}.gz: "):
        load(dataset, tmp_path)


def test_an_archive_of_too_little_or_too_much_is_named(tmp_path):
    for name, packed in ARCHIVES.items():
        (tmp_path / name).write_bytes(packed)
    (tmp_path / f"{LABELS}.gz").write_bytes(gzip.compress(CONTENTS[LABELS][:-1]))
    size = len(CONTENTS[LABELS])
    with pytest.raises(BnexpError, match=rf"{LABELS}.gz: {size - 1} bytes, expected {size}"):
        load("mnist", tmp_path)
    (tmp_path / f"{LABELS}.gz").write_bytes(gzip.compress(CONTENTS[LABELS] + b"0"))
    with pytest.raises(BnexpError, match=rf"{LABELS}.gz: cannot be read: holds more"):
        load("mnist", tmp_path)


@pytest.mark.parametrize("asked", ["mnist", "kmnist"])
def test_the_files_of_another_set_are_called_by_its_name(put, tmp_path, monkeypatch, asked):
    files = SMALL["mnist"].files
    other = IdxSet("Other", files, "other")
    monkeypatch.setattr(mnist, "IDX_SETS", (other,))
    put(asked)
    wanted = IdxSet("MNIST", tuple(IdxFile(f.name, f.examples, md5=md5(b"")) for f in files), "mnist")
    monkeypatch.setitem(SMALL, "mnist", wanted)
    with pytest.raises(BnexpError, match="this is a file of Other; move its files into a folder other/"):
        load(asked, tmp_path)


# Downloaded


@DATASETS
def test_a_missing_set_is_downloaded_and_checked_and_the_next_load_downloads_nothing(server, tmp_path, dataset):
    data_dir = tmp_path / "made" / "on the way"
    assert_is_the_small_set(load(dataset, data_dir))
    assert files_below(data_dir) == sorted([*CONTENTS, *ARCHIVES])
    assert {path.name for path in data_dir.iterdir()} == {SMALL[dataset].torchvision_class}
    server.asked.clear()
    assert_is_the_small_set(load(dataset, data_dir))
    assert server.asked == []


def test_one_missing_file_is_fetched(server, put, tmp_path):
    (put("mnist") / TEST_LABELS).unlink()
    assert_is_the_small_set(load("mnist", tmp_path))


@pytest.mark.parametrize("dataset", ["fashion_mnist"])
def test_after_a_download_a_file_changed_in_the_middle_is_named(server, tmp_path, dataset):
    load(dataset, tmp_path)
    path = raw_folder(tmp_path, dataset) / IMAGES
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BnexpError, match=f"{IMAGES}: corrupt"):
        load(dataset, tmp_path)


def assert_refused(dataset, data_dir, reason, **options):
    """Check that the set is refused with a message that helps, and that nothing half lies in the folder."""
    with pytest.raises(ConfigError) as found:
        load(dataset, data_dir, **options)
    message = str(found.value)
    assert reason in message
    assert f"dataset {dataset}: not found" in message
    assert str(raw_folder(data_dir, dataset)) in message
    assert "--data-dir" in message
    assert "BNEXP_DATA" in message
    assert ", ".join(CONTENTS) in message
    assert message.endswith(OFFLINE)
    assert files_below(data_dir) == []


@DATASETS
def test_without_permission_to_download_a_missing_set_is_refused(server, tmp_path, dataset):
    assert_refused(dataset, tmp_path, "downloading is off (data.download: false)", download=False)
    assert server.asked == []


@DATASETS
def test_a_wrong_checksum_is_refused(server, tmp_path, dataset):
    server.files[f"{LABELS}.gz"] = gzip.compress(b"not the labels")
    assert_refused(dataset, tmp_path, "corrupted")


def test_a_server_without_the_file_is_refused(server, tmp_path):
    del server.files[f"{TEST_IMAGES}.gz"]
    assert_refused("mnist", tmp_path, "HTTP Error 404")


def test_a_server_that_is_not_there_is_refused(server, tmp_path, monkeypatch):
    with socket.socket() as unheard:  # bound, so that nobody else gets the port, and not listening
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}/"
        monkeypatch.setattr(torchvision_datasets().MNIST, "mirrors", [url])
        assert_refused("mnist", tmp_path, "Connection refused")


def test_a_server_that_stays_silent_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_SECS", 0.2)
    before = socket.getdefaulttimeout()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setattr(torchvision_datasets().MNIST, "mirrors", [url])
        assert_refused("mnist", tmp_path, "timed out")
    assert socket.getdefaulttimeout() == before


@DATASETS
def test_a_download_cut_off_leaves_nothing_half_and_the_next_one_works(server, tmp_path, dataset):
    server.cut.add(f"{TEST_IMAGES}.gz")
    assert_refused(dataset, tmp_path, "it cannot be downloaded")
    server.cut.clear()
    assert_is_the_small_set(load(dataset, tmp_path))


def test_an_interruption_leaves_nothing_half_and_the_next_run_works(server, tmp_path, monkeypatch):
    def interrupted(url, path, *arguments):
        if url.endswith(f"{TEST_IMAGES}.gz"):
            path.write_bytes(ARCHIVES[f"{TEST_IMAGES}.gz"][:100])
            raise KeyboardInterrupt
        download.retrieve(url, path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(mnist, "retrieve", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load("mnist", tmp_path)
    assert files_below(tmp_path) == []
    assert_is_the_small_set(load("mnist", tmp_path))


def test_an_interruption_while_files_are_moved_leaves_only_whole_ones(server, tmp_path, monkeypatch):
    replace, moved = Path.replace, []

    def interrupted(self, target):
        if len(moved) == 3:
            raise KeyboardInterrupt
        moved.append(self.name)
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load("mnist", tmp_path)
    assert files_below(tmp_path) == sorted(moved)
    for name in moved:
        assert (raw_folder(tmp_path, "mnist") / name).read_bytes() == {**CONTENTS, **ARCHIVES}[name]
    assert_is_the_small_set(load("mnist", tmp_path))


def test_a_full_disk_is_a_reason_given(server, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mnist, "retrieve", full)
    assert_refused("mnist", tmp_path, "No space left on device")


def test_a_folder_that_cannot_be_made_is_refused(server, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(ConfigError, match=r"(?s)it cannot be downloaded: .*Not a directory.*put there"):
        load("mnist", blocked / "data")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_is_read_only_is_refused(server, tmp_path):
    tmp_path.chmod(0o500)
    try:
        assert_refused("mnist", tmp_path, "it cannot be put there: Permission denied")
    finally:
        tmp_path.chmod(0o700)


def test_a_second_place_is_asked_where_the_first_has_nothing(server, tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision_datasets().MNIST, "mirrors", [server.url + "gone/", server.url])
    assert_is_the_small_set(load("mnist", tmp_path))


def test_an_archive_that_unpacks_to_more_than_is_known_is_refused_in_little_memory(
    server, tmp_path, monkeypatch, memory_below
):
    bomb = gzip.compress(bytes(2**26))
    server.files[f"{IMAGES}.gz"] = bomb
    resources = [(name, md5(server.files[name])) for name in ARCHIVES]
    monkeypatch.setattr(torchvision_datasets().MNIST, "resources", resources)
    monkeypatch.setattr(mnist, "packed_limit", lambda size: 2**20)  # so that it is not refused for its own size
    with memory_below(2**24):
        assert_refused("mnist", tmp_path, f"holds more than the {len(CONTENTS[IMAGES]):,} bytes that are known")


def test_a_hole_of_a_terabyte_is_not_read(put, tmp_path):
    raw = put("fashion_mnist")
    for name in (f"{IMAGES}.gz", LABELS):
        with (raw / name).open("wb") as file:
            file.truncate(2**40)
    with pytest.raises(BnexpError, match=f"{LABELS}: 1,099,511,627,776 bytes, expected"):
        load("fashion_mnist", tmp_path)
    (raw / LABELS).write_bytes(CONTENTS[LABELS])
    assert_is_the_small_set(load("fashion_mnist", tmp_path))


# The published sets


def test_the_archives_are_those_that_torchvision_checks():
    published = dict(torchvision_datasets().KMNIST.resources)
    assert {f"{file.name}.gz": file.archive_md5 for file in KMNIST.files} == published


def test_the_real_fashion_mnist_loads_where_debian_has_put_it():
    folder = Path("/usr/share/datasets")
    if not (folder / "fashion-mnist").is_dir():
        pytest.skip("needs Debian's package dataset-fashion-mnist")
    images = load_idx_set(FASHION_MNIST, "fashion_mnist", folder, download=False)
    # As its authors publish it: 6,000 and 1,000 of each class; the pixels have mean 0.2860 and std 0.3530.
    assert torch.bincount(images.train.labels).tolist() == [6_000] * 10
    assert torch.bincount(images.test.labels).tolist() == [1_000] * 10
    pixels = images.train.images.double() / 255
    assert pixels.mean().item() == pytest.approx(0.2860, abs=5e-5)
    assert pixels.std().item() == pytest.approx(0.3530, abs=5e-5)


@pytest.mark.parametrize("idx_set", [MNIST, FASHION_MNIST, KMNIST], ids=["mnist", "fashion_mnist", "kmnist"])
def test_the_sizes_are_the_published_ones(idx_set):
    # Headers of 16 and 8 bytes, then one byte a pixel or a label.
    assert [file.size for file in idx_set.files] == [47_040_016, 60_008, 7_840_016, 10_008]


def test_the_real_mnist_loads_where_it_is_at_hand():
    folder = os.environ.get("BNEXP_DATA")
    if not folder or not (Path(folder) / "MNIST" / "raw").is_dir():
        pytest.skip("needs MNIST in the folder that the variable BNEXP_DATA names")
    images = load_idx_set(MNIST, "mnist", Path(folder), download=False)
    assert images.train.images.shape == (60_000, 1, 28, 28)
    assert images.test.images.shape == (10_000, 1, 28, 28)
    # As its authors publish it: the first training digits are 5, 0, 4, 1, 9; the pixels have mean 0.1307, std 0.3081.
    assert images.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert tuple(torch.bincount(images.train.labels).tolist()) == DATASETS_INFO["mnist"].class_counts
    pixels = images.train.images.double() / 255
    assert pixels.mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert pixels.std().item() == pytest.approx(0.3081, abs=5e-5)
