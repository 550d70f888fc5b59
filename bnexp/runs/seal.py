"""Seal the config and the figures of a run by checksums, and say on reading what was changed later.

Three records hold what a run began with: config.yaml, which people read; config.json, the same values, which is read
20 times as fast; and `config_sha256` in meta.json, the checksum of the values. Readers get the values that the run
began with. Where config.yaml differs, a sentence names the keys.

At its end a run seals its figures, too: meta.json keeps the checksum of summary.json, which every reader checks, and of
metrics.jsonl, which is checked where its rows are read, up to `_MOST_HASHED` bytes; of a longer file only the size is.
Runs of earlier versions, and runs killed between the two records, have no such seal, and meta.json itself has none.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnexp.config.nested import MAX_BYTES, dotted
from bnexp.config.packaged import file_name
from bnexp.config.wording import brief
from bnexp.errors import ConfigError
from bnexp.files import read_file, write_text_atomically
from bnexp.runs.folder import CONFIG, CONFIG_COPY, MAX_RECORD_BYTES, META, METRICS, SUMMARY, read_json, write_json
from bnexp.runs.identity import identity_of
from bnexp.runs.plugins import refuse_other_code

if TYPE_CHECKING:
    from bnexp.config.schema import Config
    from bnexp.runs.rows import Rows

SEAL = "config_sha256"
"""The key of meta.json."""
SUMMARY_SEAL, ROWS_SEAL = "summary_sha256", "metrics"
_MOST_HASHED = 8_000_000
"""Size of metrics.jsonl up to which it is hashed, in about ten milliseconds."""
_CHANGEABLE = ("checkpoints", "data.eval_batch_size")
"""Keys that may change when a run is resumed; never less, or the seals of earlier runs would break."""
_SHOWN = 3
"""Changed keys that a sentence names."""

Values = dict[str, Any]


def write_config(folder: Path, text: str) -> None:
    """Write a resolved config as config.yaml, and its values as config.json; nothing else writes them.

    Raises:
        OSError: the disk is full, ...; config.json is then missing, or does not fit config.yaml and is not read.
    """
    from bnexp.config.yaml_text import read_yaml  # who only lists runs does not wait for yaml

    write_text_atomically(folder / CONFIG, text)
    values, _ = read_yaml(text, CONFIG)
    write_json(folder / CONFIG_COPY, {"sha256": _checksum(text.encode(), values), "config": values})


def seal_of(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a config's values for meta.json: without comments, order and `_CHANGEABLE`."""
    sealed = {key: value for key, value in dotted(values) if not key.startswith(_CHANGEABLE)}
    return hashlib.sha256(json.dumps(sealed, sort_keys=True).encode()).hexdigest()


def read_config(folder: Path, meta: Mapping[str, Any] | None = None) -> tuple[Values | None, str | None]:
    """Read the config of a run unchecked, so that runs of other versions of bnexp can be read too.

    Args:
        folder: the run's.
        meta: what its meta.json holds, where that has been read.

    Returns:
        The config with dotted keys, such as `data.batch_size`, or None; and what is wrong, or None. A config that was
        changed later comes as the run began with it, and what is wrong says how it was changed.
    """
    values, problem = read_values(folder, meta)
    return (None if values is None else dict(dotted(values))), problem


def read_values(folder: Path, meta: Mapping[str, Any] | None = None) -> tuple[Values | None, str | None]:
    """Return a config as `read_config`, with its sections as they are nested in the file."""
    path = folder / CONFIG
    content = b""
    with suppress(OSError):  # read_yaml_file says what is wrong, and which file may be meant
        content = read_file(path, MAX_BYTES, links=False)
    record = read_json(folder / CONFIG_COPY) or {}
    seal = (read_json(folder / META) or {} if meta is None else meta).get(SEAL)
    try:
        return _checked(path, content, record, seal if isinstance(seal, str) else None)
    except RecursionError:
        return None, f"{path}: {CONFIG_COPY} beside it is nested too deeply; expected a config"


def load_stored(folder: Path, overrides: Sequence[str] = ()) -> "tuple[Config, str | None]":
    """Return the checked config that a run began with, with `key=value` pairs over it; and how it was changed since.

    Raises:
        ConfigError: it cannot be read, is wrong, or nothing tells any more what it was.
    """
    from bnexp.config.loading import check_stored  # loads pydantic: what only lists runs does not wait for it

    refuse_other_code(folder)
    values, problem = read_values(folder)
    if values is None:
        raise ConfigError(problem or f"{folder}: no config")
    return check_stored(values, overrides, file_name(folder / CONFIG)), problem


