"""What a reader asks a lesson to teach on: an example or a file, and the options."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Batch:
    """A matrix to normalize: rows are examples, columns are features.

    Attributes:
        source: where it comes from: a path, or `example 000`.
        rows: (B, F).
        names: of the features.
        gamma: (F,).
        beta: (F,).
    """

    source: str
    rows: Sequence[Sequence[float]]
    names: Sequence[str]
    gamma: Sequence[float]
    beta: Sequence[float]


@dataclass(frozen=True)
class Request:
    """A topic's options, each with its default.

    Attributes:
        batch: what the lessons on a matrix normalize.
        as_published: the name of the article, such as 000, whose numbers all of `batch` and `eps` are; else None.
        eps: added to the variance.
        momentum: the weight of the new batch in a running average.
        groups: of the channels, for group normalization; None for what divides them.
        seed: of everything drawn.
    """

    batch: Batch
    as_published: str | None = None
    eps: float = 1e-5
    momentum: float = 0.1
    groups: int | None = None
    seed: int = 0
