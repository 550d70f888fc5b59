"""The sweep file: every key with its type, default and meaning. `docs/sweep.md` is generated from here."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from pydantic import Field

from bnexp.config.claims import ClaimSection
from bnexp.config.schema import Config
from bnexp.config.section import Float, Int, Section
from bnexp.errors import nearest

MOST_RUNS = 10_000
"""Runs of a sweep that does not say how many it means, in `budget.runs`."""
FIRST_TUNING_SEED = 10_000
"""Seeds of tuning runs begin here, so that no seed of a final run is among them."""
TUNING = "tuning"
"""The role of a run that only serves to choose values, and the folder of these runs, beside those of the arms."""
_MAX_SEED, _MOST_LISTED = 2**31, 100_000
_RANGE = re.compile(r"(\d{1,10})(?:-|\.\.|:)(\d{1,10})")
_VARYING = ("axes", "arms", "fixed", "exclude", "tune")
_SECTIONS = Config.model_fields.keys() - {"name", "seed"}


class BudgetSection(Section):
    """What the whole sweep may cost."""

    runs: Int | None = Field(None, ge=1)
    """most runs, those of the tuning too; a sweep that has more is refused (not set: 10_000)"""
    minutes: Float | None = Field(None, gt=0)
    """minutes after which no more runs are started; those that run are interrupted, and can be resumed"""


class ResourcesSection(Section):
    """What one run takes on a cluster."""

    cpus: Float = Field(1, gt=0)
    """CPU cores"""
    gpus: Float = Field(0, ge=0)
    """GPUs; 0.25 lets four runs share one"""
    memory_gb: Float | None = Field(None, gt=0)
    """memory in GB"""


class SweepFile(Section):
    """A question, and the runs that answer it: a config, what varies, and how often."""

    question: str | None = None
    """what the sweep is to answer, in words"""
    base: str
    """the config that every arm changes, relative to this file"""
    fixed: dict[str, Any] = Field({})
    """keys of the config, and the value that each has in every arm"""
    axes: dict[str, tuple[Any, ...]] = Field({})
    """keys of the config, and the values of each: every combination of them is an arm. A section is a key, too:
    `schedule: [{name: constant}, {name: step, milestones: [5]}]`"""
    arms: dict[str, dict[str, Any]] = Field({})
    """named bundles of keys that move together, combined with the axes; the name stands first in the arm's"""
    seeds: Int | tuple[Int, ...] | str = 5
    """seeds of every arm: how many, from 0 on, or a list, or a range such as 0-4"""
    exclude: tuple[dict[str, Any], ...] = ()
    """rules; an arm is left out where it has all that one of them says, key by key: a value, or one of a list"""
    tune: dict[str, tuple[Any, ...]] = Field({})
    """keys and candidates: for every arm the best on the validation part is chosen, then trained with fresh seeds"""
    tune_seeds: Int = Field(2, ge=1, le=1000)
    """seeds of every candidate, from 10_000 on"""
    claims: tuple[ClaimSection, ...] = ()
    """what the runs are to show; `bnexp verdict` judges each: supported, refuted, or undecided"""
    budget: BudgetSection = BudgetSection()
    """what the whole sweep may cost"""
    resources: ResourcesSection = ResourcesSection()
    """what one run takes on a cluster"""


def is_sweep(values: Mapping[Any, Any]) -> bool:
    """Tell whether the keys of a file are those of a sweep, also where one of them is mistyped over a base alone."""
    if any(key in values for key in _VARYING) or ("seeds" in values and "base" in values):
        return True
    alone = "base" in values and _SECTIONS.isdisjoint(values)
    others = [str(key) for key in values if key not in ("base", "name", "seed")]
    return alone and any(nearest(key, (*_VARYING, "question")) for key in others)


def seeds_of(seeds: int | Sequence[int] | str) -> Sequence[int]:
    """Return the seeds that a number, a list or a text such as `0-4`, `1,2` or `0-2,7` says.

    Raises:
        ValueError: what was expected, where it says none.
    """
    if isinstance(seeds, str):
        words = re.split(r"[\s,;]+", seeds.strip(" \t\n,;[]()"))
        if len(words) == 1 and seeds.strip() == words[0] and re.fullmatch(r"-?\d{1,10}", words[0]):
            return seeds_of(int(words[0]))
        ranges = [_checked_seeds(_range_of(word)) for word in words]
        if len(ranges) > 1 and sum(map(len, ranges)) > _MOST_LISTED:
            raise ValueError(f"at most {_MOST_LISTED:,} seeds beside each other")
        return ranges[0] if len(ranges) == 1 else _checked_seeds([*chain(*ranges)])
    if isinstance(seeds, int):
        if seeds < 1:
            raise ValueError("at least 1, the number of seeds")
        return _checked_seeds(range(seeds))
    return _checked_seeds(seeds)


def _range_of(word: str) -> range:
    """Return the seeds that one word says, `0-4` or `7`."""
    if re.fullmatch(r"-?\d{1,10}", word):
        return range(int(word), int(word) + 1)
    match = _RANGE.fullmatch(word)
    if match is None:
        raise ValueError("how many, such as 5, a list, such as [0, 1, 2], or a range, such as 0-4")
    if int(match[2]) < int(match[1]):
        raise ValueError("a range whose first seed is below its last, such as 0-4")
    return range(int(match[1]), int(match[2]) + 1)


def largest(seeds: Sequence[int]) -> int:
    """Return the largest of some seeds, without a walk through a range."""
    return seeds[-1] if isinstance(seeds, range) else max(seeds)


def _checked_seeds(seeds: Sequence[int]) -> Sequence[int]:
    if not seeds:
        raise ValueError("at least one seed, such as 0-4")
    if (seeds[0] if isinstance(seeds, range) else min(seeds)) < 0:
        raise ValueError("seeds of at least 0")
    if largest(seeds) >= _MAX_SEED:
        raise ValueError(f"seeds below {_MAX_SEED:,}")
    if not isinstance(seeds, range) and (twice := [seed for seed, times in Counter(seeds).items() if times > 1]):
        raise ValueError(f"each seed once; {twice[0]} stands twice")
    return seeds
