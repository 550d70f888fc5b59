"""Loading: a YAML file, its `base:` files and the command line's `--set` become one checked `Config`."""

import copy
import glob
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from bnexp.config.data_section import OWN_PATHS, DataConfig, OwnData, WrittenPath
from bnexp.config.keys import is_known
from bnexp.config.kinds import leave_behind
from bnexp.config.messages import REPLACED, explain, unknown_key
from bnexp.config.naming import run_name_of
from bnexp.config.schema import Config
from bnexp.config.wording import brief, shown
from bnexp.config.yaml_text import (
    MAX_DEPTH,
    Place,
    dotted,
    dump_yaml,
    file_name,
    no_such_file,
    read_yaml,
    read_yaml_file,
)
from bnexp.errors import ConfigError

MAX_BASES = 20


_COLON = re.compile(r"([a-z_.]+):\s*([^\s:]+)")
_NEXT_KEY = re.compile(r"[,;\s]\s*([a-z_]+(?:\.[a-z_]+)+)\s*=")
"""Another key behind the value of a --set."""


class Loaded(NamedTuple):
    """A checked config, and what a person should know of how it was read, a sentence each."""

    config: Config
    notes: tuple[str, ...]


def load_config(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    name: str | None = None,
    seed: int | None = None,
) -> Config:
    """Read and check the config at `path`; see `load`, which gives the notes, too."""
    return load(path, overrides, name=name, seed=seed).config


def load(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    name: str | None = None,
    seed: int | None = None,
) -> Loaded:
    """Read and check the config at `path`.

    Args:
        path: the YAML file; its `base:` is read relative to it.
        overrides: `key=value` pairs, such as `data.batch_size=32`; the value is YAML, `null` takes a key back.
        name: replaces the config's, which defaults to the file's stem, made safe.
        seed: replaces the config's.

    Raises:
        ConfigError: every mistake at once, each with its place, what was found and what was expected.
    """
    notes: list[str] = []
    _refuse_no_file(path)
    values, origins = _read_with_bases(path, (), notes)
    _apply_overrides(values, origins, overrides, {"name": name, "seed": seed}, notes)
    _place_what_is_typed(values, origins)
    if values.get("name") is None:
        values["name"], origins[("name",)] = run_name_of(path.stem), f"{file_name(path)} (named after its file)"
        if name is None and values["name"] != path.stem:
            notes.append(f"{file_name(path)}: its runs are named {values['name']}; --name gives another name")
    for key, flag in (("name", name), ("seed", seed)):
        if flag is not None:
            values[key], origins[(key,)] = flag, f"--{key}"
    config = check_values(values, origins, file_name(path))
    return Loaded(_with_place_of_data(config, path.parent), tuple(notes))


def load_data(dataset: str, path: str | None, overrides: Sequence[str]) -> DataConfig:
    """Return the section `data` of a dataset, where `path` and `overrides` are typed and no file is.

    Raises:
        ConfigError: as `load`.
    """
    path_of = {} if path is None else {"path": path}
    values: dict[str, Any] = {**copy.deepcopy(_ANY_NETWORK), "data": {"dataset": dataset, "download": False, **path_of}}
    origins: dict[Place, str] = {("data", "path"): "--path"}
    _apply_overrides(values, origins, overrides, {}, [])
    _place_what_is_typed(values, origins)
    return check_values(values, origins, "data").data


_ANY_NETWORK = {
    "name": "data",
    "model": {"arch": "mlp", "hidden": [1], "block": "linear -> relu"},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "training": {"epochs": 1},
}
"""The rest of a config, where only its data are of interest."""


def _place_what_is_typed(values: dict[str, Any], origins: Mapping[Place, str]) -> None:
    """Make the paths of a set of the user's own absolute where they are typed and lead somewhere from here."""
    if isinstance(data := values.get("data"), dict):
        typed = [key for key in OWN_PATHS if origins.get(("data", key), "").startswith("--")]
        data.update({key: _beside(data[key], Path()) for key in typed if isinstance(data.get(key), str)})


