"""Holds what was read against the form that it must have, place by place."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

_MOST = 2**63


@dataclass(frozen=True)
class Maybe:
    """None, or what has this form."""

    form: Any


@dataclass(frozen=True)
class Each:
    """A sequence of any length, whose every value has this form."""

    form: Any


class Tensors:
    """A mapping of any keys to tensors of any kind."""


def refuse_other_form(found: Any, form: Any, place: str = "") -> None:
    """Refuse what has not the form of an example.

    Mappings must have its keys, sequences its length, tensors its dtype and shape, and all else its type; a whole
    number is 0 or more. `Maybe`, `Each` and `Tensors` leave it open.

    Raises:
        ValueError: the first place that differs, what is there and what was expected.
    """
    if isinstance(form, Maybe):
        if found is not None:
            refuse_other_form(found, form.form, place)
    elif isinstance(form, Each):
        _expect(isinstance(found, list | tuple), found, "several values", place)
        for number, value in enumerate(found):
            refuse_other_form(value, form.form, _below(place, number))
    elif isinstance(form, Tensors):
        tensors = isinstance(found, dict) and all(isinstance(value, Tensor) for value in found.values())
        _expect(tensors, found, "tensors", place)
    elif isinstance(form, dict):
        _expect(isinstance(found, dict), found, "keys and values", place)
        for key in [*form, *found]:
            _expect(key in found, "nothing", "a value", _below(place, key))
            _expect(key in form, found[key], "nothing", _below(place, key))
            refuse_other_form(found[key], form[key], _below(place, key))
    elif isinstance(form, list | tuple):
        alike = isinstance(found, list | tuple) and len(found) == len(form)
        _expect(alike, found, f"{len(form)} values", place)
        for number, value in enumerate(found):
            refuse_other_form(value, form[number], _below(place, number))
    else:
        _expect(_words(found) == _words(form), found, _words(form), place)
        _expect(not isinstance(found, int) or 0 <= found < _MOST, found, "a whole number from 0", place)


def _below(place: str, key: object) -> str:
    return f"{place}.{key}" if place else str(key)


def _expect(held: bool, found: Any, expected: str, place: str) -> None:
    if not held:
        shown = _words(found) if isinstance(found, Tensor) else str(found)[:40]
        raise ValueError(f"{place}: found {shown}, expected {expected}")


def _words(value: Any) -> str:
    """Return the kind of a value: of a tensor its dtype and shape, of anything else its type."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return type(value).__name__
