"""From the words of the command line to a request, before anything heavy is loaded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from bnexp.config.wording import brief
from bnexp.errors import ConfigError, did_you_mean
from bnexp.lessons.matrix_file import Matrix, counted_names, number_in, read_matrix
from bnexp.lessons.request import Batch, Request
from bnexp.lessons.topics import ALIASES, TOPICS, Option

DEFAULT_EXAMPLE = "000"
LEAST_EPS = 1e-60
LARGEST_PARAMETER = 1e100
"""With these, and inputs of at most 1e150, no result has a size beyond float64."""
SEEDS_BELOW = 2**31
"""As `seed` of a config."""


@dataclass(frozen=True)
class Example:
    """A worked example that was published: rows, gamma and beta."""

    rows: tuple[tuple[float, ...], ...]
    gamma: tuple[float, ...]
    beta: tuple[float, ...]


EXAMPLES: dict[str, Example] = {
    "000": Example(((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12)), (1, 1, 1, 1), (0, 0, 0, 0)),
    # The article does not name its gamma and beta: they follow from its table.
    "002": Example(((1, 3, 2), (2, 4, 3), (3, 5, 4)), (1.5, 1, 0.5), (0.5, 0, -0.5)),
}


@dataclass(frozen=True)
class Words:
    """The options as they were typed; None for what was not."""

    example: str | None = None
    input: Path | None = None
    gamma: str | None = None
    beta: str | None = None
    eps: float | None = None
    momentum: float | None = None
    groups: int | None = None
    seed: int | None = None


def topic_named(name: str) -> str:
    """Return the topic that a person calls so: its own name, or that of its norm in a config.

    Raises:
        ConfigError: there is none; the nearest is named.
    """
    topic = ALIASES.get(name, name)
    if topic not in TOPICS:
        raise ConfigError(
            f'no lesson "{name}".{did_you_mean(name, TOPICS)} Lessons: {", ".join(TOPICS)}; '
            "`bnexp explain` says what each answers"
        )
    return topic


def request_of(topic: str, words: Words) -> Request:
    """Return what is asked of a topic.

    Raises:
        ConfigError: an option that the topic does not take, or values that cannot be taught on.
    """
    _refuse_foreign(topic, words)
    batch, published = _batch(words)
    return Request(
        batch=batch,
        as_published=published if words.eps in (None, Request.eps) else None,
        eps=Request.eps if words.eps is None else _eps(words.eps),
        momentum=Request.momentum if words.momentum is None else _momentum(words.momentum),
        groups=words.groups,
        seed=Request.seed if words.seed is None else _seed(words.seed),
    )


def _refuse_foreign(topic: str, words: Words) -> None:
    for name in get_args(Option):
        if getattr(words, name) is not None and name not in TOPICS[topic].options:
            takers = ", ".join(other for other, known in TOPICS.items() if name in known.options)
            raise ConfigError(
                f"--{name.replace('_', '-')}: the lesson {topic} does not take it; it belongs to {takers}"
            )


def _batch(words: Words) -> tuple[Batch, str | None]:
    """Return the matrix that is asked for, and the article whose numbers all of it are."""
    if words.input is not None:
        if words.example is not None:
            raise ConfigError("--input and --example: choose one of them")
        matrix = read_matrix(words.input)
        width = len(matrix.names)
        return _with_parameters(matrix, str(words.input), words, [1.0] * width, [0.0] * width), None
    name = DEFAULT_EXAMPLE if words.example is None else words.example
    if name not in EXAMPLES:
        known = " or ".join(EXAMPLES)
        raise ConfigError(f'--example: expected {known}, found "{name}"')
    example = EXAMPLES[name]
    matrix = Matrix(counted_names(len(example.gamma)), example.rows)
    batch = _with_parameters(matrix, f"example {name}", words, example.gamma, example.beta)
    same = (tuple(batch.gamma), tuple(batch.beta)) == (example.gamma, example.beta)
    return batch, name if same else None


def _with_parameters(matrix: Matrix, source: str, words: Words, gamma: Sequence[float], beta: Sequence[float]) -> Batch:
    """Return a matrix with the gamma and beta that were typed, or else these, (F,) each."""
    width = len(matrix.names)
    return Batch(
        source,
        matrix.rows,
        matrix.names,
        gamma if words.gamma is None else _parameters("--gamma", words.gamma, width, source),
        beta if words.beta is None else _parameters("--beta", words.beta, width, source),
    )


def _parameters(flag: str, text: str, width: int, source: str) -> Sequence[float]:
    values = [_number(flag, word.strip()) for word in text.split(",")]
    if len(values) != width:
        raise ConfigError(
            f"{flag}: expected {width} {'number' if width == 1 else 'numbers'} with commas between them, one for each "
            f"feature of {source}; found {len(values)}"
        )
    return values


def _number(flag: str, word: str) -> float:
    value = number_in(word)
    if value is None or not math.isfinite(value):
        raise ConfigError(
            f'{flag}: expected finite numbers with commas between them, such as 1.5,1,0.5; found "{brief(word)}"'
        )
    if abs(value) > LARGEST_PARAMETER:
        raise ConfigError(f"{flag}: expected numbers of at most {LARGEST_PARAMETER:g}, found {value!r}")
    return value


def _seed(value: int) -> int:
    if not 0 <= value < SEEDS_BELOW:
        raise ConfigError(f"--seed: expected a whole number of at least 0, below {SEEDS_BELOW:,}, found {value}")
    return value


def _eps(value: float) -> float:
    if not LEAST_EPS <= value <= 1 / LEAST_EPS:
        raise ConfigError(f"--eps: expected a number from {LEAST_EPS:g} to {1 / LEAST_EPS:g}, found {value!r}")
    return value


def _momentum(value: float) -> float:
    if not 0 < value <= 1:
        raise ConfigError(f"--momentum: expected a number above 0, at most 1, found {value!r}")
    return value
