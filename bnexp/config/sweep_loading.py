"""Read a sweep, from its file or from `--axis` and `--seeds`, into one checked `Sweep`."""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnexp.config.data_section import OWN_PATHS
from bnexp.config.keys import takes_only
from bnexp.config.loading import Draft, beside, read_draft
from bnexp.config.naming import run_name_of
from bnexp.config.nested import Place
from bnexp.config.overrides import Setting, pieces
from bnexp.config.packaged import file_name, find_base, find_config, name_of_packaged
from bnexp.config.schema import Config
from bnexp.config.sweep_file import FIRST_TUNING_SEED, SweepFile, is_sweep, seeds_of
from bnexp.config.sweep_settling import origin, settle
from bnexp.config.sweep_values import places_in
from bnexp.config.wording import brief, shown
from bnexp.config.yaml_text import dump_yaml, no_such_file, read_yaml, read_yaml_file
from bnexp.errors import ConfigError

BASE_COPY = "sweep.base.yaml"
"""The config that a sweep changes, beside its runs: it is read where that is gone."""
_EXAMPLE = "axes: {model.norm: [none, bn, ln]}"


@dataclass(frozen=True)
class Sweep:
    """A sweep as it was asked for, with all that its arms are made of.

    Attributes:
        name: of the sweep's folder.
        file: the sweep with dotted keys and our names in it; `--set` is part of `fixed`.
        draft: the base config, read once.
        origins: where each value stands, by its place in `file`.
        source: what messages call the sweep.
    """

    name: str
    file: SweepFile
    draft: Draft
    origins: Mapping[Place, str]
    source: str

    @property
    def base_path(self) -> Path:
        """The config that every arm changes."""
        return self.draft.path

    @property
    def seeds(self) -> Sequence[int]:
        """The seeds of every arm's final runs."""
        return seeds_of(self.file.seeds)

    @property
    def tuning_seeds(self) -> Sequence[int]:
        """The seeds of every candidate; none without `tune`."""
        count = self.file.tune_seeds if self.file.tune else 0
        return range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + count)

    def at(self, place: Place) -> str:
        """Return where a place of `file` stands, as messages say it."""
        return origin(self.origins, place)

    def setting(self, place: Place, key: str, value: object) -> Setting:
        """Return the value at a place of `file` as what is laid over the base."""
        return Setting(self.at(place), key.split("."), value, tuple(places_in(value)))


