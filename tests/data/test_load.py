"""From the config to the parts: what is fitted on what, and what the run may not change."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bnexp.config.data_section import DataConfig
from bnexp.config.plan import make_plan
from bnexp.data import load
from bnexp.data.images import ImageSet, Part
from bnexp.data.load import channel_statistics, load_dataset
from bnexp.data.mnist import FASHION_MNIST, MNIST
from bnexp.data.synthetic import make_synthetic
from bnexp.errors import BnexpError
from bnexp.sources.info import dataset_info

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
    options = DataConfig.model_validate(SYNTHETIC)
    return make_synthetic(options.synthetic)


def fingerprints(part):
    pairs = zip(part.images.numpy(), part.labels.tolist(), strict=True)
    return [image.tobytes() + bytes([label]) for image, label in pairs]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 5, 7)])
def test_channel_statistics_are_numpys_in_float64(shape):
    images = torch.randint(0, 256, (50, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[:, 0] //= 3
    mean, std = channel_statistics(images)
    pixels = images.numpy().astype(np.float64) / 255
    assert mean.shape == std.shape == (1, shape[0], 1, 1)
    assert mean.dtype == std.dtype == torch.float32
    np.testing.assert_allclose(mean.flatten(), pixels.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(std.flatten(), pixels.std(axis=(0, 2, 3)), rtol=1e-6)


def test_a_constant_channel_gets_the_standard_deviation_one():
    images = torch.full((10, 2, 3, 3), 51, dtype=torch.uint8)
    images[::2, 1] = 204
    mean, std = channel_statistics(images)
    assert mean.flatten().tolist() == pytest.approx([0.2, 0.5])
    assert std.flatten().tolist() == pytest.approx([1, 0.3])


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


def test_mean_and_std_are_of_the_training_part_alone(load_with):
    limited, whole = load_with(limit=20), load_with()
    for dataset in (limited, whole):
        pixels = dataset.train.images.numpy().astype(np.float64) / 255
        np.testing.assert_allclose(dataset.mean.flatten(), pixels.mean(axis=(0, 2, 3)), rtol=1e-6)
        np.testing.assert_allclose(dataset.std.flatten(), pixels.std(axis=(0, 2, 3)), rtol=1e-6)
    assert not torch.equal(limited.mean, whole.mean)


def test_inputs_are_standardized_pixels(load_with):
    dataset = load_with()
    inputs = dataset.inputs(dataset.train.images)
    pixels = dataset.train.images.numpy().astype(np.float64) / 255
    expected = (pixels - dataset.mean.double().numpy()) / dataset.std.double().numpy()
    assert inputs.dtype == torch.float32
    np.testing.assert_allclose(inputs, expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(inputs.double().mean(dim=(0, 2, 3)), np.zeros(3), atol=1e-6)
    np.testing.assert_allclose(inputs.double().std(dim=(0, 2, 3), correction=0), np.ones(3), atol=1e-6)


def test_standardizing_leaves_the_bytes_alone(load_with):
    dataset = load_with()
    before = dataset.val.images.clone()
    dataset.inputs(dataset.val.images)
    assert torch.equal(dataset.val.images, before)


def test_a_set_of_another_size_than_declared_is_named(load_with, monkeypatch):
    def too_small(data, data_dir):
        images = made_images()
        return ImageSet(images.train.take(torch.arange(150)), images.test)

    monkeypatch.setitem(load.DATASET_LOADERS, "synthetic", too_small)
    with pytest.raises(
        BnexpError, match=r"dataset synthetic: found .*\(150, 40, 3, 4, 5\), expected \(200, 40, 3, 4, 5\)"
    ):
        load_with()


@pytest.mark.parametrize(("dataset", "idx_set"), [("mnist", MNIST), ("fashion_mnist", FASHION_MNIST)])
def test_the_downloaded_sets_get_their_folder_and_whether_to_download(monkeypatch, dataset, idx_set):
    calls = []
    monkeypatch.setattr(load, "load_idx_set", lambda *arguments: calls.append(arguments))
    data = DataConfig(dataset=dataset, download=False)
    load.DATASET_LOADERS[dataset](data, Path("/somewhere"))
    assert calls == [(idx_set, dataset, Path("/somewhere"), False)]


def test_mnist5k_comes_in_the_declared_size(load_with):
    dataset = load_with(dataset="mnist5k", synthetic=None)
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (3600, 400, 1000)


def test_taking_from_a_part_keeps_images_and_labels_together():
    part = Part(torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1), torch.arange(5))
    taken = part.take(torch.tensor([3, 1]))
    assert (taken.images.flatten().tolist(), taken.labels.tolist(), len(taken)) == ([3, 1], [3, 1], 2)
