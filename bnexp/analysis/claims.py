"""Find the arms and the metric that the claims of a sweep are about."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bnexp.analysis.points import Direction, MetricPoint, parse_point
from bnexp.config.claims import ClaimSection, arms_named
from bnexp.config.metrics import refuse_unlogged
from bnexp.config.probes_section import ProbesConfig
from bnexp.config.sweep_values import value_key
from bnexp.config.wording import brief, one_of, shown
from bnexp.errors import ConfigError, did_you_mean

Kind = Literal["pair", "order", "trend"]


@dataclass(frozen=True)
class Claim:
    """A claim, with all that it is about.

    Attributes:
        sentence: as it was written.
        direction: the better side of the metric; of a trend, where the metric is said to go.
        arms: by name; of a pair or an order the best first, of a trend along the axis.
        at_least: the smallest effect that matters, in the unit of the metric.
    """

    sentence: str
    kind: Kind
    point: MetricPoint
    direction: Direction
    arms: tuple[str, ...]
    at_least: float


def find_claims(
    claims: Sequence[ClaimSection],
    arms: Mapping[str, Mapping[str, Any]],
    probes: Mapping[str, ProbesConfig],
    at: Callable[[int], str],
) -> list[Claim]:
    """Return the claims with their arms.

    Args:
        claims: of the sweep file.
        arms: the values that vary, by the name of each arm, in the order of the sweep.
        probes: the probes of each arm.
        at: says where a claim stands, by its number from 0.

    Raises:
        ConfigError: metrics that cannot be read, arms that are not there; all of them at once.
    """
    found, problems = list[Claim](), list[str]()
    for index, claim in enumerate(claims):
        try:
            point = parse_point(claim.metric)
            names = _along(claim, arms) if claim.over else _named(claim, arms)
            for name in names:
                refuse_unlogged(point.metric, probes[name])
            if point.unit == "fraction" and claim.at_least > 1:
                raise ConfigError(
                    f"at_least: {claim.at_least:g}: {point.metric} is a fraction of 1, and no effect is as large; "
                    f"{claim.at_least:g} percentage points are written {claim.at_least / 100:g}"
                )
            kind: Kind = "trend" if claim.over else "order" if claim.order else "pair"
            found.append(Claim(claim.claim, kind, point, _direction(claim, point), names, claim.at_least))
        except ConfigError as error:
            problems.append(f"{at(index)}: claims[{index}]: {error}")
    if problems:
        raise ConfigError("\n".join(problems))
    return found


def _direction(claim: ClaimSection, point: MetricPoint) -> Direction:
    better = claim.direction or point.direction
    if not claim.over and point.direction not in (None, better):
        raise ConfigError(f"direction: {better}: of {point}, {point.direction} is better; leave direction out")
    if better is None:
        raise ConfigError(
            f"{point}: which side is better is not known; expected direction: up where more is better, or down"
        )
    return better


def _named(claim: ClaimSection, arms: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    names = tuple(arms_named(claim))
    for name in names:
        if name not in arms:
            parts = sorted(re.split(r"\s*,\s*", name.strip()))
            same = [arm for arm in arms if sorted(arm.split(",")) == parts]
            hint = did_you_mean((same or [name])[0], arms) or f" Arms: {one_of(list(arms), 8)}"
            raise ConfigError(f"no arm is called {brief(name)}.{hint}")
    return names


def _varied(key: str, varied: Sequence[str]) -> str:
    """Return the key that varies and is called so, in full or by its last part as in the names of arms."""
    found = [key] if key in varied else [one for one in varied if one.endswith(f".{key}")]
    if len(found) != 1:
        hint = did_you_mean(key, varied) or f" Keys that vary: {one_of(list(varied), 8)}"
        raise ConfigError(f"{key} {'may be several keys' if found else 'is the same in every arm'}.{hint}")
    return found[0]


def _along(claim: ClaimSection, arms: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the arms along an axis, by number or else as the sweep has them."""
    varied = list(dict.fromkeys(key for values in arms.values() for key in values))
    axis = _varied(str(claim.over), varied)
    wanted = {_varied(key, varied): value_key(value) for key, value in claim.where.items()}
    chosen = {
        name: values[axis]
        for name, values in arms.items()
        if axis in values and all(key in values and value_key(values[key]) == one for key, one in wanted.items())
    }
    kinds = {value_key(value) for value in chosen.values()}
    if len(kinds) < len(chosen):
        others = [key for key in varied if key not in (axis, *wanted)]
        example = f"where: {{{others[0] if others else 'KEY'}: VALUE}}"
        raise ConfigError(f"over {axis}: several arms share a value of it; expected {example} beside it")
    if len(chosen) < 3:
        said = "".join(f" where {key} is {shown(value)}" for key, value in claim.where.items())
        raise ConfigError(f"over {axis}{said}: {len(chosen)} arms; expected three values or more, or better and than")
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in chosen.values()):
        return tuple(sorted(chosen, key=lambda name: float(chosen[name])))
    return tuple(chosen)
