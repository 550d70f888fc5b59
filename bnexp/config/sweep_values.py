"""Values of a sweep: in our names, compared as a config would, and with the places where they stand."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from bnexp.config.aliases import block_line, filling, kind_name
from bnexp.config.keys import spots_at
from bnexp.config.nested import Place


def value_key(value: object) -> str:
    """Return a text that two values share where they are equal in a config: 1 and 1.0, but not 1 and true."""

    def plain(part: Any) -> Any:
        if isinstance(part, dict):
            return {str(key): plain(entry) for key, entry in part.items()}
        if isinstance(part, list | tuple):
            return [plain(entry) for entry in part]
        return int(part) if isinstance(part, float) and part.is_integer() else part

    return json.dumps(plain(value), sort_keys=True)


@cache
def _chooses(key: str) -> tuple[str, ...]:
    """Return the kinds between which a key chooses, such as those of `optimizer.name`; () for every other key."""
    section, _, last = key.partition(".")
    spots = spots_at((section,))
    return tuple(str(spot.variant) for spot in spots) if spots and spots[0].discriminator == last else ()


def settled_value(key: str, value: Any) -> Any:
    """Return a value of a key in our names, so that `BatchNorm1d` and `bn` are one."""
    if isinstance(value, dict):
        return {name: settled_value(f"{key}.{name}", entry) for name, entry in value.items()}
    if key in ("model.norm", "model.activation"):
        return filling(key.partition(".")[2], value)
    if key == "model.block" and isinstance(value, str):
        return " -> ".join(piece.strip() for piece in str(block_line(value)).split("->"))
    section, _, last = key.partition(".")
    return kind_name(section, last, value, _chooses(key)) if _chooses(key) else value


def places_in(value: object, above: Place = ()) -> Iterator[Place]:
    """Yield the places within a value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (*above, key)
        yield from places_in(entry, (*above, key))


def leaves_of(values: Mapping[Any, Any], place: Place) -> Iterator[tuple[str, Any, Place]]:
    """Yield the leaves of nested sections, each with its dotted key and the place where it is written."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            for below, leaf, written in leaves_of(value, (*place, key)):
                yield f"{key}.{below}", leaf, written
        else:
            yield str(key), value, (*place, key)
