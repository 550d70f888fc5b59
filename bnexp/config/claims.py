"""The claims of a sweep file: what its runs are to show, written down before they are made."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError

from bnexp.config.nested import Place
from bnexp.config.section import Float, Section
from bnexp.config.wording import expectation, number_meant, shown
from bnexp.errors import did_you_mean

EXAMPLE = '{claim: bn is ahead, metric: "accuracy/val:last", better: norm=bn, than: norm=none, at_least: 0.02}'
_SHAPES = "better and than for two arms, order for several, or over for an axis"


class ClaimSection(Section):
    """What the runs are to show: that one arm is ahead of another, an order of several, or a trend over an axis."""

    claim: str
    """the sentence that is to be judged"""
    metric: str
    """a logged metric and its point, such as `accuracy/val:last`, `loss/train:min` or `accuracy/val:to(0.9)`"""
    at_least: Float = Field(ge=0)
    """the smallest effect that matters, in the unit of the metric: 0.02 are two percentage points of accuracy"""
    better: str | None = None
    """the arm that is said to be ahead, by its name in the sweep"""
    than: str | None = None
    """the arm that it is said to be ahead of"""
    order: tuple[str, ...] = ()
    """three arms or more, the best first: each is ahead of the next by `at_least`"""
    over: str | None = None
    """an axis with three values or more: by `at_least` the metric rises, or falls, from its first value to its last"""
    where: dict[str, Any] = Field({})
    """with `over`, what tells the arms that are meant from others: keys that vary, and their values"""
    direction: Literal["up", "down"] | None = None
    """the better side of the metric, where it is not known; with `over`, whether the metric is said to rise or fall"""


def problems_of(claims: object) -> Iterator[tuple[Place, str]]:
    """Yield what is wrong with the claims of a sweep file, each with its place below `claims`."""
    if not isinstance(claims, list) or not claims:
        yield (), f"claims: expected a list, such as [{EXAMPLE}], found {shown(claims) if claims else 'nothing'}"
        return
    for index, values in enumerate(claims):
        where = f"claims[{index}]"
        if not isinstance(values, dict):
            yield (index,), f"{where}: expected such as {EXAMPLE}, found {shown(values)}"
            continue
        wrong = list(_wrong_keys(values, where))
        yield from (((index, *place), sentence) for place, sentence in wrong)
        if not wrong:
            yield from (((index,), f"{where}: {sentence}") for sentence in _wrong_shape(values))


def _wrong_keys(values: Mapping[str, Any], where: str) -> Iterator[tuple[Place, str]]:
    try:
        ClaimSection.model_validate(values)
    except ValidationError as error:
        for detail in error.errors():
            place, key = detail["loc"], str(detail["loc"][0])
            if detail["type"] == "missing":
                meaning = ClaimSection.model_fields[key].description
                yield (), f"{where}: {key} is missing: {meaning}; expected such as {EXAMPLE}"
            elif detail["type"] == "extra_forbidden":
                known = ClaimSection.model_fields
                hint = did_you_mean(key, known) or f" Known: {', '.join(known)}"
                yield place, f"{where}: unknown key {key}.{hint}"
            else:
                found = shown(detail["input"])
                hint = number_meant(detail["input"], place)
                yield place, f"{where}: {key}: expected {expectation(detail)}, found {found}{hint}"


def _wrong_shape(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the keys that say what kind of claim it is."""
    pair = [key for key in ("better", "than") if values.get(key) is not None]
    kinds = [*(["better"] if pair else []), *(key for key in ("order", "over") if values.get(key))]
    if not kinds:
        yield f"says nothing of arms; expected {_SHAPES}"
    elif len(kinds) > 1:
        yield f"{' and '.join(kinds)} stand together; expected one of them: {_SHAPES}"
    elif len(pair) == 1:
        yield f"{pair[0]} without {'than' if pair[0] == 'better' else 'better'}; expected both"
    if pair and values.get("better") == values.get("than"):
        yield f"better and than are both {values['than']}; expected two arms"
    named = values.get("order") or ()
    if named and (len(named) < 3 or len(set(named)) < len(named)):
        yield "order: expected three arms or more, each once; better and than say it of two"
    if values.get("where") and not values.get("over"):
        yield "where without over; expected it beside an axis"
    if values.get("over") and values.get("direction") is None:
        yield "over without direction; expected direction: up where the metric is said to rise along it, or down"


def arms_named(claim: ClaimSection) -> Sequence[str]:
    """Return the arms that a claim names, the best first; none of a claim over an axis."""
    return claim.order or tuple(name for name in (claim.better, claim.than) if name is not None)
