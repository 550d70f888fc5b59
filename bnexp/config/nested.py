"""A config as nested values: the keys in it, and how large one may be. Who reads only these does not wait for yaml."""

from collections.abc import Mapping
from typing import Any

MAX_BYTES = 100_000
"""Bytes of a config's file at most."""
Place = tuple[str | int, ...]
"""The keys and numbers that lead to a value, such as ("data", "batch_size")."""


def dotted(values: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    """Return the leaves of nested sections as (`section.key`, value); an empty section is a leaf."""
    leaves = list[tuple[str, Any]]()
    for key, value in values.items():
        if value and isinstance(value, dict):
            leaves += dotted(value, f"{above}{key}.")
        else:
            leaves.append((above + key, value))
    return leaves
