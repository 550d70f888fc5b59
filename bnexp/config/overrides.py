"""Lay settings over the values of a config as one layer: what `--set` says, and what a sweep gives to an arm."""

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from bnexp.config.keys import is_known
from bnexp.config.kinds import leave_behind
from bnexp.config.nested import Place, dotted
from bnexp.config.wording import brief, shown
from bnexp.config.yaml_text import MAX_DEPTH, dump_yaml, read_yaml
from bnexp.errors import ConfigError

_COLON = re.compile(r"([a-z_.]+):\s*([^\s:]+)")
OF_PYTHON = "overrides["
"""How the places begin of what is set in Python."""
_NEXT_KEY = re.compile(r"[,;\s]\s*([a-z_]+(?:\.[a-z_]+)+)\s*=")
"""Another key behind the value of a --set."""


class Setting(NamedTuple):
    """A value to be laid over a config, such as a --set: where it stands, its key in parts, and the places in it."""

    at: str
    parts: list[str]
    value: Any
    places: Iterable[Place]


def lay_over(
    values: dict[str, Any],
    origins: dict[Place, str],
    settings: Sequence[Setting],
    flags: Mapping[str, object],
    notes: list[str],
) -> None:
    """Lay all settings over the values of the files, as one layer."""
    refuse_contradictions(settings, flags)
    together: dict[str, Any] = {}
    for setting in settings:
        nested = setting.value
        for part in reversed(setting.parts):
            nested = {part: nested}
        merge(together, copy.deepcopy(nested))
    notes += leave_behind(values, together, origins)
    for setting in settings:
        _lay_one(values, origins, setting)


def read_override(override: str) -> Setting:
    """Read one --set; its value is YAML."""
    key, equals, text = override.partition("=")
    parts, at = key.strip().split("."), f"--set {brief(override, 200)}"
    if not equals or not all(parts) or len(parts) > MAX_DEPTH:
        known = not equals and is_known(tuple(parts))
        example = f"{key.strip()}=VALUE" if known else "data.batch_size=32"
        if match := _COLON.fullmatch(override.strip()):
            example = "=".join(match.groups())
        raise ConfigError(f"{at}: expected key=value, such as --set {example}")
    if parts == ["base"]:
        raise ConfigError(f"{at}: base belongs in a file; give that file to the command instead")
    if not text.strip():
        raise ConfigError(f"{at}: no value after the =; {brief(key.strip())}=null takes the key back to its default")
    if (more := _NEXT_KEY.search(text)) and is_known(tuple(more[1].split("."))):
        both = f"--set {key}={text[: more.start()]} --set {text[more.start() + 1 :].strip()}"
        raise ConfigError(f"{at}: two keys in one; each has a --set of its own: {brief(both, 200)}")
    value, places = read_yaml(text, at, numbered=False)
    return Setting(at, parts, value, places)


def read_setting(key: str, value: object) -> Setting:
    """Read a key and its value that are set in Python."""
    at, parts = f'{OF_PYTHON}"{brief(str(key), 200)}"]', str(key).split(".")
    if not all(parts) or len(parts) > MAX_DEPTH or parts == ["base"]:
        raise ConfigError(f'{at}: expected a key of the config, such as "data.batch_size"')
    values, places = as_yaml({"value": value}, at)
    return Setting(at, parts, values["value"], [place[1:] for place in places if len(place) > 1])


def as_yaml(values: Mapping[str, object], source: str) -> tuple[dict[str, Any], dict[Place, str]]:
    """Return values of Python as a YAML file gives them, and their places; `source` is what messages call these.

    Raises:
        ConfigError: a value that YAML has no word for.
    """
    read, places = read_yaml(dump_yaml(_plain(values, source)), source, numbered=False)
    return read, places


def _plain(value: object, source: str) -> Any:
    """Return numbers of NumPy, paths and tuples as the numbers, texts and lists that they stand for."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {_plain(key, source): _plain(one, source) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_plain(one, source) for one in value]
    raise ConfigError(f"{source}: found a {type(value).__name__}; expected numbers, text, lists or keys and values")


def pieces(text: str) -> Iterator[str]:
    """Yield what stands between commas that are outside of brackets and quotes."""
    piece, depth, quote = "", 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        else:
            depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not quote and depth <= 0:
            yield piece
            piece = ""
        else:
            piece += letter
    yield piece


def refuse_contradictions(settings: Sequence[Setting], flags: Mapping[str, object]) -> None:
    """Refuse a key that the command line gives two values: neither would be the one that was meant.

    A key of a section that was set whole before it, such as `model.norm` behind `model={...}`, refines that.
    """
    given = {key: (f"--{key} {brief(str(flag))}", flag, 1) for key, flag in flags.items() if flag is not None}
    for setting in settings:
        depth = len(setting.parts)
        for key, value in _leaves(".".join(setting.parts), setting.value):
            first, before, level = given.get(key, (setting.at, value, depth))
            if before != value and level >= depth:
                raise ConfigError(f"{setting.at}: {brief(key)} has another value in {first}; expected one of them")
            given[key] = setting.at, value, depth


def _leaves(key: str, value: object) -> Iterable[tuple[str, object]]:
    return dotted(value, f"{key}.") if isinstance(value, dict) and value else [(key, value)]


def _lay_one(values: dict[str, Any], origins: dict[Place, str], setting: Setting) -> None:
    at, parts, value, places = setting
    section = values
    for depth, part in enumerate(parts[:-1], start=1):
        if section.get(part) is None:
            section[part] = {}
        section = section[part]
        if not isinstance(section, dict):
            above = brief(".".join(parts[:depth]))
            raise ConfigError(f"{at}: {above} is {shown(section)}, it has no keys below it")
        origins.setdefault(tuple(parts[:depth]), at)
    merge(section, {parts[-1]: copy.deepcopy(value)})
    origins.update({(*parts, *below): at for below in ((), *places)})


def merge(values: dict[str, Any], change: dict[str, Any]) -> None:
    """Lay `change` over `values`, key by key; everything but a mapping is replaced whole."""
    for key, new in change.items():
        old = values.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            merge(old, new)
        else:
            values[key] = new
