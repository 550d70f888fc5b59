"""The two articles whose worked examples `batchnorm` recomputes: every number they print, and whether it is right.

What they print is kept as text, because the number of digits is part of the claim.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bnexp.document.lesson import Heading, Part, Table, Text
from bnexp.document.numerals import decimal
from bnexp.lessons.matrix_file import counted_names
from bnexp.lessons.tables import matrix
from bnexp.lessons.tensors import BatchTensors, initial_parameters
from bnexp.norms.reference import Normalized, batch_norm_train, batch_norm_unbiased

_EPS = 1e-5
"""Of both articles."""


@dataclass(frozen=True)
class Printed:
    """One row of an article's table: a quantity, as printed for each feature, and as computed here."""

    quantity: str
    words: Sequence[str]
    computed: Tensor  # (F,)


def article_parts(name: str, batch: BatchTensors, forward: Normalized) -> list[Part]:
    """Return what is to be said of an article, 000 or 002, given the normalization of its matrix with their eps."""
    return {"000": _moderator, "002": _understanding}[name](batch, forward)


def judge(printed: str, computed: float) -> str:
    """Say whether a printed number is the computed one, to the digits printed.

    Returns:
        `right`; or `cut: ...` where digits were cut off in place of rounding, or `wrong: ...`, with what it should be.
    """
    digits = len(printed.partition(".")[2])
    expected = rounded(computed, digits)
    if expected == printed:
        return "right"
    off = abs(computed - float(printed)) * 10**digits
    return f"{'cut' if abs(float(printed)) < abs(computed) and off < 1 else 'wrong'}: {expected}"


def rounded(value: float, digits: int) -> str:
    """Return a number with so many decimals; nothing is never negative."""
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _judged(title: str, rows: Sequence[Printed]) -> Table:
    """Return the table of an article's numbers with a verdict on each."""
    names = counted_names(len(rows[0].words))
    values = [
        {
            "quantity": row.quantity,
            "feature": feature,
            "printed": word,
            "computed": computed,
            "verdict": judge(word, computed),
        }
        for row in rows
        for feature, word, computed in zip(names, row.words, row.computed.tolist(), strict=True)
    ]
    cells = [
        (
            row.quantity,
            [f"{word} {judge(word, one)}" for word, one in zip(row.words, row.computed.tolist(), strict=True)],
        )
        for row in rows
    ]
    return Table("printed", title, names, cells, values=values)


def _examples(quantity: str, words: Sequence[Sequence[str]], computed: Tensor) -> list[Printed]:
    return [Printed(f"{quantity}, example {number + 1}", row, computed[number]) for number, row in enumerate(words)]


def _moderator(batch: BatchTensors, forward: Normalized) -> list[Part]:
    """Article 000, `Batch Normalization is like A Human Moderator`: right numbers, beside code that gives others."""
    rows = [
        Printed("mean", ("5.0", "6.0", "7.0", "8.0"), forward.mean),
        Printed("variance", ("10.6667",) * 4, forward.var),
        *_examples("output", [("-1.2247",) * 4, ("0.0000",) * 4, ("1.2247",) * 4], forward.y),
    ]
    in_code = batch_norm_unbiased(batch.x, batch.gamma, batch.beta, _EPS)
    talk = torch.tensor([[2.0], [5.0], [8.0]], dtype=torch.float64)
    mean = batch_norm_train(talk, *initial_parameters(1)).mean
    least, _, most = (talk - mean).flatten().tolist()
    return [
        Heading("The article that this example is from, and where it disagrees with itself"),
        Text(
            "`Batch Normalization is like A Human Moderator` prints these numbers below its code, worked out by "
            "hand. All of them are right, for the biased variance:"
        ),
        _judged("printed in the article, and whether it is right", rows),
        Text(
            "But its code does not print them. It takes `X.var(dim=0)`, which in torch is the unbiased variance, "
            f"divided by B - 1 = {len(batch.x) - 1}: {decimal(in_code.var[0].item())} in place of "
            f"{decimal(forward.var[0].item())}. Run as it stands, the code prints:"
        ),
        matrix("var_in_code", "variance in its code", in_code.var, batch.names, formula=("X.var(dim=0)",)),
        matrix(
            "y_in_code",
            "output of its code",
            in_code.y,
            batch.names,
            batch.rows,
            ("(X - mean) / sqrt(X.var(dim=0) + eps)",),
        ),
        Text(
            "A network normalizes by the biased variance, so the printed numbers are what it computes and the code "
            "is not: `X.var(dim=0, unbiased=False)` would mend it. These other numbers are what batch normalization "
            "puts out at inference in the end (step 4)."
        ),
        Text(
            f"Its numbers of the moderator are right, too: from an average of {mean.item():.0f} minutes, "
            f"8 minutes are {most:.0f} above and 2 minutes {-least:.0f} below.",
            {"minutes_mean": mean.item(), "minutes_from_mean": (talk - mean).flatten().tolist()},
        ),
    ]


def _understanding(batch: BatchTensors, forward: Normalized) -> list[Part]:
    """Article 002, `Understanding Batch Normalization in Deep Learning`: digits cut off, and carried on."""
    rows = [
        *_examples("normalized", [("-1.224",) * 3, ("0.0",) * 3, ("1.224",) * 3], forward.x_hat),
        *_examples(
            "output",
            [("-1.336", "-1.224", "-1.112"), ("0.5", "0.0", "-0.5"), ("2.336", "1.224", "0.112")],
            forward.y,
        ),
    ]
    peak, cut = forward.x_hat[2, 0].item(), 1.224
    carried = [gamma * cut + beta for gamma, beta in zip(batch.gamma.tolist(), batch.beta.tolist(), strict=True)]
    var = forward.var / (forward.var + _EPS)
    return [
        Heading("The article that this example is from, number by number"),
        _judged("printed in `Understanding Batch Normalization in Deep Learning`", rows),
        Text(
            f"Its method is right: biased variance, eps under the root. But it cut {decimal(peak)} to {cut} where "
            f"rounding gives {peak:.3f}, and went on with the cut number: {batch.gamma[0].item():g} x {cut} + "
            f"{batch.beta[0].item():g} = {carried[0]:.3f}, where {decimal(forward.y[2, 0].item())} is right. The last "
            "digit of two outputs is wrong by that, and two more are cut themselves. For work by hand it is of no "
            "weight; for holding a program against it, it is: keep more digits than you print.",
            {"cut": cut, "carried_on": carried},
        ),
        Text(
            "The article names neither gamma nor beta. They follow from its table: beta is the output of the second "
            "example, whose normalized values are 0, and gamma what is left of the third, divided by its normalized "
            "value."
        ),
        Text(
            f"And it says that normalizing ensures a variance of 1. With eps = {_EPS:g} it is var / (var + eps) = "
            f"{decimal(var[0].item(), 6)} here.",
            {"var_of_x_hat_with_eps": var.tolist()},
        ),
    ]
