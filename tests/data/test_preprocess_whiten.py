"""Whitening: what the covariance becomes, and that streaming changes nothing."""

import numpy as np
import pytest
import torch

from bnexp.data import preprocess
from bnexp.data.preprocess import Whitening, covariance, fit_pca_whiten, fit_zca_whiten

FITS = pytest.mark.parametrize("fit", [fit_pca_whiten, fit_zca_whiten])
EPS = 1e-3


def made_images(examples=400, shape=(3, 3, 4), seed=0):
    """Return images whose pixels are correlated, as those of photographs are."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.rand((36, 36), generator=generator) / 36 + torch.eye(36) * 0.3
    pixels = torch.rand((examples, 36), generator=generator) @ mixing
    return (pixels * 190).clamp(0, 255).to(torch.uint8).view(examples, *shape)


def rows_of(images):
    return images.flatten(1).numpy().astype(np.float64) / 255


def in_float64(fit, images, eps):
    """Whiten with the fitted matrix taken to float64, so that only the fit rounds to float32."""
    fitted = fit(images, eps)
    return (rows_of(images) - fitted.mean.double().numpy()) @ fitted.matrix.double().numpy()


@pytest.mark.parametrize("chunk", [1, 7, 400, 4096])
def test_the_streamed_covariance_is_numpys(monkeypatch, chunk):
    images = made_images()
    monkeypatch.setattr(preprocess, "CHUNK", chunk)
    mean, matrix = covariance(images)
    np.testing.assert_allclose(mean, rows_of(images).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(matrix, np.cov(rows_of(images), rowvar=False, bias=True), rtol=0, atol=1e-12)


def test_the_covariance_is_the_same_to_the_last_bit_whatever_the_chunk(monkeypatch):
    images = made_images()
    whole = covariance(images)
    monkeypatch.setattr(preprocess, "CHUNK", 13)
    for one, other in zip(whole, covariance(images), strict=True):
        assert torch.equal(one, other)


def test_the_pca_whitened_covariance_is_diagonal_and_one_but_for_eps():
    images = made_images()
    variances = np.sort(np.linalg.eigvalsh(np.cov(rows_of(images), rowvar=False, bias=True)))[::-1]
    found = np.cov(in_float64(fit_pca_whiten, images, EPS), rowvar=False, bias=True)
    np.testing.assert_allclose(found, np.diag(variances / (variances + EPS)), rtol=0, atol=1e-5)


@FITS
def test_with_a_small_eps_the_whitened_covariance_is_the_identity(fit):
    found = np.cov(in_float64(fit, made_images(), 1e-9), rowvar=False, bias=True)
    np.testing.assert_allclose(found, np.eye(36), rtol=0, atol=1e-4)


def test_zca_is_symmetric_and_positive():
    matrix = fit_zca_whiten(made_images(), EPS).matrix.double()
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-6)
    assert torch.linalg.eigvalsh(matrix).min() > 0


def test_zca_is_the_inverse_square_root_of_the_covariance():
    images = made_images()
    matrix = fit_zca_whiten(images, EPS).matrix.double().numpy()
    regular = np.cov(rows_of(images), rowvar=False, bias=True) + EPS * np.eye(36)
    np.testing.assert_allclose(matrix @ regular @ matrix, np.eye(36), rtol=0, atol=1e-5)


def test_zca_is_pca_turned_back():
    images = made_images()
    pca, zca = fit_pca_whiten(images, EPS).matrix, fit_zca_whiten(images, EPS).matrix
    rotation = np.linalg.solve(pca.double().numpy(), zca.double().numpy())
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(36), rtol=0, atol=1e-4)


@FITS
def test_the_map_can_be_undone(fit):
    images = made_images()
    fitted = fit(images, EPS)
    back = np.linalg.solve(fitted.matrix.double().numpy().T, fitted(images).flatten(1).double().numpy().T).T
    pixels = (back + fitted.mean.double().numpy()) * 255
    np.testing.assert_array_equal(pixels.round().astype(np.uint8), images.flatten(1).numpy())


@FITS
def test_inputs_keep_shape_and_the_bytes_are_left_alone(fit):
    images = made_images()
    before = images.clone()
    inputs = fit(images, EPS)(images)
    assert (inputs.shape, inputs.dtype) == (images.shape, torch.float32)
    np.testing.assert_allclose(inputs.flatten(1), in_float64(fit, images, EPS), rtol=0, atol=1e-4)
    assert torch.equal(images, before)


@FITS
def test_features_without_variance_and_few_examples_stay_finite(fit):
    images = made_images(10)
    images[:, :, 0] = 7
    fitted = fit(images, EPS)
    unseen = made_images(5, seed=1)
    assert torch.isfinite(fitted(unseen)).all()
    largest = np.abs(rows_of(unseen) - fitted.mean.double().numpy()).max() * 6 / EPS**0.5  # 6 = sqrt(36)
    assert fitted(unseen).abs().max() < largest


@FITS
def test_the_sign_of_a_direction_is_settled(fit):
    images = made_images()
    first, again = fit(images, EPS), fit(images.flip(0), EPS)
    torch.testing.assert_close(first.matrix, again.matrix, rtol=0, atol=1e-5)


@FITS
def test_autocast_does_not_reach_it(fit):
    images = made_images()
    fitted = fit(images, EPS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = fitted(images)
    assert torch.equal(inside, fitted(images))


def test_it_can_be_moved():
    fitted = fit_zca_whiten(made_images(), EPS)
    moved = fitted.to(torch.device("meta"))
    assert isinstance(moved, Whitening)
    assert moved.matrix.device.type == moved.mean.device.type == "meta"