def load_sweep(
    path: Path, *, seeds: str | None = None, overrides: Sequence[str] = (), name: str | None = None
) -> Sweep:
    """Read and check the sweep file at `path`.

    Args:
        path: the YAML file, or the name of one that comes with bnexp; its `base:` is read relative to it.
        seeds: replaces those of the file: how many, `5`, or which, `1,2` or `0-4`.
        overrides: `key=value` pairs laid over every arm.
        name: replaces the sweep's, which is the file's stem, made safe.

    Raises:
        ConfigError: every mistake at once, each with its place, what was found and what was expected.
    """
    path = find_config(path)
    _refuse_folder(path)
    values, origins = read_yaml_file(path)
    source = file_name(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: expected a sweep file, with base: and {_EXAMPLE}, found {shown(values)}")
    if not is_sweep(values) and any(key in values for key in Config.model_fields):
        line = f"bnexp sweep {shlex.quote(source)} --axis model.norm=none,bn,ln --seeds 5"
        raise ConfigError(f"{source}: a config, and nothing in it varies; say what does, such as: {line}")
    if seeds is not None:
        values, origins = {**values, "seeds": seeds}, {**origins, ("seeds",): "--seeds"}
    file, places = settle(values, {(): source, **origins}, path.parent, overrides)
    draft = _read_base(path, find_base(Path(file.base), path.parent), places[("base",)])
    return Sweep(_safe_name(name) or run_name_of(path.stem), file, draft, places, source)


def sweep_of_options(
    config: Path,
    axes: Sequence[str] = (),
    seeds: str | None = None,
    overrides: Sequence[str] = (),
    name: str | None = None,
) -> Sweep:
    """Return the sweep that the command line says without a file.

    Args:
        config: the base of every arm.
        axes: texts such as `model.norm=none,bn,ln`; commas within brackets or quotes divide nothing.
        seeds: how many, `5`, or which, `1,2` or `0-4`; None is the default of a sweep file.
        overrides: `key=value` pairs laid over every arm.
        name: of the sweep; by default the config's stem with `-sweep`.

    Raises:
        ConfigError: as for `load_sweep`.
    """
    config = find_config(config)
    _refuse_folder(config)
    draft = read_draft(config)
    values: dict[str, Any] = {"base": str(config), "axes": {}} | ({} if seeds is None else {"seeds": seeds})
    origins: dict[Place, str] = {(): file_name(config), ("base",): file_name(config), ("seeds",): "--seeds"}
    for text in axes:
        key, entries = _read_axis(text)
        if key in values["axes"]:
            raise ConfigError(f"--axis {key} is given twice; expected all its values in one, such as --axis {key}=A,B")
        values["axes"][key] = [value for _, value in entries]
        origins[("axes", key)] = f"--axis {brief(text, 200)}"
        origins |= {("axes", key, index): f"--axis {key}={brief(word)}" for index, (word, _) in enumerate(entries)}
    if not axes:
        values.pop("axes")
    file, places = settle(values, origins, Path(), overrides)
    return Sweep(_safe_name(name) or run_name_of(f"{config.stem}-sweep"), file, draft, places, file_name(config))


def dump_sweep(sweep: Sweep, file: Path) -> str:
    """Write a sweep as YAML that, saved as `file`, loads to the same arms."""
    base = name_of_packaged(sweep.base_path) or os.path.relpath(sweep.base_path, file.parent)
    values = sweep.file.model_dump(mode="json", exclude_defaults=True)
    return dump_yaml({**values, "base": base, "seeds": sweep.file.model_dump(mode="json")["seeds"]})


def dump_base(sweep: Sweep) -> str:
    """Write the config that a sweep changes, whole, as YAML that gives the same runs from any folder."""
    values = {"name": run_name_of(sweep.base_path.stem), **sweep.draft.values}
    if isinstance(data := values.get("data"), dict):
        placed = {key: beside(data[key], sweep.base_path.parent) for key in OWN_PATHS if isinstance(data.get(key), str)}
        values["data"] = {**data, **placed}
    return dump_yaml(values)


def _refuse_folder(path: Path) -> None:
    """Refuse a folder of sweeps, which are begun one by one."""
    if os.path.isdir(path):
        each = f'for file in {shlex.quote(str(path))}/*.yaml; do bnexp sweep "$file"; done'
        raise ConfigError(f"{file_name(path)}: a folder; expected one file a command: {each}")


def _safe_name(name: str | None) -> str | None:
    """Refuse a name that is no folder on every file system."""
    if name is not None and (not name or run_name_of(name) != name):
        raise ConfigError(f"--name {shown(name)}: no name of a folder everywhere; expected such as {run_name_of(name)}")
    return name


def _read_base(path: Path, base: Path, at: str) -> Draft:
    if not os.path.exists(base) and (path.parent / BASE_COPY).is_file():
        base = path.parent / BASE_COPY
    if not os.path.exists(base):
        raise ConfigError(f"{at}: base: {no_such_file(base)}")
    if base.resolve() == path.resolve():
        raise ConfigError(f"{at}: base goes round in a circle: {path.name} -> {base.name}; expected a config")
    try:
        return read_draft(base)
    except ConfigError as error:
        raise ConfigError(f"{at}: base: {error}") from None


def _read_axis(text: str) -> tuple[str, list[tuple[str, Any]]]:
    """Return key and values of an `--axis`, each value with its words."""
    key, equals, rest = text.partition("=")
    key, at = key.strip(), f"--axis {brief(text, 200)}"
    if not equals or not key:
        raise ConfigError(f"{at}: expected key=value,value, such as --axis model.norm=none,bn,ln")
    _refuse_decimal_commas(at, rest)
    words = [word.strip() for word in pieces(rest)]
    if not all(words):
        found = "no values after the =" if not rest.strip() else "an empty value beside a comma"
        raise ConfigError(f"{at}: {found}; expected such as --axis {brief(key)}=A,B (null is the key's default)")
    values = [read_yaml(word, at, numbered=False)[0] for word in words]
    listed = values[0] if len(values) == 1 and isinstance(values[0], list) else []
    if listed and (not takes_only(key, tuple) or all(isinstance(value, list) for value in listed)):
        return key, [(shown(value), value) for value in values[0]]
    return key, list(zip(words, values, strict=True))


def _refuse_decimal_commas(at: str, rest: str) -> None:
    """Refuse `0,01` and `0,1;0,2`, whose commas would divide a number in two."""
    if ";" in rest and re.fullmatch(r"[-+\d.,;eE\s]+", rest):
        meant = rest.replace(",", ".").replace(";", ",")
    elif re.search(r"(?<![\w.,])0,0\d*(?![\w.])", rest):
        meant = re.sub(r"(?<![\w.,])(0),(0\d*)", r"\1.\2", rest)
    else:
        return
    raise ConfigError(f"{at}: commas divide the values, and a decimal has a point; expected such as {brief(meant)}")
