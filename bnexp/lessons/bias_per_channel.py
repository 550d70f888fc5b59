"""What `bias` says of a bias per channel, as after a convolution: which normalizations lose it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bnexp.config.items import ITEMS, ItemName
from bnexp.document.lesson import Heading, Part, Table, Text
from bnexp.document.numerals import Cell
from bnexp.lessons.image_norms import BATCH_NORM, GROUP_NORM, INSTANCE_NORM, LAYER_NORM, RMS_NORM, ImageNorm
from bnexp.lessons.tables import with_exponents
from bnexp.lessons.tensors import largest_magnitude, names_in_words

NORMS: Sequence[tuple[ItemName, str, ImageNorm]] = (
    ("bn", "N, H, W", BATCH_NORM),
    ("in", "H, W", INSTANCE_NORM),
    ("gn", "2 channels, H, W", GROUP_NORM),
    ("ln", "C, H, W", LAYER_NORM),
    ("rms", "none", RMS_NORM),
)
"""By their names in a config: over what each takes a mean, and how."""


def other_norms(x: Tensor, bias: Tensor, grad_y: Tensor) -> list[Part]:
    """Compare norms on images x (N, C, H, W) with a bias (C,), given the gradient of their output."""
    equal = torch.full_like(bias, bias.mean().item())
    rows: list[tuple[str, Sequence[Cell]]] = []
    for name, means, norm in NORMS:
        of_bias, of_equal = (
            largest_magnitude(norm.x_hat(x + one.view(-1, 1, 1)) - norm.x_hat(x)) for one in (bias, equal)
        )
        grad = norm.gradient_of_x_hat(x + bias.view(-1, 1, 1), grad_y).sum(dim=(0, 2, 3))  # (C,)
        dropped = "drops it" if ITEMS[name].cancels_bias else "keeps it"
        rows.append((name, [means, of_bias, of_equal, largest_magnitude(grad), dropped]))
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