def _refuse_no_file(path: Path) -> None:
    """Refuse what was meant for an option: `optimizer.lr=0.1` without --set, or the second number of `--seed 1 2`."""
    word = str(path)
    key, equals, _ = word.partition("=")
    if os.path.lexists(word[:4000]):
        return
    if equals and is_known(tuple(key.split("."))):
        raise ConfigError(f"{brief(word)}: no such file. A key is set with --set {shlex.quote(brief(word))}")
    parts = word.split(",")
    if len(parts) > 1 and all(map(os.path.isfile, parts)):
        raise ConfigError(f"{brief(word)}: no such file. Several files stand apart: {brief(shlex.join(parts), 200)}")
    if glob.has_magic(word):
        raise ConfigError(f"{brief(word)}: no such file. A pattern is filled in by the shell, without quotes")
    if word.isdecimal():
        raise ConfigError(f"{brief(word)}: no such file. Several seeds are one word, such as --seed 1,2 or --seed 0-4")


def check_stored(values: Mapping[str, Any], overrides: Sequence[str], source: str) -> Config:
    """Check the config of a run, where an earlier version may have written keys that are no more, under `overrides`."""
    changed, origins = copy.deepcopy(dict(values)), dict[Place, str]()
    for keys in REPLACED:
        _drop(changed, keys)
    _apply_overrides(changed, origins, overrides, {}, [])
    return check_values(changed, origins, source)


def check_values(values: dict[str, Any], origins: dict[Place, str], source: str) -> Config:
    """Check merged values against the schema; a null takes a key back to its default."""
    for keys in _nulls(values):
        if not is_known(keys):
            raise ConfigError(unknown_key(keys, origins, source))
    try:
        return Config.model_validate(_without_nulls(values))
    except ValidationError as error:
        raise ConfigError(explain(error, origins, source)) from None


def _with_place_of_data(config: Config, folder: Path) -> Config:
    """Return a config whose own data have absolute paths where they lie in this folder, and remember it where not."""
    data, paths = config.data, dict[str, WrittenPath]()
    if not isinstance(data, OwnData):
        return config
    for key in OWN_PATHS:
        if (written := getattr(data, key)) and not os.path.isabs(written):
            paths[key] = WrittenPath(_beside(written, folder))
            paths[key].folder = os.path.abspath(folder)
    return config.model_copy(update={"data": data.model_copy(update=paths)})


def _beside(path: str, folder: Path) -> str:
    """Return a relative `data.path` as an absolute one where it names something in a config's folder."""
    where = os.path.join(os.path.abspath(folder), path)
    return os.path.normpath(where) if path and not path.startswith("~") and os.path.lexists(where) else path


def dump_config(config: Config) -> str:
    """Write the resolved config as YAML: loading it again gives an equal `Config`."""
    return dump_yaml(config.model_dump(mode="json", exclude_none=True))


def _read_with_bases(path: Path, above: tuple[Path, ...], notes: list[str]) -> tuple[dict[str, Any], dict[Place, str]]:
    """Return the values of a file over its bases, and the origin of each (`file:line`); `above` led to the file."""
    values, origins = read_yaml_file(path)
    if above and isinstance(values, dict) and isinstance(data := values.get("data"), dict):
        data.update({key: _beside(data[key], path.parent) for key in OWN_PATHS if isinstance(data.get(key), str)})
    if values is None:
        raise ConfigError(f"{file_name(path)}: empty; expected a config such as configs/mnist_mlp_bn.yaml")
    if not isinstance(values, dict):
        raise ConfigError(f"{file_name(path)}: expected keys and values, such as seed: 0, found {shown(values)}")
    base = values.pop("base", None)
    if base is None:
        return values, origins
    at = origins[("base",)]
    if not isinstance(base, str) or not base.isprintable():
        raise ConfigError(f"{at}: base must name one YAML file, found {shown(base)}")
    parent, files = path.parent / os.path.expanduser(base), (*above, path.resolve())
    if not os.path.exists(parent):  # unlike Path.exists, False also for a name that is too long
        raise ConfigError(f"{at}: base: {no_such_file(parent)}")
    if parent.resolve() in files:
        circle = " -> ".join(file.name for file in (*files[files.index(parent.resolve()) :], parent))
        raise ConfigError(f"{at}: base goes round in a circle: {circle}")
    if len(files) > MAX_BASES:
        raise ConfigError(f"{at}: base: more than {MAX_BASES} files, one on the other")
    merged, merged_origins = _read_with_bases(parent, files, notes)
    # A name belongs to its own file: a child that gives none is named after its own file, not after its base.
    merged.pop("name", None)
    notes += leave_behind(merged, values, merged_origins)
    _merge(merged, values)
    return merged, merged_origins | origins


