"""Shifting and scaling, against numpy in float64."""

import numpy as np
import pytest
import torch

from bnexp.data.preprocess import channel_statistics, fit_center, fit_none, fit_scale, fit_standardize

FITS = [fit_none, fit_scale, fit_center, fit_standardize]


def made_images(examples=200, shape=(3, 4, 5)):
    images = torch.randint(0, 256, (examples, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[:, 0] //= 3
    return images


def pixels_of(images):
    return images.numpy().astype(np.float64) / 255


def expected(fit, pixels):
    if fit is fit_center:
        return pixels - pixels.mean(axis=0)
    if fit is fit_standardize:
        return (pixels - pixels.mean(axis=(0, 2, 3), keepdims=True)) / pixels.std(axis=(0, 2, 3), keepdims=True)
    return pixels if fit is fit_none else 2 * pixels - 1


@pytest.mark.parametrize("fit", FITS)
def test_inputs_follow_the_formula(fit):
    images = made_images()
    inputs = fit(images, 1e-3)(images)
    assert inputs.dtype == torch.float32
    np.testing.assert_allclose(inputs, expected(fit, pixels_of(images)), rtol=0, atol=2e-6)


@pytest.mark.parametrize("fit", FITS)
def test_what_was_fitted_is_kept_for_other_images(fit):
    images = made_images()
    fitted = fit(images[:150], 1e-3)
    together = expected(fit, pixels_of(images[:150]))
    np.testing.assert_allclose(fitted(images[:10]), together[:10], rtol=0, atol=2e-6)
    difference = fitted(images[150:151]) - fitted(images[:1])
    slope = expected(fit, pixels_of(images[:150]))[1] - together[0]
    assert difference.shape[1:] == slope.shape


@pytest.mark.parametrize("fit", FITS)
def test_the_map_can_be_undone(fit):
    images = made_images()
    fitted = fit(images, 1e-3)
    back = (fitted(images) - fitted.offset) / fitted.factor
    assert torch.equal(back.round().to(torch.uint8), images)


@pytest.mark.parametrize("fit", FITS)
def test_the_bytes_are_left_alone(fit):
    images = made_images()
    before = images.clone()
    fit(images, 1e-3)(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize(("fit", "lowest", "highest"), [(fit_none, 0, 1), (fit_scale, -1, 1)])
def test_the_range_is_the_one_stated(fit, lowest, highest):
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    assert fit(ends, 1e-3)(ends).flatten().tolist() == pytest.approx([lowest, highest])


def test_centered_features_have_mean_zero():
    images = made_images()
    means = fit_center(images, 1e-3)(images).double().mean(dim=0)
    np.testing.assert_allclose(means, np.zeros((3, 4, 5)), atol=1e-6)


def test_standardized_channels_have_mean_zero_and_standard_deviation_one():
    images = made_images()
    inputs = fit_standardize(images, 1e-3)(images).double()
    np.testing.assert_allclose(inputs.mean(dim=(0, 2, 3)), np.zeros(3), atol=1e-6)
    np.testing.assert_allclose(inputs.std(dim=(0, 2, 3), correction=0), np.ones(3), atol=1e-6)


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
