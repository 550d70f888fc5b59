"""Check the state of an object in a checkpoint, plain values and tensors, before it is loaded.

Such an object has torch's own pair of methods, `state_dict` and `load_state_dict`. Its fresh state is the example that
a stored one is held against. What depends on how far the training has come is left open by `Maybe`, `Each`, `Tensors`.
"""

import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from torch import Tensor

_MOST = 2**63


@dataclass(frozen=True)
class Maybe:
    """The form of None, or of what has this form."""

    form: Any


@dataclass(frozen=True)
class OrEmpty:
    """The form of an empty mapping, or of what has this form."""

    form: Any


@dataclass(frozen=True)
class OrAbsent:
    """The form of what has this form, or of a key that is not there: earlier versions did not have it yet."""

    form: Any


@dataclass(frozen=True)
class Each:
    """The form of a sequence of any length, whose every value has this form."""

    form: Any


class Tensors:
    """The form of a mapping of any keys to tensors of any kind."""


class Anything:
    """The form of a part that is not loaded."""


def refuse_other_form(found: Any, form: Any, place: str = "") -> None:
    """Refuse a state that does not have the form of an example.

    Mappings must have its keys, sequences its length, tensors its dtype and shape, and all else its type; a whole
    number is 0 or more. The classes above leave it open.

    Raises:
        ValueError: the first place that differs, what is there and what was expected.
    """
    if isinstance(form, Anything):
        return
    if isinstance(form, Maybe):
        if found is not None:
            refuse_other_form(found, form.form, place)
    elif isinstance(form, OrAbsent):
        refuse_other_form(found, form.form, place)
    elif isinstance(form, OrEmpty):
        if found != {}:
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
        absent = {key for key, own in form.items() if isinstance(own, OrAbsent) and key not in found}
        for key in dict.fromkeys([*form, *found]):
            if key in absent:
                continue
            _expect(key in found, "nothing", "a value", _below(place, key))
            _expect(key in form, found[key], "nothing", _below(place, key))
            refuse_other_form(found[key], form[key], _below(place, key))
    elif isinstance(form, list | tuple):
        alike = isinstance(found, list | tuple) and len(found) == len(form)
        _expect(alike, found, f"{len(form)} values", place)
        for number, value in enumerate(found):
            refuse_other_form(value, form[number], _below(place, number))
    else:
        _expect(_kind(found) == _kind(form), found, _kind(form), place)
        _expect(not isinstance(found, int) or 0 <= found < _MOST, found, "a whole number from 0", place)


def _below(place: str, key: object) -> str:
    return f"{place}.{key}" if place else str(key)


def _expect(held: bool, found: Any, expected: str, place: str) -> None:
    if not held:
        shown = _kind(found) if isinstance(found, Tensor) else str(found)[:40]
        raise ValueError(f"{place}: found {shown}, expected {expected}")


def _kind(value: Any) -> str:
    """Return the kind of a value: of a tensor its dtype and shape, of anything else its type."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return type(value).__name__


def to_plain(value: Any) -> Any:
    """Return a dataclass as a mapping of its fields, and so on below; anything else as it is, without a copy."""
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    return value


def from_plain(kind: Any, plain: Any) -> Any:
    """Return what `to_plain` was given, a value of this type: a dataclass, one or None, or a plain type."""
    if plain is None:
        return None
    kind = _without_none(kind)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: from_plain(hints[name], value) for name, value in plain.items()})  # type: ignore[operator]
    return plain


def form_of_type(kind: Any) -> Any:
    """Return the form of what `to_plain` gives for values of a type."""
    if type(None) in get_args(kind):
        return Maybe(form_of_type(_without_none(kind)))
    if is_dataclass(kind):
        forms = {name: form_of_type(hint) for name, hint in get_type_hints(kind).items()}
        later = {field.name for field in fields(kind) if field.default is None}
        return {name: OrAbsent(form) if name in later else form for name, form in forms.items()}
    if get_origin(kind) is tuple:
        return Each(form_of_type(get_args(kind)[0]))
    if get_origin(kind) in (dict, Mapping):
        return Tensors()
    return kind()


def _without_none(kind: Any) -> Any:
    """Return T for `T | None`, and any other type as it is."""
    options = get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return next(option for option in options if option is not type(None))
