"""Loading: a YAML file, its `base:` files and the command line's `--set` become one checked `Config`."""

import copy
import glob
import itertools
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from bnexp.config.data_section import OWN_PATHS, DataConfig, OwnData, WrittenPath
from bnexp.config.keys import is_known, key_called, takes_only
from bnexp.config.kinds import leave_behind
from bnexp.config.messages import REPLACED, explain, unknown_key
from bnexp.config.naming import run_name_of
from bnexp.config.nested import Place
from bnexp.config.overrides import OF_PYTHON, Setting, lay_over, merge, pieces, read_override
from bnexp.config.packaged import ENDINGS, file_name, find_base, find_config
from bnexp.config.schema import Config
from bnexp.config.sweep_file import is_sweep
from bnexp.config.wording import brief, shown
from bnexp.config.yaml_text import no_such_file, read_yaml_file
from bnexp.errors import ConfigError

MAX_BASES = 20
_LONG = 200
"""Letters of a setting that may be a list of values, typed by a person."""


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
        path: the YAML file, or the name of one that comes with bnexp; its `base:` is read relative to it.
        overrides: `key=value` pairs, such as `data.batch_size=32`; the value is YAML, `null` takes a key back.
        name: replaces the config's, which defaults to the file's stem, made safe.
        seed: replaces the config's.

    Raises:
        ConfigError: every mistake at once, each with its place, what was found and what was expected.
    """
    draft = read_draft(path)
    try:
        return complete(draft, [read_override(text) for text in overrides], name=name, seed=seed)
    except ConfigError as error:
        raise ConfigError(f"{error}{_sweep_meant(draft, overrides)}") from None


class Draft(NamedTuple):
    """The values of a config file over its bases, read once and not yet checked; `complete` makes a config of it."""

    path: Path
    values: Mapping[str, Any]
    origins: Mapping[Place, str]
    notes: tuple[str, ...]


def read_draft(path: Path) -> Draft:
    """Read the file that `path` names, see `packaged`, and its bases.

    Raises:
        ConfigError: one of them is missing, unreadable or no config.
    """
    notes: list[str] = []
    typed, path = path, find_config(path)
    _refuse_no_file(path)
    note_packaged(typed, path, notes)
    values, origins = _read_with_bases(path, (), notes)
    return Draft(path, values, origins, tuple(notes))


def note_packaged(typed: Path, found: Path, notes: list[str]) -> None:
    """Note where a file of a user is missing that was typed, and one of bnexp is read."""
    if typed != found and typed.suffix in ENDINGS:
        notes.append(f"there is no {file_name(typed)}: {file_name(found)} is read, which comes with bnexp")


def complete(draft: Draft, settings: Sequence[Setting], *, name: str | None = None, seed: int | None = None) -> Loaded:
    """Check a draft with settings laid over it, which leaves the draft as it was. See `load`."""
    path = draft.path
    values, origins, notes = copy.deepcopy(dict(draft.values)), dict(draft.origins), list(draft.notes)
    lay_over(values, origins, settings, {"name": name, "seed": seed}, notes)
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
    lay_over(values, origins, [read_override(text) for text in overrides], {}, [])
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
        typed = [key for key in OWN_PATHS if origins.get(("data", key), "").startswith(("--", OF_PYTHON))]
        data.update({key: beside(data[key], Path()) for key in typed if isinstance(data.get(key), str)})


def _sweep_meant(draft: Draft, overrides: Sequence[str]) -> str:
    """Return the sweep that settings mean which hold several values of a key, each of which that key would take."""
    several = {text: list(values) for text in overrides if len(values := _values_in(text)) > 1}
    if not several or any(text.startswith(("seed=", "name=")) or len(text) > _LONG for text in several):
        return ""
    for tried in itertools.zip_longest(*several.values()):
        one_each = {text: value or values[0] for (text, values), value in zip(several.items(), tried, strict=True)}
        try:
            complete(draft, [read_override(one_each.get(text, text)) for text in overrides])
        except ConfigError:
            return ""
    words = [word for text in overrides for word in ("--axis" if text in several else "--set", text)]
    return f". Several values are a sweep: {shlex.join(['bnexp', 'sweep', file_name(draft.path), *words])}"


def _values_in(override: str) -> list[str]:
    """Return a setting for each value in one such as `model.norm=bn,ln`."""
    key, _, text = override.partition("=")
    text = text.strip()
    if text.startswith("[") and text.endswith("]") and not takes_only(key.strip(), tuple):
        text = text[1:-1]
    return [f"{key}={piece.strip()}" for piece in pieces(text)]


def _refuse_no_file(path: Path) -> None:
    """Refuse what was meant for an option: `optimizer.lr=0.1` without --set, or the second number of `--seed 1 2`.

    Hydra writes `+key=value` and `++key=value` to set a key, and `~key` to take it out.
    """
    word = str(path)
    key, equals, value = word.lstrip("+").partition("=")
    if os.path.lexists(word[:4000]):
        return
    if word == "-":
        raise ConfigError("-: standard input is not read; expected a YAML file")
    if equals and (known := key_called(key)):
        line = shlex.quote(brief(f"{known}={value}"))
        raise ConfigError(f"{brief(word)}: no such file. A key is set with --set {line}")
    if word.startswith("~") and (known := key_called(word[1:])):
        raise ConfigError(f"{brief(word)}: no such file. A key is taken back with --set {known}=null")
    if word in ("last", "latest"):
        raise ConfigError(f"{word}: no such file. --resume takes no value, and finds the newest run of each config")
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
    lay_over(changed, origins, [read_override(text) for text in overrides], {}, [])
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
            paths[key] = WrittenPath(beside(written, folder))
            paths[key].folder = os.path.abspath(folder)
    return config.model_copy(update={"data": data.model_copy(update=paths)})


def beside(path: str, folder: Path) -> str:
    """Return a relative `data.path` as an absolute one where it names something in a config's folder."""
    where = os.path.join(os.path.abspath(folder), path)
    return os.path.normpath(where) if path and not path.startswith("~") and os.path.lexists(where) else path


