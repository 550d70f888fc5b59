"""Augmentation: against a slow reference given the same draws, and the distribution of what is drawn."""

import numpy as np
import pytest
import torch
from torch import Generator

from bnexp.data.augment import AUGMENTS, crop_flip, draw_at, moved, shift

PADDING = {crop_flip: 4, shift: 2}
MOVES = pytest.mark.parametrize("augment", [crop_flip, shift])


def made_images(examples=64, shape=(3, 9, 7)):
    return torch.randint(1, 256, (examples, *shape), dtype=torch.uint8, generator=Generator().manual_seed(0))


def augment_at(name, images, seed, step):
    moves = AUGMENTS[name]
    return images if moves is None else moves.move(images, draw_at(name, len(images), seed, step))


def one_by_one(images, tops, lefts, mirrored, padding):
    """Cut and mirror each image by itself, with numpy."""
    cuts = []
    for image, top, left, mirror in zip(images.numpy(), tops.tolist(), lefts.tolist(), mirrored.tolist(), strict=True):
        padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
        cut = padded[:, top : top + image.shape[1], left : left + image.shape[2]]
        cuts.append(cut[:, :, ::-1] if mirror else cut)
    return np.stack(cuts)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 28, 28), (3, 9, 7), (3, 2, 11)])
@pytest.mark.parametrize("padding", [0, 2, 4])
def test_moving_whole_batches_is_moving_one_by_one(shape, padding):
    images, generator = made_images(50, shape), Generator().manual_seed(1)
    tops, lefts = torch.randint(0, 2 * padding + 1, (2, 50), generator=generator)
    mirrored = torch.rand(50, generator=generator) < 0.5
    found = moved(images, tops, lefts, mirrored, padding)
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found, one_by_one(images, tops, lefts, mirrored, padding))


@MOVES
def test_the_draws_are_those_described(augment):
    images, generator = made_images(), Generator().manual_seed(5)
    tops, lefts = torch.randint(0, 2 * PADDING[augment] + 1, (2, 64), generator=generator)
    mirrored = torch.rand(64, generator=generator) < 0.5 if augment is crop_flip else torch.zeros(64, dtype=torch.bool)
    expected = one_by_one(images, tops, lefts, mirrored, PADDING[augment])
    np.testing.assert_array_equal(augment(images, Generator().manual_seed(5)), expected)


@MOVES
def test_every_place_comes_equally_often_and_every_second_image_is_mirrored(augment):
    # One bright pixel in the middle and a dimmer one to its right say where an image went and whether it was mirrored.
    side, examples = 11, 20_000
    images = torch.zeros((1, 1, side, side), dtype=torch.uint8)
    images[0, 0, 5, 5], images[0, 0, 5, 6] = 255, 100
    found = augment(images.expand(examples, 1, side, side), Generator().manual_seed(0))[:, 0]
    peaks = (found == 255).flatten(1).int().argmax(dim=1)
    rows, columns = peaks // side, peaks % side
    places = 2 * PADDING[augment] + 1
    for coordinate in (rows, columns):
        counts = torch.bincount(coordinate - (5 - PADDING[augment]), minlength=places)
        assert len(counts) == places
        mean = examples / places
        assert (counts - mean).abs().max() < 5 * mean**0.5
    beside = torch.where(columns < side - 1, found[torch.arange(examples), rows, (columns + 1).clamp(max=side - 1)], 0)
    mirrored = int((beside != 100).sum())
    # At the very border the dim pixel has left the image in one of the two directions, never here: 5 + 4 + 1 < 11.
    assert mirrored == 0 if augment is shift else abs(mirrored - examples / 2) < 5 * (examples / 4) ** 0.5


@pytest.mark.parametrize("name", AUGMENTS)
def test_the_images_given_are_left_alone(name):
    images = made_images()
    before = images.clone()
    augment_at(name, images, seed=0, step=3)
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", ["crop_flip", "shift"])
def test_seed_and_step_alone_decide_the_draws(name):
    images = made_images()
    first = augment_at(name, images, seed=1, step=7)
    torch.rand(5)
    assert torch.equal(augment_at(name, images, seed=1, step=7), first)
    assert not torch.equal(augment_at(name, images, seed=2, step=7), first)
    assert not torch.equal(augment_at(name, images, seed=1, step=8), first)


@pytest.mark.parametrize("name", ["crop_flip", "shift"])
def test_the_global_random_state_is_not_touched(name):
    state = torch.random.get_rng_state()
    augment_at(name, made_images(), seed=0, step=0)
    assert torch.equal(torch.random.get_rng_state(), state)
