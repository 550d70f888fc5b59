"""Check the state of an object in a checkpoint, plain values and tensors, before it is loaded.

Such an object has torch's own pair of methods, `state_dict` and `load_state_dict`. Its fresh state is the example that
a stored one is compared with. `Maybe`, `Each` and `Tensors` leave open what depends on how far the training has come.
"""

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from torch import Tensor

_MOST = 2**63


@dataclass(frozen=True)
class Maybe:
    """Allow None in place of a value of this form."""

    form: Any


@dataclass(frozen=True)
class OrAbsent:
    """Allow a key of this form to be missing, as in checkpoints of earlier versions, or in those of the first step."""

    form: Any


@dataclass(frozen=True)
class Each:
    """Allow a sequence of any length, each value of this form."""

    form: Any


class Tensors:
    """Allow a mapping of any keys to tensors of any dtype and shape."""


class Anything:
    """Allow any value: this part is not loaded."""


def refuse_other_form(found: Any, form: Any, place: str = "") -> None:
    """Raise a ValueError where a state does not have the form of an example.

    Mappings must have its keys, sequences its length, tensors its dtype and shape, and all else its type; a whole
    number is 0 or more. The classes above make exceptions.

    Raises:
        ValueError: the first place that differs, what is there and what was expected.
    """
    match form:
        case Anything():
            pass
        case Maybe() | OrAbsent():
            if not (isinstance(form, Maybe) and found is None):
                refuse_other_form(found, form.form, place)
        case Each():
            _expect(isinstance(found, list | tuple), found, "several values", place)
            _refuse_other_values(found, [form.form] * len(found), place)
        case Tensors():
            tensors = isinstance(found, dict) and all(isinstance(value, Tensor) for value in found.values())
            _expect(tensors, found, "tensors", place)
        case dict():
            _refuse_other_keys(found, form, place)
        case list() | tuple():
            alike = isinstance(found, list | tuple) and len(found) == len(form)
            _expect(alike, found, f"{len(form)} values", place)
            _refuse_other_values(found, form, place)
        case _:
            _expect(_kind(found) == _kind(form), found, _kind(form), place)
            _expect(not isinstance(found, int) or 0 <= found < _MOST, found, "a whole number from 0", place)


def _refuse_other_values(found: Sequence[Any], forms: Sequence[Any], place: str) -> None:
    for number, (value, form) in enumerate(zip(found, forms, strict=True)):
        refuse_other_form(value, form, _below(place, number))


def _refuse_other_keys(found: Any, form: Mapping[Any, Any], place: str) -> None:
    _expect(isinstance(found, dict), found, "keys and values", place)
    absent = {key for key, own in form.items() if isinstance(own, OrAbsent) and key not in found}
    for key in dict.fromkeys([*form, *found]):
        if key in absent:
            continue
        _expect(key in found, "nothing", "a value", _below(place, key))
        _expect(key in form, found[key], "nothing", _below(place, key))
        refuse_other_form(found[key], form[key], _below(place, key))


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
    """Return the value of type `kind` that `to_plain` was given."""
    if plain is None:
        return None
    kind = _without_none(kind)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: from_plain(hints[name], value) for name, value in plain.items()})  # type: ignore[operator]
    return plain


def form_of_type(kind: Any) -> Any:
    """Return the form of values of a type after `to_plain`."""
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
