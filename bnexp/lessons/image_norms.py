"""Normalizations in one form, what each averages over, and the two small images of the lessons.

All take images (N, C, H, W), or a matrix (N, C), which is images of a single position; gamma and beta are (C,).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase, ascii_uppercase

import torch
from torch import Tensor

from bnexp.document.figure import Regions
from bnexp.document.table import Table, number_table
from bnexp.lessons.tensors import BatchTensors, initial_parameters
from bnexp.norms import reference
from bnexp.norms.reference import Normalized

IMAGES, CHANNELS, HEIGHT, WIDTH = SHAPE = (2, 4, 2, 2)
CHANNEL_NAMES = tuple(f"channel {channel + 1}" for channel in range(CHANNELS))
IMAGE_NAMES = tuple(f"image {image + 1}" for image in range(IMAGES))
ROWS = tuple(f"{image}, {channel}" for image in IMAGE_NAMES for channel in CHANNEL_NAMES)
MOST_EXAMPLES, MOST_FEATURES = 6, 8
"""A matrix that is larger than this is drawn as one of this size."""
_LETTERS = ascii_uppercase + ascii_lowercase


@dataclass(frozen=True)
class ImageNorm:
    """A normalization.

    `statistic` is the number of the mean and variance of a value, by (example, channel, channels); `forward` takes
    (x, gamma, beta, eps), and `backward` (dy, what `forward` returned, gamma, eps) to the gradients of x, gamma, beta.
    """

    name: str
    statistic: Callable[[int, int, int], int]
    forward: Callable[[Tensor, Tensor, Tensor, float], Normalized]
    backward: Callable[[Tensor, Normalized, Tensor, float], tuple[Tensor, Tensor, Tensor]]
    subtracts_mean: bool = True

    def x_hat(self, x: Tensor, eps: float = 1e-5) -> Tensor:
        """Return the normalized input."""
        return self.forward(x, *initial_parameters(x.shape[1]), eps).x_hat

    def gradient_of_x_hat(self, x: Tensor, grad_y: Tensor, eps: float = 1e-5) -> Tensor:
        """Return the gradient of x where gamma is 1."""
        ones, zeros = initial_parameters(x.shape[1])
        return self.backward(grad_y, self.forward(x, ones, zeros, eps), ones, eps)[0]


def by_groups(name: str, groups: int) -> ImageNorm:
    """Return group normalization; one group is layer normalization."""
    return ImageNorm(
        name,
        lambda example, channel, channels: example * groups + channel * groups // channels,
        lambda x, gamma, beta, eps: reference.group_norm(x, gamma, beta, groups, eps),
        reference.group_norm_backward,
    )


def _batch_forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Normalized:
    rows = reference.batch_norm_train(_as_rows(x), gamma, beta, eps)
    return replace(rows, y=_as_images(rows.y, x), x_hat=_as_images(rows.x_hat, x))


def _batch_backward(grad_y: Tensor, forward: Normalized, gamma: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    rows = replace(forward, x_hat=_as_rows(forward.x_hat))
    grad_x, grad_gamma, grad_beta = reference.batch_norm_train_backward(_as_rows(grad_y), rows, gamma, eps)
    return _as_images(grad_x, grad_y), grad_gamma, grad_beta


def _as_rows(x: Tensor) -> Tensor:
    """Return (N, C, H, W) as (N H W, C): each position of each image is an example."""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def _as_images(rows: Tensor, x: Tensor) -> Tensor:
    return rows.view(x.movedim(1, -1).shape).movedim(-1, 1)


def _rms_forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Normalized:
    flat = reference.rms_norm(x.flatten(1), _per_value(gamma, x), eps)
    return replace(flat, y=(flat.y + _per_value(beta, x)).view(x.shape), x_hat=flat.x_hat.view(x.shape))


def _rms_backward(grad_y: Tensor, forward: Normalized, gamma: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    flat = replace(forward, x_hat=forward.x_hat.flatten(1))
    grad_x, grad_gamma = reference.rms_norm_backward(grad_y.flatten(1), flat, _per_value(gamma, grad_y), eps)
    per_value = grad_gamma, grad_y.flatten(1).sum(dim=0)  # (C H W,) each
    grad_gamma, grad_beta = (values.view(len(gamma), -1).sum(dim=1) for values in per_value)
    return grad_x.view(grad_y.shape), grad_gamma, grad_beta


def _per_value(parameter: Tensor, x: Tensor) -> Tensor:
    """Return (C,) for each of the values of an image, (C H W,): they are the features of an example."""
    return parameter.repeat_interleave(x[0, 0].numel())


BATCH_NORM = ImageNorm("batch norm", lambda example, channel, channels: channel, _batch_forward, _batch_backward)
LAYER_NORM = by_groups("layer norm", 1)
RMS_NORM = ImageNorm("RMS norm", LAYER_NORM.statistic, _rms_forward, _rms_backward, subtracts_mean=False)
GROUP_NORM = by_groups("group norm", 2)
INSTANCE_NORM = replace(
    GROUP_NORM,
    name="instance norm",
    statistic=lambda example, channel, channels: example * channels + channel,
    forward=reference.instance_norm,
)
FOUR_NORMS = (BATCH_NORM, LAYER_NORM, GROUP_NORM, INSTANCE_NORM)
"""Those that the lessons on images lay side by side."""


def regions(key: str, shape: Sequence[int], norms: Sequence[ImageNorm]) -> Regions:
    """Return the picture of which values share a mean and a variance, a block per normalization.

    Of a matrix (B, F) a row is an example, with a letter per feature; of images (N, C, H, W) a row is a channel of an
    image, with a letter per position.
    """
    examples, channels, space = min(shape[0], MOST_EXAMPLES), min(shape[1], MOST_FEATURES), shape[2:]
    title = "equal letters share their statistics"
    if space:
        title += f", a letter per position ({' x '.join(map(str, space))})"
    elif (examples, channels) != tuple(shape):
        title += f", drawn for {examples} examples of {channels} features"
    blocks: list[tuple[str, list[tuple[str, list[str]]]]] = []
    values = {}
    for norm in norms:
        drawn = [[_LETTERS[norm.statistic(row, at, channels)] for at in range(channels)] for row in range(examples)]
        values[norm.name] = math.prod(space) * sum(letters.count(drawn[0][0]) for letters in drawn)
        rows = [(f"example {row + 1}", letters) for row, letters in enumerate(drawn)]
        if space:
            rows = [
                (f"image {row + 1}, channel {channel + 1}", [letter] * math.prod(space))
                for row, letters in enumerate(drawn)
                for channel, letter in enumerate(letters)
            ]
        blocks.append((norm.name, rows))
    return Regions(key, title, blocks, values)


def two_images(gamma: Tensor, beta: Tensor) -> BatchTensors:
    """Return two images of four channels and 2 x 2 positions, all whole numbers of 1 .. 12, and these parameters.

    x[n, c, h, w] = (n + 2 c + 1) (2 h + w + 1) mod 13, all indices from 0.
    """
    image, channel, row, column = torch.meshgrid(*(torch.arange(size) for size in SHAPE), indexing="ij")
    x = ((image + 2 * channel + 1) * (2 * row + column + 1) % 13).double()
    return BatchTensors("two images", CHANNEL_NAMES, IMAGE_NAMES, x, gamma, beta)


def image_table(key: str, title: str, x: Tensor, formula: Sequence[str] = (), digits: int = 4) -> Table:
    """Return the table of images in `SHAPE`: a row per channel, a column per position."""
    positions = [f"{row + 1},{column + 1}" for row in range(HEIGHT) for column in range(WIDTH)]
    rows = list(zip(ROWS, x.reshape(len(ROWS), -1).tolist(), strict=True))
    return number_table(key, title, positions, rows, formula, "at row,column", digits, x.tolist())


def input_images(x: Tensor) -> Table:
    """Return the table of `two_images`, with the formula that they come from."""
    formula = f"(N, C, H, W) = {SHAPE}", "x[n, c, h, w] =", "  (n + 2 c + 1) (2 h + w + 1) mod 13", "  (indices from 0)"
    return image_table("images", "images X", x, formula, digits=0)
