"""Names of arms, made of what varies: short, safe as a folder everywhere, and the same whatever stands beside them."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from bnexp.config.aliases import ARROW
from bnexp.config.keys import SECTIONS, spots_at
from bnexp.config.naming import LONGEST, run_name_of

_DIGEST = 8


@cache
def _positions() -> dict[str, int]:
    """Return every key of the config with its position in the schema."""
    keys = dict.fromkeys(spot.key(name) for spot in SECTIONS.values() for name in spot.section.model_fields)
    return {key: position for position, key in enumerate(keys)}


def schema_order(key: str) -> tuple[int, str]:
    """Return where a key stands in the schema, to sort by."""
    return _positions().get(key, len(_positions())), key


def label_of(key: str, value: Any) -> str:
    """Return a part of an arm's name, such as `lr=0.1` for `optimizer.lr: 0.1`."""
    return f"{_short_key(key)}={_slug(key, value)}"


@cache
def _short_key(key: str) -> str:
    """Return the last words of a key that no other key of the schema ends with; `optimizer` for `optimizer.name`."""
    parts = key.removesuffix(".name").split(".")
    for length in range(1, len(parts) + 1):
        suffix = ".".join(parts[-length:])
        others = [other for other in _positions() if f".{other}".endswith(f".{suffix}") and other != key]
        if not others or key.endswith(".name"):
            return suffix
    return key


def _slug(key: str, value: Any) -> str:
    """Return a value in letters that a name may have: `linear-bn-relu`, `256-256`, `gn-groups8`, `1e-05`."""
    if isinstance(value, dict):
        chooses = {spot.discriminator for spot in spots_at(tuple(key.split(".")))}
        parts = [("" if name in chooses else name) + _slug(f"{key}.{name}", part) for name, part in value.items()]
        return "-".join(parts) or "none"
    if isinstance(value, list | tuple):
        nested = any(isinstance(part, list | tuple) for part in value)
        return ("_" if nested else "-").join(_slug(key, part) for part in value) or "none"
    if value is None:
        return "default"
    if isinstance(value, bool | int):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return (short if float(short) == value else repr(value)).replace("+", "")
    spelled = re.sub(r"[^\w.+-]+", "-", ARROW.sub("-", str(value)).replace("=", ""))
    return run_name_of(re.sub("-{2,}", "-", spelled).strip("-._")) if spelled.strip("-._") else "none"


def unique_names(labels: Sequence[str], keyed: Sequence[Mapping[str, str]]) -> list[str]:
    """Return names of folders for labels: at most 100 letters, and no two alike on a system that knows no case.

    Where two would be, or where one is too long, it ends with a digest of the values that it stands for.
    """
    safe = [run_name_of(label) for label in labels]
    times = Counter(name.lower() for name in safe)
    return [
        name if times[name.lower()] == 1 and name == label else f"{name[: LONGEST - _DIGEST - 1]}-{_digest(values)}"
        for name, label, values in zip(safe, labels, keyed, strict=True)
    ]


def _digest(values: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:_DIGEST]