def _checked(
    path: Path, content: bytes, record: Mapping[str, Any], seal: str | None
) -> tuple[Values | None, str | None]:
    """Return the values that the run began with, from config.yaml or its copy, and how config.yaml was changed."""
    copied, checksum = record.get("config"), record.get("sha256")
    if not isinstance(copied, dict) or not isinstance(checksum, str):
        copied = None
    if copied is not None and _checksum(content, copied) == checksum and seal in (None, seal_of(copied)):
        return copied, None
    from bnexp.config.yaml_text import dump_yaml

    values, problem = _read(path)
    if seal is not None:
        file, copy_is_sound = (one is not None and seal_of(one) == seal for one in (values, copied))
    else:
        # Earlier versions kept no checksum in meta.json; that of the copy goes with config.yaml as it was written.
        file = values is not None and (copied in (None, values) or _checksum(content, values) == checksum)
        copy_is_sound = copied is not None and _checksum(dump_yaml(copied).encode(), copied) == checksum
    if file:
        return values, None
    if copied is not None and copy_is_sound:
        return copied, f"{problem}; {CONFIG_COPY} tells what it was" if problem else _how_changed(path, values, copied)
    return None, problem or f"{path}: not the config that the run began with, and no record is left that tells that one"


def _read(path: Path) -> tuple[Values | None, str | None]:
    """Return the values in a config.yaml, or why it has none."""
    from bnexp.config.yaml_text import read_yaml_file

    try:
        values, _ = read_yaml_file(path, links=False)
    except ConfigError as error:
        return None, str(error).partition("\n")[0]  # the line of YAML below is for who edits it
    return (values, None) if isinstance(values, dict) and values else (None, f"{path}: expected keys and values")


def _how_changed(path: Path, now: Values | None, then: Values) -> str | None:
    """Name the keys in which a config.yaml differs from what the run began with, of those that make a run."""
    after, before = (identity_of(dict(dotted(values)), "run") for values in (now or {}, then))
    changed = [key for key in dict.fromkeys([*before, *after]) if before.get(key) != after.get(key)]
    if not changed:
        return None
    named = [f"{key} is {_shown(after, key)}, but the run began with {_shown(before, key)}" for key in changed[:_SHOWN]]
    more = f"; and {len(changed) - _SHOWN} more keys" if len(changed) > _SHOWN else ""
    return f"{path}: {'; '.join(named)}{more}. The values that it began with count"


def _shown(values: Mapping[str, Any], key: str) -> str:
    return brief(str(values[key]), 60) if key in values else "not there"


def _checksum(content: bytes, values: object) -> str:
    """Return the SHA-256 of config.yaml together with the values read from it: it breaks when either is edited."""
    return hashlib.sha256(content + b"\n" + json.dumps(values).encode()).hexdigest()


def seal_of_figures(folder: Path, rows: "Rows") -> dict[str, Any]:
    """Return what meta.json keeps of summary.json and metrics.jsonl as a run wrote them, `rows` being all of these."""
    summary = hashlib.sha256(read_file(folder / SUMMARY, MAX_RECORD_BYTES, links=False)).hexdigest()
    return {SUMMARY_SEAL: summary, ROWS_SEAL: {"size": rows.size, "sha256": rows.sha256}}


def changed_summary(path: Path, sha256: str, meta: Mapping[str, Any]) -> str | None:
    """Return a sentence where summary.json is not the one that the run wrote; None where it is, or was not sealed."""
    if meta.get(SUMMARY_SEAL, sha256) == sha256:
        return None
    return f"{path}: changed after the run wrote it: its figures are not those of the run"


def is_altered(folder: Path) -> bool:
    """Tell whether summary.json or metrics.jsonl of a run that came to its end is not what the run wrote."""
    meta = read_json(folder / META) or {}
    sealed = meta.get(ROWS_SEAL)
    if isinstance(sealed, dict) and changed_rows(folder / METRICS, sealed):
        return True
    with suppress(OSError):
        content = read_file(folder / SUMMARY, MAX_RECORD_BYTES, links=False)
        return changed_summary(folder / SUMMARY, hashlib.sha256(content).hexdigest(), meta) is not None
    return False


def changed_rows(path: Path, sealed: Mapping[str, Any]) -> str | None:
    """Return a sentence where metrics.jsonl has not the size and checksum that were sealed, else None."""
    return intact_rows(path, sealed)[1]


def intact_rows(path: Path, sealed: Mapping[str, Any]) -> tuple[bytes | None, str | None]:
    """Return metrics.jsonl where it is what its run wrote, and a sentence where it is not; neither if that is open."""
    size, sha256 = sealed.get("size"), sealed.get("sha256")
    with suppress(OSError):
        if isinstance(size, int) and (now := path.stat().st_size) != size:
            return None, f"{path}: {now:,} bytes, but the run wrote {size:,}: rows were changed, added or lost since"
        if isinstance(sha256, str) and path.stat().st_size <= _MOST_HASHED:
            content = read_file(path, _MOST_HASHED, links=False)
            if hashlib.sha256(content).hexdigest() == sha256:
                return content, None
            return None, f"{path}: changed after the run wrote it: its rows are not those of the run"
    return None, None