def dump_config(config: Config) -> str:
    """Write the resolved config as YAML: loading it again gives an equal `Config`."""
    return str(config)


def _read_with_bases(path: Path, above: tuple[Path, ...], notes: list[str]) -> tuple[dict[str, Any], dict[Place, str]]:
    """Return the values of a file over its bases, and the origin of each (`file:line`); `above` led to the file."""
    values, origins = read_yaml_file(path)
    if above and isinstance(values, dict) and isinstance(data := values.get("data"), dict):
        data.update({key: beside(data[key], path.parent) for key in OWN_PATHS if isinstance(data.get(key), str)})
    if values is None:
        raise ConfigError(f"{file_name(path)}: empty; expected a config such as bnexp init writes")
    if not isinstance(values, dict):
        raise ConfigError(f"{file_name(path)}: expected keys and values, such as seed: 0, found {shown(values)}")
    if is_sweep(values):
        line = f"bnexp sweep {shlex.quote(file_name(path))}"
        raise ConfigError(f"{file_name(path)}: a sweep file, and no config; expected a config here, or: {line}")
    base = values.pop("base", None)
    if base is None:
        return values, origins
    at = origins[("base",)]
    if not isinstance(base, str) or not base.isprintable():
        raise ConfigError(f"{at}: base must name one YAML file, found {shown(base)}")
    parent, files = find_base(Path(os.path.expanduser(base)), path.parent), (*above, path.resolve())
    if not os.path.exists(parent):  # unlike Path.exists, False also for a name that is too long
        raise ConfigError(f"{at}: base: {no_such_file(parent)}")
    if os.path.isdir(parent):
        raise ConfigError(f"{at}: base: {file_name(parent)}: a folder; expected a YAML file")
    note_packaged(path.parent / base, parent, notes)
    if parent.resolve() in files:
        circle = " -> ".join(file.name for file in (*files[files.index(parent.resolve()) :], parent))
        raise ConfigError(f"{at}: base goes round in a circle: {circle}")
    if len(files) > MAX_BASES:
        raise ConfigError(f"{at}: base: more than {MAX_BASES} files, one on the other")
    merged, merged_origins = _read_with_bases(parent, files, notes)
    # A name belongs to its own file: a child that gives none is named after its own file, not after its base.
    merged.pop("name", None)
    notes += leave_behind(merged, values, merged_origins)
    merge(merged, values)
    return merged, merged_origins | origins


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
