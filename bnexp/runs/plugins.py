"""What a run records of the norms and activations of others that it is made of: their code, its checksum, a copy.

Nothing in a run folder is ever run. Whoever goes on with such a run gives the file again, and its checksum is compared.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnexp.config.plugin_code import Source, mark_of
from bnexp.errors import ConfigError
from bnexp.files import write_atomically
from bnexp.runs.folder import META, read_json

if TYPE_CHECKING:
    from bnexp.config.schema import Config

PLUGINS = "plugins"
"""The key of meta.json, and the section of the keys by which arms are told apart."""


@dataclass(frozen=True)
class Recorded:
    """The code of a norm or an activation, as meta.json names it."""

    path: str
    sha256: str
    distribution: str | None
    role: str | None = None

    @property
    def mark(self) -> str:
        """What tells this version of the code from others."""
        return mark_of(self.sha256, self.distribution)


def recorded_in(meta: Mapping[str, Any]) -> dict[str, Recorded]:
    """Return what meta.json names, by the names of the items; what cannot be read of it is left out."""
    found, named = dict[str, Recorded](), meta.get(PLUGINS)
    for name, record in named.items() if isinstance(named, dict) else ():
        match record:
            case {"path": str(path), "sha256": str(sha256)}:
                owner, role = (
                    value if isinstance(value := record.get(key), str) else None for key in ("distribution", "role")
                )
                found[name] = Recorded(path, sha256, owner, role)
    return found


def code_record(config: "Config") -> dict[str, dict[str, dict[str, str | None]]]:
    """Return what meta.json keeps of the norms and activations of a config that bnexp does not have, if any."""
    roles = {item.name: item.kind.role for item in config.model.items}
    found = {name: {**source.record, "role": roles[name]} for name, source in sources_of(config).items()}
    return {PLUGINS: found} if found else {}


def sources_of(config: "Config") -> dict[str, Source]:
    """Return the sources of those norms and activations of a config that bnexp does not have, by their names."""
    found = {item.name: item.kind.source for item in config.model.items}
    return {name: source for name, source in sorted(found.items()) if source is not None}


def keys_of(sources: Mapping[str, Recorded | Source]) -> dict[str, str]:
    """Return the keys, beside those of a config, that tell the code of an arm from other versions of it."""
    return {f"{PLUGINS}.{name}": source.mark for name, source in sorted(sources.items())}


def differing(key: str, configs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return those configs in which a key can differ: beside arms without a norm, its code is no further difference."""
    return [config for config in configs if key in config or not key.startswith(f"{PLUGINS}.")]


def copy_name(name: str) -> str:
    """Return the name of the copy of an item's file in a run's folder."""
    return f"plugin_{name}.py"


def keep_copies(folder: Path, sources: Mapping[str, Source]) -> None:
    """Keep the files of a run's items in its folder, for people to read.

    Raises:
        OSError: the disk is full, ...
    """
    for name, source in sources.items():
        write_atomically(folder / copy_name(name), [source.content])


_accepting = ContextVar("_accepting", default=False)


@contextmanager
def accepting_other_code(accept: bool) -> Iterator[None]:
    """Let a run be read on with another version of its norms until the context ends, because a person says so."""
    token = _accepting.set(accept)
    try:
        yield
    finally:
        _accepting.reset(token)


def refuse_other_code(folder: Path) -> None:
    """Refuse to read on in a run whose norms or activations are not registered here as it began with them.

    Raises:
        ConfigError: one is missing, or has another checksum or version; with what to type.
    """
    if problem := other_code(folder):
        raise ConfigError(problem)


def other_code(folder: Path) -> str | None:
    """Say which norm or activation of a run is not registered here as it began with it; None where all are."""
    from bnexp.config.block import is_item  # what only lists runs does not wait for pydantic
    from bnexp.config.items import ITEMS

    for name, then in recorded_in(read_json(folder / META) or {}).items():
        here = ITEMS[name].source if is_item(name) else None
        if here is None:
            return f"{folder}: {_missing(folder, name, then)}"
        if (here.sha256, here.distribution) != (then.sha256, then.distribution) and not _accepting.get():
            found = f"{here.path} has {here.mark}"
            return f"{folder}: it began with another {name}: {then.mark}; {found}. --changed-plugin takes this one"
    return None


def _missing(folder: Path, name: str, then: Recorded) -> str:
    if then.distribution is not None:
        return f"{name} is of the package {then.distribution}, which is not installed here"
    kept = folder / copy_name(name)
    copy = f"; a copy is {kept}, which is as safe to run as its folder is to trust" if kept.is_file() else ""
    return f"{name} is registered by a file ({then.mark}), to be given again: --plugin {shlex.quote(then.path)}{copy}"
