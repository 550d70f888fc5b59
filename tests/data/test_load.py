"""From the config to the parts: what is fitted on what, and what the run may not change."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bnexp.config.data_section import DEFAULT_WHITEN_EPS, PREPROCESSINGS, SyntheticData, data_config
from bnexp.config.plan import make_plan
from bnexp.data import load
from bnexp.data.cifar import CIFAR10, CIFAR100
from bnexp.data.generated import make_synthetic
from bnexp.data.load import load_dataset
from bnexp.data.mnist import FASHION_MNIST, KMNIST, MNIST
from bnexp.data.parts import ImageSet, Part
from bnexp.data.preprocess import PREPROCESSES
from bnexp.data.sources.facts import dataset_info
from bnexp.errors import BnexpError

CPU = torch.device("cpu")
SYNTHETIC = {"dataset": "synthetic", "synthetic": {"classes": 4, "shape": [3, 4, 5], "size": 200}}


@pytest.fixture
def load_with(make_config, tmp_path):
    """Return a loader of the synthetic set, or another, by options of the data section."""

    def load_by(seed=0, **data):
        config = make_config(data={**SYNTHETIC, **data}, seed=seed)
        info = dataset_info(config.data, tmp_path)
        return load_dataset(config.data, info, make_plan(config, info), tmp_path, CPU)

    return load_by


def made_images():
    options = SyntheticData.model_validate(SYNTHETIC)
    return make_synthetic(options.synthetic)


def fingerprints(part):
    pairs = zip(part.images.numpy(), part.labels.tolist(), strict=True)
    return [image.tobytes() + bytes([label]) for image, label in pairs]


def test_the_three_parts_are_the_set_with_nothing_twice_and_nothing_lost(load_with):
    dataset, source = load_with(), made_images()
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (180, 20, 40)
    together = fingerprints(dataset.train) + fingerprints(dataset.val)
    assert sorted(together) == sorted(fingerprints(source.train))
    assert fingerprints(dataset.test) == fingerprints(source.test)


def test_the_validation_part_is_stratified_and_its_size_is_the_fraction(load_with):
    dataset = load_with(val_fraction=0.3)
    assert torch.bincount(dataset.val.labels).tolist() == [15] * 4


def test_the_seed_changes_no_part(load_with):
    first, other = load_with(seed=0), load_with(seed=1)
    for part in ("train", "val", "test"):
        assert fingerprints(getattr(first, part)) == fingerprints(getattr(other, part))


def test_a_limit_takes_the_first_examples_of_the_same_order_and_leaves_validation_and_test_whole(load_with):
    whole, limited = load_with(), load_with(limit=40)
    assert fingerprints(limited.train) == fingerprints(whole.train)[:40]
    assert fingerprints(limited.val) == fingerprints(whole.val)
    assert fingerprints(limited.test) == fingerprints(whole.test)


def test_a_limit_mixes_the_classes_even_of_a_set_that_is_sorted(load_with, monkeypatch):
    def class_by_class(data, data_dir):
        images = made_images()
        return ImageSet(images.train.take(images.train.labels.argsort()), images.test)

    monkeypatch.setitem(load.DATASET_LOADERS, "synthetic", class_by_class)
    counts = torch.bincount(load_with(limit=60).train.labels, minlength=4)
    assert counts.min() >= 5


@pytest.mark.parametrize("preprocess", PREPROCESSINGS)
def test_preprocessing_is_fitted_on_the_training_part_alone(load_with, preprocess, monkeypatch):
    dataset = load_with(preprocess=preprocess, limit=60)
    again = PREPROCESSES[preprocess](dataset.train.images, DEFAULT_WHITEN_EPS)
    torch.testing.assert_close(dataset.inputs(dataset.test.images), again(dataset.test.images), rtol=0, atol=0)

    def other_test(data, data_dir):
        images = made_images()
        return ImageSet(images.train, Part(255 - images.test.images, images.test.labels))

    monkeypatch.setitem(load.DATASET_LOADERS, "synthetic", other_test)
    inverted = load_with(preprocess=preprocess, limit=60)
    assert torch.equal(dataset.inputs(dataset.val.images), inverted.inputs(inverted.val.images))


def test_a_whitened_training_part_is_whiter_with_a_smaller_eps(load_with):
    def worst(eps):
        dataset = load_with(preprocess="zca_whiten", whiten_eps=eps)
        rows = dataset.inputs(dataset.train.images).flatten(1).double()
        return (rows.T @ rows / len(rows) - torch.eye(60)).abs().max()

    assert worst(1e-6) < worst(1e-2)


def test_a_set_of_another_size_than_declared_is_named(load_with, monkeypatch):
    def too_small(data, data_dir):
        images = made_images()
        return ImageSet(images.train.take(torch.arange(150)), images.test)

    monkeypatch.setitem(load.DATASET_LOADERS, "synthetic", too_small)
    with pytest.raises(
        BnexpError, match=r"dataset synthetic: found .*\(150, 40, 3, 4, 5\), expected \(200, 40, 3, 4, 5\)"
    ):
        load_with()


@pytest.mark.parametrize(
    ("dataset", "idx_set"), [("mnist", MNIST), ("fashion_mnist", FASHION_MNIST), ("kmnist", KMNIST)]
)
def test_the_downloaded_sets_get_their_folder_and_whether_to_download(monkeypatch, dataset, idx_set):
    calls = []
    monkeypatch.setattr(load, "load_idx_set", lambda *arguments: calls.append(arguments))
    data = data_config(dataset, download=False)
    load.DATASET_LOADERS[dataset](data, Path("/somewhere"))
    assert calls == [(idx_set, dataset, Path("/somewhere"), False)]


@pytest.mark.parametrize(("dataset", "cifar"), [("cifar10", CIFAR10), ("cifar100", CIFAR100)])
def test_the_archives_get_their_folder_and_whether_to_download(monkeypatch, dataset, cifar):
    calls = []
    monkeypatch.setattr(load, "load_cifar", lambda *arguments: calls.append(arguments))
    data = data_config(dataset, download=False)
    load.DATASET_LOADERS[dataset](data, Path("/somewhere"))
    assert calls == [(cifar, dataset, Path("/somewhere"), False)]


def test_mnist5k_comes_in_the_declared_size(load_with):
    dataset = load_with(dataset="mnist5k", synthetic=None)
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (3600, 400, 1000)


def test_taking_from_a_part_keeps_images_and_labels_together():
    part = Part(torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1), torch.arange(5))
    taken = part.take(torch.tensor([3, 1]))
    assert (taken.images.flatten().tolist(), taken.labels.tolist(), len(taken)) == ([3, 1], [3, 1], 2)


def test_a_validation_part_of_the_dataset_is_used_as_it_is(make_config, tmp_path, monkeypatch):
    images = made_images()
    brought = ImageSet(
        images.train.take(images.train.labels.argsort()), images.test, images.train.take(torch.arange(17))
    )
    monkeypatch.setitem(load.DATASET_LOADERS, "synthetic", lambda data, data_dir: brought)
    config = make_config(data={**SYNTHETIC, "limit": 60, "preprocess": "none"})
    info = replace(dataset_info(config.data, tmp_path), val_examples=17)
    dataset = load_dataset(config.data, info, make_plan(config, info), tmp_path, CPU)
    assert len(dataset.train) == 60
    assert min(dataset.train.class_counts) >= 5
    assert torch.equal(dataset.val.images, brought.val.images)
    with pytest.raises(
        BnexpError, match=r"found \(train, test, C, H, W, val\) = \(200, 40, 3, 4, 5, 17\), expected .*18"
    ):
        load_dataset(config.data, replace(info, val_examples=18), make_plan(config, info), tmp_path, CPU)


def test_fingerprints_are_those_that_runs_have_recorded_before(load_with):
    dataset = load_with()
    stored = {name: [part.images.numpy(), part.labels.numpy()] for name, part in dataset.parts.items()}
    every = b"".join(array.tobytes() for name in ("train", "val", "test") for array in stored[name])
    assert dataset.fingerprint == hashlib.sha256(every).hexdigest()
    for name in ("val", "test"):
        images, labels = stored[name]
        own = str(images.shape).encode() + images.tobytes() + labels.tobytes()
        assert dataset.part_fingerprints[name] == hashlib.sha256(own).hexdigest()
