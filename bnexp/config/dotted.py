"""Nested sections as one list of dotted keys."""

from collections.abc import Iterator, Mapping
from typing import Any


def dotted(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested sections as (`section.key`, value); an empty section is a leaf."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{above}{key}.")
        else:
            yield above + key, value
