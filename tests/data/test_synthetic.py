"""Images made on the spot: the same each time, as asked for, and learnable."""

import pytest
import torch

from bnexp.config.data_section import SyntheticConfig
from bnexp.data.generated import make_synthetic


def test_the_same_options_give_the_same_images_whatever_torch_drew():
    options = SyntheticConfig(size=50)
    first = make_synthetic(options)
    torch.rand(3)
    again = make_synthetic(options)
    for one, other in ((first.train, again.train), (first.test, again.test)):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize(("classes", "shape", "size", "test"), [(2, (3, 5, 4), 21, 4), (7, (1, 1, 9), 70, 14)])
def test_size_shape_and_classes_are_those_asked_for(classes, shape, size, test):
    made = make_synthetic(SyntheticConfig(classes=classes, shape=shape, size=size))
    for part, examples in ((made.train, size), (made.test, test)):
        assert part.images.shape == (examples, *shape)
        assert (part.images.dtype, part.labels.dtype) == (torch.uint8, torch.int64)
        counts = torch.bincount(part.labels, minlength=classes)
        assert len(counts) == classes
        assert counts.max() - counts.min() <= 1


def test_without_noise_each_class_is_one_pattern_in_the_middle_of_the_range():
    made = make_synthetic(SyntheticConfig(classes=3, noise=0, size=30))
    patterns = made.train.images[:3]
    assert torch.equal(made.train.images, patterns[made.train.labels])
    assert torch.equal(made.test.images, patterns[made.test.labels])
    assert len({pattern.numpy().tobytes() for pattern in patterns}) == 3
    assert patterns.min() >= round(0.25 * 255)
    assert patterns.max() <= round(0.75 * 255)


def test_the_noise_has_the_standard_deviation_asked_for():
    # 0.02 of the range is far from the clipping at 0 and 1, and far above the rounding to bytes.
    quiet, noisy = (make_synthetic(SyntheticConfig(classes=2, noise=noise, size=200)) for noise in (0, 0.02))
    difference = (noisy.train.images.double() - quiet.train.images.double()) / 255
    assert difference.std().item() == pytest.approx(0.02, rel=0.02)
    assert difference.mean().item() == pytest.approx(0, abs=1e-3)


def test_no_example_is_in_training_and_test():
    made = make_synthetic(SyntheticConfig(size=100))
    images = [image.numpy().tobytes() for part in (made.train, made.test) for image in part.images]
    assert len(set(images)) == 120


def test_the_nearest_class_mean_learns_it():
    made = make_synthetic(SyntheticConfig(size=500))
    train, test = made.train, made.test
    means = torch.stack([train.images[train.labels == label].double().mean(dim=0) for label in range(10)])
    distances = torch.cdist(test.images.double().flatten(1), means.flatten(1))  # (test, classes)
    assert (distances.argmin(dim=1) == test.labels).double().mean() > 0.9  # chance is 0.1
