"""What a lesson teaches on: an example or a file, and its options, checked before anything heavy is loaded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bnexp.config.wording import brief
from bnexp.errors import ConfigError
from bnexp.lessons.matrix_file import Batch, counted_names, read_matrix
from bnexp.lessons.numbers import number_in
from bnexp.lessons.topics import TOPICS

LEAST_EPS = 1e-60
LARGEST_PARAMETER = 1e100
"""With these, and inputs of at most 1e150, every result fits in float64."""
SEEDS_BELOW = 2**31
"""As `seed` of a config."""


def _batch(source: str, rows: Sequence[Sequence[float]], gamma: Sequence[float], beta: Sequence[float]) -> Batch:
    return Batch(source, rows, counted_names(len(gamma)), gamma, beta)


BUILT_IN = _batch(
    "the built-in matrix",
    ((1, 0, 1, -1), (2, -30, 2, 1), (4, 30, 1, -1), (5, -40, 1, 1), (8, -10, 10, 0)),
    (1, 1, 1, 1),
    (0, 0, 0, 0),
)
"""What a lesson is taught on by default: x1 and x2 differ in scale alone, x3 has a value far from the others."""
EXAMPLES = {
    name: _batch(f"example {name}", *matrix)
    for name, *matrix in (
        ("000", ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12)), (1, 1, 1, 1), (0, 0, 0, 0)),
        # The article does not name its gamma and beta: they follow from its table.
        ("002", ((1, 3, 2), (2, 4, 3), (3, 5, 4)), (1.5, 1, 0.5), (0.5, 0, -0.5)),
    )
}
"""The worked examples of two articles, whose numbers the lesson `batchnorm` judges."""


@dataclass(frozen=True)
class Request:
    """A topic's options, each with its default.

    `as_published` names the article, such as 000, if `batch` and `eps` are exactly its own; `momentum` is the weight of
    the new batch in a running average; without `groups`, group normalization takes what divides the channels.
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
    chosen = {name: value for name, value in vars(words).items() if value is not None}
    for name in chosen:
        if name not in TOPICS[topic].options:
            takers = ", ".join(other for other, known in TOPICS.items() if name in known.options)
            raise ConfigError(f"--{name}: the lesson {topic} does not take it; it belongs to {takers}")
    given, article = _given_batch(words)
    gamma, beta = (
        _parameters(name, chosen[name], given) if name in chosen else getattr(given, name) for name in ("gamma", "beta")
    )
    batch = replace(given, gamma=gamma, beta=beta)
    numbers = {name: chosen[name] for name in ("eps", "momentum", "groups", "seed") if name in chosen}
    unchanged = batch == given and numbers.get("eps", Request.eps) == Request.eps
    request = Request(batch, article if unchanged else None, **numbers)
    for name, holds, expected in (
        ("eps", LEAST_EPS <= request.eps <= 1 / LEAST_EPS, f"a number from {LEAST_EPS:g} to {1 / LEAST_EPS:g}"),
        ("momentum", 0 < request.momentum <= 1, "a number above 0, at most 1"),
        ("seed", 0 <= request.seed < SEEDS_BELOW, f"a whole number of at least 0, below {SEEDS_BELOW:,}"),
    ):
        if not holds:
            raise ConfigError(f"--{name}: expected {expected}, found {getattr(request, name)!r}")
    return request


def _given_batch(words: LessonOptions) -> tuple[Batch, str | None]:
    if words.input is not None:
        if words.example is not None:
            raise ConfigError("--input and --example: choose one of them")
        return read_matrix(words.input), None
    if words.example is None:
        return BUILT_IN, None
    name = words.example
    if name not in EXAMPLES:
        raise ConfigError(f'--example: expected {" or ".join(EXAMPLES)}, found "{name}"')
    return EXAMPLES[name], name


def _parameters(name: str, text: str, batch: Batch) -> tuple[float, ...]:
    width = len(batch.names)
    values = []
    words = text.split(";") if ";" in text else text.split(",") if "," in text else text.split() or [text]
    decimal = "," if ";" in text and "," in text else "."
    for word in map(str.strip, words):
        value = number_in(word, decimal)
        if value is None or not math.isfinite(value):
            raise ConfigError(
                f'--{name}: expected finite numbers with commas between them, such as 1.5,1,0.5; found "{brief(word)}"'
            )
        if abs(value) > LARGEST_PARAMETER:
            raise ConfigError(f"--{name}: expected numbers of at most {LARGEST_PARAMETER:g}, found {value!r}")
        values.append(value)
    if len(values) != width:
        raise ConfigError(
            f"--{name}: expected {width} {'number' if width == 1 else 'numbers'} with commas between them, one for "
            f"each feature of {batch.source}; found {len(values)}"
            + ("; decimal commas? Then stand semicolons between the numbers" if len(values) == 2 * width else "")
        )
    return tuple(values)