class _Override(NamedTuple):
    """One --set: its words for messages, its key in parts, its value, and the places in that."""

    at: str
    parts: list[str]
    value: Any
    places: Iterable[Place]


def _apply_overrides(
    values: dict[str, Any],
    origins: dict[Place, str],
    texts: Sequence[str],
    flags: Mapping[str, object],
    notes: list[str],
) -> None:
    """Lay all that the command line sets over the values of the files, as one layer."""
    overrides = [_read_override(text) for text in texts]
    _refuse_contradictions(overrides, flags)
    together: dict[str, Any] = {}
    for override in overrides:
        nested = override.value
        for part in reversed(override.parts):
            nested = {part: nested}
        _merge(together, copy.deepcopy(nested))
    notes += leave_behind(values, together, origins)
    for override in overrides:
        _apply_override(values, origins, override)


def _read_override(override: str) -> _Override:
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
    return _Override(at, parts, value, places)


def _refuse_contradictions(overrides: Sequence[_Override], flags: Mapping[str, object]) -> None:
    """Refuse a key that the command line gives two values: neither would be the one that was meant.

    A key of a section that was set whole before it, such as `model.norm` behind `model={...}`, refines that.
    """
    given = {key: (f"--{key} {brief(str(flag))}", flag, 1) for key, flag in flags.items() if flag is not None}
    for override in overrides:
        depth = len(override.parts)
        for key, value in _leaves(".".join(override.parts), override.value):
            first, before, level = given.get(key, (override.at, value, depth))
            if before != value and level >= depth:
                raise ConfigError(f"{override.at}: {brief(key)} has another value in {first}; expected one of them")
            given[key] = override.at, value, depth


def _leaves(key: str, value: object) -> Iterable[tuple[str, object]]:
    return dotted(value, f"{key}.") if isinstance(value, dict) and value else [(key, value)]


def _apply_override(values: dict[str, Any], origins: dict[Place, str], override: _Override) -> None:
    at, parts, value, places = override
    section = values
    for depth, part in enumerate(parts[:-1], start=1):
        if section.get(part) is None:
            section[part] = {}
        section = section[part]
        if not isinstance(section, dict):
            above = brief(".".join(parts[:depth]))
            raise ConfigError(f"{at}: {above} is {shown(section)}, it has no keys below it")
        origins.setdefault(tuple(parts[:depth]), at)
    _merge(section, {parts[-1]: value})
    origins.update({(*parts, *below): at for below in ((), *places)})


def _merge(values: dict[str, Any], change: dict[str, Any]) -> None:
    """Lay `change` over `values`, key by key; everything but a mapping is replaced whole."""
    for key, new in change.items():
        old = values.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            _merge(old, new)
        else:
            values[key] = new


def _drop(values: dict[Any, Any], keys: Place) -> None:
    """Take a key out, where it is."""
    *above, last = keys
    for key in above:
        values = values[key] if isinstance(values.get(key), dict) else {}
    values.pop(last, None)


def _nulls(values: dict[str, Any], above: Place = ()) -> Iterator[Place]:
    """Yield the places that hold a null."""
    for key, value in values.items():
        if value is None:
            yield (*above, key)
        elif isinstance(value, dict):
            yield from _nulls(value, (*above, key))


def _without_nulls(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_nulls(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }
