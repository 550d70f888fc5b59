"""Carry the folder of a run between machines: whole files, put in place in an order that can be cut short anywhere.

Rows come before the checkpoint that follows on them, and a checkpoint before older ones go: wherever the process that
puts them in place is killed, the folder can be resumed.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnexp.files import parse_json, unfinished_files, write_atomically
from bnexp.runs.folder import (
    CHECKPOINTS,
    CONFIG,
    CONFIG_COPY,
    LOG,
    META,
    METRICS,
    SUMMARY,
    checkpoints_by_step,
    read_json,
)
from bnexp.runs.process import this_process
from bnexp.runs.seal import SEAL

_RECORD = re.compile(
    rf"{CONFIG}|{CONFIG_COPY}|{META}|{METRICS}|{SUMMARY}|{LOG}|events\.out\.tfevents\.[^/]+|plugin_[a-z0-9_]+\.py|"
    rf"{CHECKPOINTS}/[^/.][^/]*\.pt"
)
"""The files of a run, by their names in its folder."""
_FIRST, _LAST = (CONFIG, CONFIG_COPY, METRICS), (SUMMARY, META)
_PROCESS = tuple(this_process())
NODE = "node"
"""In meta.json: the process that trains the run, where another one answers for it here."""

Stamps = dict[str, tuple[int, int]]
"""When files were last changed, and their sizes, as they were last shipped."""


@dataclass(frozen=True)
class Shipment:
    """A run's folder: the contents of the files that changed since the last shipment, and the names of all."""

    files: Mapping[str, bytes]
    names: frozenset[str]


def newest_step(folder: Path) -> int | None:
    """Return the step of the newest checkpoint of a run; None where there is none."""
    return max(checkpoints_by_step(folder), default=None)


def pack(folder: Path, shipped: Stamps, until: int | None = None) -> Shipment | None:
    """Return what changed in a run's folder since it was last shipped, which `shipped` then says.

    Args:
        folder: of the run.
        shipped: what the other side has; changed in place.
        until: the step of the newest checkpoint, where the run goes on meanwhile: later rows are left out.

    Returns:
        The shipment; None where that checkpoint has gone meanwhile, and a newer one has come.
    """
    files, names, stamps = dict[str, bytes](), set[str](), dict[str, tuple[int, int] | None]()
    for name in sorted(_records(folder), key=lambda name: (not name.startswith(CHECKPOINTS), _order(name))):
        path = folder / name
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if shipped.get(name) != stamp:
                content = path.read_bytes()
                files[name] = _rows_until(content, until) if name == METRICS and until is not None else content
                stamps[name] = stamp if len(files[name]) == status.st_size else None
        except FileNotFoundError:
            continue
        names.add(name)
    if until is not None and f"{CHECKPOINTS}/step{until}.pt" not in names:
        return None
    for name, changed in stamps.items():
        if changed is None:
            shipped.pop(name, None)
        else:
            shipped[name] = changed
    return Shipment(files, frozenset(names))


def unpack(files: Mapping[str, bytes], folder: Path) -> None:
    """Write a run's files where nobody else looks yet."""
    (folder / CHECKPOINTS).mkdir(parents=True)
    for name, content in files.items():
        (folder / _checked(name)).write_bytes(content)


def put_in_place(shipment: Shipment, folder: Path) -> None:
    """Bring a run's folder, whose lock is held, to the state of a shipment.

    Raises:
        OSError: the disk is full, ...; the run can be resumed from what was there before.
    """
    _announce_another_config(shipment.files, folder)
    for name in sorted(map(_checked, shipment.files), key=_order):
        (folder / name).parent.mkdir(exist_ok=True)
        write_atomically(folder / name, [shipment.files[name]])
    gone = [folder / name for name in _records(folder) if name not in shipment.names and name != CONFIG]
    for path in (*gone, *unfinished_files(folder), *unfinished_files(folder / CHECKPOINTS)):
        path.unlink(missing_ok=True)


def _announce_another_config(files: Mapping[str, bytes], folder: Path) -> None:
    """Let config.yaml and meta.json be the first to say that a run has become longer, as they do on the node.

    Were meta.json the last, then in between both configs would be others than the one under its seal.
    """
    before = read_json(folder / META)
    if not before or CONFIG not in files or META not in files:
        return
    meta = parse_json(files[META])
    if meta.get(SEAL) != before.get(SEAL):
        write_atomically(folder / CONFIG, [files[CONFIG]])
        began = {**meta, **this_process(), "status": "running", "ended": None}
        write_atomically(folder / META, [_written(began)])


def answered_here(meta: bytes, places: Mapping[str, str | None]) -> bytes:
    """Return meta.json of a run that another machine trains: while it runs, this process answers for it.

    `places` are its data on this machine, `data_dir` and `data_path`.
    """
    values = parse_json(meta) | {key: place for key, place in places.items() if place is not None}
    if values.get("status") == "running":
        values |= {NODE: {key: values.get(key) for key in _PROCESS}, **this_process()}
    return _written(values)


def as_on_the_node(meta: bytes) -> bytes:
    """Return meta.json as the machine that trained the run wrote it."""
    try:
        values = parse_json(meta)
    except ValueError:
        return meta
    node = values.pop(NODE, None)
    return _written(values | node) if isinstance(node, dict) else meta


def _written(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()


def _records(folder: Path) -> Iterable[str]:
    """Yield the names of a run's files; links are none of them."""
    for place, above in ((folder, ""), (folder / CHECKPOINTS, f"{CHECKPOINTS}/")):
        try:
            entries = list(os.scandir(place))
        except FileNotFoundError:
            continue
        yield from (above + entry.name for entry in entries if _is_record(entry, above))


def _is_record(entry: "os.DirEntry[str]", above: str) -> bool:
    return bool(_RECORD.fullmatch(above + entry.name)) and entry.is_file(follow_symlinks=False)


def _checked(name: str) -> str:
    if not _RECORD.fullmatch(name):
        raise ValueError(f"{name}: no file of a run")
    return name


def _order(name: str) -> tuple[int, str]:
    """Return the place of a file among those to write: config, rows, events, checkpoints, summary and status."""
    if name in _FIRST:
        return _FIRST.index(name), name
    if name in _LAST:
        return 9 + _LAST.index(name), name
    return (8 if name.startswith(CHECKPOINTS) else 7), name


def _rows_until(content: bytes, step: int) -> bytes:
    """Return the whole rows of a metrics.jsonl up to a step, which none before has passed."""
    lines = content.splitlines(keepends=True)
    while lines and not _is_row_until(lines[-1], step):
        lines.pop()
    return b"".join(lines)


def _is_row_until(line: bytes, step: int) -> bool:
    try:
        found = parse_json(line).get("step")
    except ValueError:
        return False
    return line.endswith(b"\n") and isinstance(found, int) and found <= step
