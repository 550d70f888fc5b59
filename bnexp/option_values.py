"""Read what stands behind an option: seeds, workers, stacks, shards, names."""

import re
import shlex
from collections.abc import Sequence
from typing import Literal

from bnexp.errors import ConfigError

_MOST_SEEDS = 1000
_SEEDS = re.compile(r"(\d{1,10})(?:(?:-|\.\.|:)(\d{1,10}))?")


def read_workers(text: str) -> int | None:
    """Return how many workers `--workers` asks for; None for `auto`.

    Raises:
        ConfigError: it is neither.
    """
    if text.strip().lower() == "auto":
        return None
    if not re.fullmatch(r"\d{1,4}", text.strip()) or int(text) == 0:
        raise ConfigError(f"--workers {shlex.quote(text)}: expected auto, or a number of workers such as --workers 4")
    return int(text)


def read_stack(text: str) -> int | Literal["auto"]:
    """Return how many seeds `--stack` trains together: 1 for `off`.

    Raises:
        ConfigError: it is neither a number from 2 on, nor auto or off.
    """
    word = text.strip().lower()
    if word == "auto":
        return "auto"
    if word == "off":
        return 1
    if not re.fullmatch(r"\d{1,4}", word) or int(word) < 2:
        raise ConfigError(
            f"--stack {shlex.quote(text)}: expected auto, off, or a number of seeds from 2 on such as --stack 8"
        )
    return int(word)


def read_shard(text: str | None) -> tuple[int, int] | None:
    """Return the number of a part, from 1 on, and how many parts `--shard 2/4` says.

    Raises:
        ConfigError: it says neither.
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ConfigError(
            f"--shard {shlex.quote(text)}: expected I/N with I from 1 to N, such as --shard 1/4 for the first of four"
        )
    return int(match[1]), int(match[2])


def read_seeds(texts: Sequence[str]) -> list[int] | None:
    """Return all seeds that --seed gives: `--seed 1 --seed 2`, `--seed 1,2`, `--seed "1 2"` and `--seed 0-4`.

    Raises:
        ConfigError: something that is no seed, or a seed that stands twice.
    """
    seeds: list[int] = []
    for word in (word for text in texts for word in words_in(text)):
        match = _SEEDS.fullmatch(word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if last < first:
            expected = "a whole number, several as 1,2,3, or a range as 0-4, the first below the last"
            raise ConfigError(f"--seed: expected {expected}, found {word or repr(' '.join(texts))}")
        if last - first + len(seeds) >= _MOST_SEEDS:
            raise ConfigError(f"--seed {word}: expected at most {_MOST_SEEDS:,} seeds")
        seeds += range(first, last + 1)
    twice = next((seed for seed in seeds if seeds.count(seed) > 1), None)
    if twice is not None:
        raise ConfigError(f"--seed: {twice} stands twice; expected each seed once")
    return seeds or None


def words_in(text: str) -> list[str]:
    """Split a list as people type one: `a,b`, `a b`, `[a, b]`."""
    return re.split(r"[\s,;]+", text.strip(" \t\n,;[]()"))


def read_names(texts: Sequence[str]) -> list[str]:
    """Return the names in a repeatable option or argument, each once: `a b`, `a,b`, `--probe a --probe b`."""
    return list(dict.fromkeys(word for text in texts for word in words_in(text)))
