"""`bnexp init`: a config to edit, in the current folder."""

import json
import os
import re
import shlex
from pathlib import Path, PurePath

from bnexp.config.json_schema import config_schema
from bnexp.config.naming import run_name_of
from bnexp.config.packaged import ENDINGS, packaged_configs
from bnexp.config.sweep_file import is_sweep
from bnexp.config.sweep_reference import sweep_schema
from bnexp.config.wording import shown
from bnexp.config.yaml_text import read_yaml
from bnexp.document.show import write_out
from bnexp.errors import BnexpError, ConfigError, nearest
from bnexp.files import write_text_atomically

START = "start"
"""The config that a new one begins as."""
_EDITOR = "# yaml-language-server: $schema="
_BASE = re.compile(r"^base: (\S+)", re.MULTILINE)


def init(name: str, *, force: bool = False) -> Path:
    """Write a config into the current folder, with its schema for an editor, say what to type next, and return it.

    Args:
        name: of a config that comes with bnexp, which is copied; or of a new one.
        force: replaces a file of that name.

    Raises:
        ConfigError: a file of that name is there, or none can have it; nothing was written.
        BnexpError: the folder cannot be written.
    """
    stem = name.removesuffix(PurePath(name).suffix) if PurePath(name).suffix in ENDINGS else name
    source = stem if stem in packaged_configs() else START
    file = Path(f"{PurePath(stem).name if source == stem else _new_name(stem)}.yaml")
    if os.path.lexists(file) and not force:
        raise ConfigError(f"{file}: is there already; --force replaces it, and bnexp init NAME writes another")
    text = _from_anywhere(source)
    sweep = is_sweep(read_yaml(text, source)[0])
    schema = Path(f"bnexp.{'sweep' if sweep else 'config'}.schema.json")
    try:
        write_text_atomically(schema, json.dumps((sweep_schema if sweep else config_schema)(), indent=2) + "\n")
        write_text_atomically(file, f"{_EDITOR}{schema}\n{text}")
    except OSError as error:
        raise BnexpError(f"{file}: cannot be written: {error.strerror}") from None
    write_out("\n".join([*_written(file, schema, source, stem), *_next(file, source, sweep=sweep), ""]))
    return file


def _new_name(name: str) -> str:
    """Refuse a name that is no file on every system, or leads out of the folder."""
    if not name or run_name_of(name) != name:
        raise ConfigError(f"{shown(name)}: no name of a file everywhere; expected such as {run_name_of(name)}")
    return name


def _from_anywhere(source: str) -> str:
    """Return the text of a config of bnexp so that it reads alike in any folder: without schema, its base by name."""
    file = packaged_configs()[source]
    names = {path.resolve(): name for name, path in packaged_configs().items()}
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith(_EDITOR))
    return _BASE.sub(lambda base: f"base: {names[(file.parent / base[1]).resolve()]}", text)


def _written(file: Path, schema: Path, source: str, asked: str) -> list[str]:
    near = nearest(asked, packaged_configs()) if asked not in packaged_configs() else None
    return [
        f"wrote {file}, " + ("a config to edit" if source == START else f"as {source} comes with bnexp"),
        f"wrote {schema}, by which an editor completes and checks its keys",
        *([f"note: {asked} is new; a copy of what comes with bnexp is: bnexp init {near}"] if near else []),
    ]


def _next(file: Path, source: str, *, sweep: bool) -> list[str]:
    """Return what to type next."""
    name = shlex.quote(str(file))
    if sweep:
        return [f"  bnexp sweep {name} --dry-run", f"  bnexp sweep {name}"]
    lines = [f"  bnexp check {name}", f"  bnexp train {name}"]
    return lines + [f"  bnexp sweep {name} --axis model.norm=none,bn,ln --seeds 3"] * (source == START)
