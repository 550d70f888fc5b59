"""What a lesson teaches on: an example or a file, and its options, checked before anything heavy is loaded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from bnexp.config.wording import brief
from bnexp.errors import ConfigError
from bnexp.lessons.matrix_file import counted_names, number_in, read_matrix
from bnexp.lessons.topics import TOPICS, Option

LEAST_EPS = 1e-60
LARGEST_PARAMETER = 1e100
"""With these, and inputs of at most 1e150, every result fits in float64."""
SEEDS_BELOW = 2**31
"""As `seed` of a config."""


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


EXAMPLES = {
    name: Batch(f"example {name}", rows, counted_names(len(gamma)), gamma, beta)
    for name, rows, gamma, beta in (
        ("000", ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12)), (1, 1, 1, 1), (0, 0, 0, 0)),
        # The article does not name its gamma and beta: they follow from its table.
        ("002", ((1, 3, 2), (2, 4, 3), (3, 5, 4)), (1.5, 1, 0.5), (0.5, 0, -0.5)),
    )
}
"""The worked examples of two articles; the first is the default."""


@dataclass(frozen=True)
class Request:
    """A topic's options, each with its default.

    Attributes:
        batch: what the lessons on a matrix normalize.
        as_published: the name of the article, such as 000, if `batch` and `eps` are exactly its own; else None.
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


@dataclass(frozen=True)
class LessonOptions:
    """The options of the command line as they were typed; None for what was not."""

    example: str | None = None
    input: Path | None = None
    gamma: str | None = None
    beta: str | None = None
    eps: float | None = None
    momentum: float | None = None
    groups: int | None = None
    seed: int | None = None


def request_of(topic: str, words: LessonOptions) -> Request:
    """Return the request that typed options make.

    Raises:
        ConfigError: an option that the topic does not take, or values that cannot be taught on.
    """
    for name in get_args(Option):
        if getattr(words, name) is not None and name not in TOPICS[topic].options:
            takers = ", ".join(other for other, known in TOPICS.items() if name in known.options)
            raise ConfigError(f"--{name}: the lesson {topic} does not take it; it belongs to {takers}")
    given, published = _given_batch(words)
    width = len(given.names)
    gamma = given.gamma if words.gamma is None else _parameters("--gamma", words.gamma, width, given.source)
    beta = given.beta if words.beta is None else _parameters("--beta", words.beta, width, given.source)
    eps = Request.eps if words.eps is None else words.eps
    momentum = Request.momentum if words.momentum is None else words.momentum
    seed = Request.seed if words.seed is None else words.seed
    if not LEAST_EPS <= eps <= 1 / LEAST_EPS:
        raise ConfigError(f"--eps: expected a number from {LEAST_EPS:g} to {1 / LEAST_EPS:g}, found {eps!r}")
    if not 0 < momentum <= 1:
        raise ConfigError(f"--momentum: expected a number above 0, at most 1, found {momentum!r}")
    if not 0 <= seed < SEEDS_BELOW:
        raise ConfigError(f"--seed: expected a whole number of at least 0, below {SEEDS_BELOW:,}, found {seed}")
    unchanged = (*gamma, *beta, eps) == (*given.gamma, *given.beta, Request.eps)
    batch = Batch(given.source, given.rows, given.names, gamma, beta)
    return Request(batch, published if unchanged else None, eps, momentum, words.groups, seed)


def _given_batch(words: LessonOptions) -> tuple[Batch, str | None]:
    """Return the matrix that is asked for, with its own gamma and beta, and the name of its article."""
    if words.input is not None:
        if words.example is not None:
            raise ConfigError("--input and --example: choose one of them")
        matrix = read_matrix(words.input)
        width = len(matrix.names)
        return Batch(str(words.input), matrix.rows, matrix.names, [1.0] * width, [0.0] * width), None
    name = next(iter(EXAMPLES)) if words.example is None else words.example
    if name not in EXAMPLES:
        raise ConfigError(f'--example: expected {" or ".join(EXAMPLES)}, found "{name}"')
    return EXAMPLES[name], name


def _parameters(flag: str, text: str, width: int, source: str) -> Sequence[float]:
    """Return a number for each of `width` features."""
    values = []
    for word in map(str.strip, text.split(",")):
        value = number_in(word)
        if value is None or not math.isfinite(value):
            raise ConfigError(
                f'{flag}: expected finite numbers with commas between them, such as 1.5,1,0.5; found "{brief(word)}"'
            )
        if abs(value) > LARGEST_PARAMETER:
            raise ConfigError(f"{flag}: expected numbers of at most {LARGEST_PARAMETER:g}, found {value!r}")
        values.append(value)
    if len(values) != width:
        raise ConfigError(
            f"{flag}: expected {width} {'number' if width == 1 else 'numbers'} with commas between them, one for each "
            f"feature of {source}; found {len(values)}"
        )
    return values
