"""What `bias` says of a bias per channel, as after a convolution: which normalizations lose it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bnexp.config.items import ITEMS, ItemName
from bnexp.lessons.lesson import Cell, Heading, Part, Table, Text
from bnexp.lessons.tables import with_exponents
from bnexp.lessons.tensors import names_in_words
from bnexp.norms.reference import (
    Normalized,
    batch_norm_train,
    batch_norm_train_backward,
    group_norm,
    group_norm_backward,
    instance_norm,
    rms_norm,
    rms_norm_backward,
)

Images = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From x and the gradient of y to y and the gradient of x, all (N, C, H, W), with gamma 1 and beta 0."""


def other_norms(x: Tensor, bias: Tensor, grad_y: Tensor) -> list[Part]:
    """Compare norms on images x (N, C, H, W) with a bias (C,), given the gradient of their output."""
    equal = torch.full_like(bias, bias.mean().item())
    rows: list[tuple[str, Sequence[Cell]]] = []
    for name, means, norm in NORMS_OF_IMAGES:
        start, _ = norm(x, grad_y)
        of_bias, of_equal = (
            (norm(x + one.view(-1, 1, 1), grad_y)[0] - start).abs().max().item() for one in (bias, equal)
        )
        grad = norm(x + bias.view(-1, 1, 1), grad_y)[1].sum(dim=(0, 2, 3))  # (C,)
        dropped = "drops it" if ITEMS[name].cancels_bias else "keeps it"
        rows.append((name, [means, of_bias, of_equal, grad.abs().max().item(), dropped]))
    return [
        Heading("4. Other normalizations: who subtracts a mean per channel?"),
        with_exponents(
            Table(
                "others",
                "images (4, 4, 3, 3) with a bias per channel, as after a convolution",
                ("mean over", "change by b", "by equal entries", "gradient of b", "bias: auto"),
                rows,
                ("change by b: largest change of the output, gamma 1 and beta 0", "gradient of b: its largest entry"),
                corner="norm",
            ),
            1,
            3,
        ),
        Text(
            "A bias per channel is lost where each channel has a mean of its own: bn takes it over the batch, `in` "
            "over the positions of one image. Where channels share a mean, as in ln and gn, the bias stays, but for "
            "what these channels have in common: with equal entries it is lost there too. rms subtracts nothing, and "
            "even equal entries stay."
        ),
    ]


def _normalized_images(
    forward: Callable[[Tensor, Tensor, Tensor], Normalized],
    backward: Callable[[Tensor, Normalized, Tensor], tuple[Tensor, ...]],
) -> Images:
    """Return what computes both from a normalization and its backward pass."""

    def both(x: Tensor, grad_y: Tensor) -> tuple[Tensor, Tensor]:
        gamma, beta = torch.ones(x.shape[1], dtype=x.dtype), torch.zeros(x.shape[1], dtype=x.dtype)
        result = forward(x, gamma, beta)
        return result.y, backward(grad_y, result, gamma)[0]

    return both


def _batch_norm_of_images(x: Tensor, grad_y: Tensor) -> tuple[Tensor, Tensor]:
    """Treat each position of each image as an example."""
    rows = [one.permute(0, 2, 3, 1).reshape(-1, x.shape[1]) for one in (x, grad_y)]  # (N H W, C) each
    gamma, beta = torch.ones(x.shape[1], dtype=x.dtype), torch.zeros(x.shape[1], dtype=x.dtype)
    result = batch_norm_train(rows[0], gamma, beta)
    grad_x, _, _ = batch_norm_train_backward(rows[1], result, gamma)
    n, _, h, w = x.shape
    y, grad = (one.view(n, h, w, -1).permute(0, 3, 1, 2) for one in (result.y, grad_x))
    return y, grad


def _rms_of_images(x: Tensor, grad_y: Tensor) -> tuple[Tensor, Tensor]:
    """Treat all values of an image as the features of an example."""
    gamma = torch.ones(x[0].numel(), dtype=x.dtype)
    result = rms_norm(x.flatten(1), gamma)
    grad_x, _ = rms_norm_backward(grad_y.flatten(1), result, gamma)
    return result.y.view(x.shape), grad_x.view(x.shape)


NORMS_OF_IMAGES: Sequence[tuple[ItemName, str, Images]] = (
    ("bn", "N, H, W", _batch_norm_of_images),
    ("in", "H, W", _normalized_images(instance_norm, group_norm_backward)),
    ("gn", "2 channels, H, W", _normalized_images(lambda x, g, b: group_norm(x, g, b, 2), group_norm_backward)),
    ("ln", "C, H, W", _normalized_images(lambda x, g, b: group_norm(x, g, b, 1), group_norm_backward)),
    ("rms", "none", _rms_of_images),
)


def biases_in_bnexp() -> list[Part]:
    """Say where `bias: auto` leaves a bias out."""
    droppers = [name for name, kind in ITEMS.items() if kind.cancels_bias]
    return [
        Heading("5. What bnexp does"),
        Text(
            "`model.bias: auto`, the default, leaves a bias out exactly where the very next item takes it away: "
            f"{names_in_words(droppers)}. Everywhere else it stays, also before batch_renorm, which subtracts a mean "
            "per feature but puts the running mean back into the output, and before vn, which subtracts none. "
            "`bnexp check` says it of each layer. `model.bias: true` and `false` decide for all layers in the blocks."
        ),
    ]
