"""Where eps is not small beside a variance, and what is said "but for eps" does not hold."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bnexp.document.lesson import Numbers, Text
from bnexp.document.numerals import decimal
from bnexp.lessons.tensors import names_in_words

NEGLIGIBLE = 1e-3
"""Up to this share of var + eps, eps is small."""


def is_small(var: Tensor, eps: float) -> bool:
    """Tell whether eps is small beside every variance."""
    return bool((eps <= NEGLIGIBLE * (var + eps)).all())


def does_not_vary(x: Tensor, dim: int) -> Tensor:
    """Return of each feature (dim 0) or example (dim 1) of x (B, F) whether its values are all equal.

    The computed variance does not tell: rounding may leave some, and squares of tiny numbers leave none.
    """
    return x.amax(dim=dim) == x.amin(dim=dim)


def said_of_variance(line: str, unit: str, names: Sequence[str], var: Tensor, varies: Tensor, eps: float) -> list[Text]:
    """Say which variance normalization leaves, and for whom eps keeps it far from 1.

    Args:
        line: what has the variance, such as column.
        unit: what a line holds, such as feature.
        names: of the units.
        var: their variances, (units,).
        varies: those that vary, (units,), of which is spoken.
        eps: added to the variance.
    """
    left = var / (var + eps)
    numbers: Numbers = {"eps": eps, "var_of_x_hat": left.tolist()}
    if not varies.any():
        return [Text(f"No {unit} has any variance.", numbers)]
    least = torch.where(varies, left, 1.0).min().item()
    numbers = {**numbers, "least_var_of_x_hat": least}
    text = f"Each {line} has mean 0 now, but for rounding, and the variance var / (var + eps)"
    weighed = [
        name for name, one, known in zip(names, left.tolist(), varies, strict=True) if known and one < 1 - NEGLIGIBLE
    ]
    if weighed:
        text += (
            f", which is {decimal(least)} for the {unit} that eps weighs most on. Beside the variance of "
            f"{names_in_words(weighed)} eps is not small: what is said below but for eps is far off there."
        )
    elif decimal(least, 6) == "1.000000":
        text += ": 1 but for a part too small to show."
    else:
        text += f": almost 1, but never quite ({decimal(least, 6)} for the {unit} that eps weighs most on)."
    return [Text(text, numbers)]
