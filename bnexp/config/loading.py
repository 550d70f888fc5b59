"""Loading: a YAML file, its `base:` files and the command line's `--set` become one checked `Config`."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bnexp.config.keys import is_known
from bnexp.config.messages import REPLACED, explain, unknown_key
from bnexp.config.schema import Config
from bnexp.config.wording import brief, shown
from bnexp.config.yaml_text import MAX_DEPTH, Place, dump_yaml, file_name, no_such_file, read_yaml, read_yaml_file
from bnexp.errors import ConfigError

MAX_BASES = 20


def load_config(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    name: str | None = None,
    seed: int | None = None,
    stored: bool = False,
) -> Config:
    """Read and check the config at `path`.

    Args:
        path: the YAML file; its `base:` is read relative to it.
        overrides: `key=value` pairs, such as `data.batch_size=32`; the value is YAML, `null` takes a key back.
        name: replaces the config's, which defaults to the file's stem.
        seed: replaces the config's.
        stored: it is of a run folder, where an earlier version may have written keys that are no more.

    Raises:
        ConfigError: every mistake at once, each with its place, what was found and what was expected.
    """
    if stored and path.is_symlink():
        raise ConfigError(f"{file_name(path)}: a link; expected the file that the run wrote: put a copy in its place")
    values, origins = _read_with_bases(path, ())
    for keys in REPLACED if stored else ():
        _drop(values, keys)
    for override in overrides:
        _apply_override(values, origins, override)
    if values.get("name") is None:
        values["name"], origins[("name",)] = path.stem, f"{file_name(path)} (named after its file)"
    for key, flag in (("name", name), ("seed", seed)):
        if flag is not None:
            values[key], origins[(key,)] = flag, f"--{key}"
    return check_values(values, origins, file_name(path))


def check_values(values: dict[str, Any], origins: dict[Place, str], source: str) -> Config:
    """Check merged values against the schema; a null takes a key back to its default."""
    for keys in _nulls(values):
        if not is_known(keys):
            raise ConfigError(unknown_key(keys, origins, source))
    try:
        return Config.model_validate(_without_nulls(values))
    except ValidationError as error:
        raise ConfigError(explain(error, origins, source)) from None


def dump_config(config: Config) -> str:
    """Write the resolved config as YAML: loading it again gives an equal `Config`."""
    return dump_yaml(config.model_dump(mode="json", exclude_none=True))


def _read_with_bases(path: Path, above: tuple[Path, ...]) -> tuple[dict[str, Any], dict[Place, str]]:
    """Return the values of a file over its bases, and the origin of each (`file:line`); `above` led to the file."""
    values, origins = read_yaml_file(path)
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
    parent, files = path.parent / base, (*above, path.resolve())
    if not os.path.exists(parent):  # unlike Path.exists, False also for a name that is too long
        raise ConfigError(f"{at}: base: {no_such_file(parent)}")
    if parent.resolve() in files:
        circle = " -> ".join(file.name for file in (*files[files.index(parent.resolve()) :], parent))
        raise ConfigError(f"{at}: base goes round in a circle: {circle}")
    if len(files) > MAX_BASES:
        raise ConfigError(f"{at}: base: more than {MAX_BASES} files, one on the other")
    merged, merged_origins = _read_with_bases(parent, files)
    # A name belongs to its own file: a child that gives none is named after its own file, not after its base.
    merged.pop("name", None)
    _merge(merged, values)
    return merged, merged_origins | origins


def _apply_override(values: dict[str, Any], origins: dict[Place, str], override: str) -> None:
    key, equals, text = override.partition("=")
    parts, at = key.strip().split("."), f"--set {brief(override, 200)}"
    if not equals or not all(parts) or len(parts) > MAX_DEPTH:
        raise ConfigError(f"{at}: expected key=value, such as --set data.batch_size=32")
    if parts == ["base"]:
        raise ConfigError(f"{at}: base belongs in a file; give that file to the command instead")
    if not text.strip():
        raise ConfigError(f"{at}: no value after the =; {brief(key.strip())}=null takes the key back to its default")
    value, places = read_yaml(text, at, numbered=False)
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
