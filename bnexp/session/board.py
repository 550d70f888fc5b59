"""TensorBoard's view of a run: an event file with scalars, histograms, charts and hyperparameters.

The thread that trains writes it. TensorBoard's own writer has another thread: on a full disk that prints a traceback,
and the error comes late.
"""

import contextlib
import functools
import math
import operator
import os
import platform
import re
import struct
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorboard.compat.proto.event_pb2 import Event, SessionLog, SourceMetadata  # type: ignore[attr-defined]
from tensorboard.compat.proto.summary_pb2 import (  # type: ignore[attr-defined]
    HistogramProto,
    Summary,
    SummaryMetadata,
)
from tensorboard.compat.proto.tensor_pb2 import TensorProto  # type: ignore[attr-defined]
from tensorboard.compat.proto.types_pb2 import DT_FLOAT, DT_STRING  # type: ignore[attr-defined]
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.plugin_data_pb2 import (  # type: ignore[attr-defined]
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)

from bnexp.config.nested import dotted
from bnexp.config.schema import Config
from bnexp.probes.probe import Charts
from bnexp.probes.registry import PROBES
from bnexp.runs.identity import OFTEN_VARIED, identity_of
from bnexp.runs.rows import BINS, Counts

PATTERN = "events.out.tfevents.*"
_EXPERIMENT, _SESSION_START, _SESSION_END = (
    f"_hparams_/{part}" for part in ("experiment", "session_start_info", "session_end_info")
)
"""Tags of the HParams page. What it and the page of charts read is put into their messages here: TensorBoard's own
helpers load a model of TensorFlow, a sixth of a second before the first step."""


class EventFile:
    """A new event file in a run's folder, read after all that are there; each event goes to the system at once.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = _name_after(folder)
        self._file = (folder / self.name).open("xb")
        try:
            self.add(Event(file_version="brain.Event:2", source_metadata=SourceMetadata(writer="bnexp")))
        except BaseException:
            self.close()
            raise

    def add(self, event: Event) -> None:
        """Write an event, stamped with the current time.

        Raises:
            OSError: the disk is full; TensorBoard reads what is whole, and passes over the rest.
        """
        event.wall_time = time.time()
        self._file.write(record_of(event.SerializeToString()))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _name_after(folder: Path) -> str:
    """Return a name in TensorBoard's form, `events.out.tfevents.<seconds>.<host>.<process>.<number>`.

    TensorBoard reads the files in the order of their names; a run that is resumed within the same second, or with a
    clock that was set back, must still come after what it is resumed from.
    """
    taken = [int(parts[3]) for path in folder.glob(PATTERN) if (parts := path.name.split("."))[3].isdecimal()]
    seconds = max(int(time.time()), *(before + 1 for before in taken), 0)
    return f"events.out.tfevents.{seconds:010d}.{platform.node()}.{os.getpid()}.0"


def record_of(data: bytes) -> bytes:
    """Return an event as the file holds it: its length and itself, each with its checksum behind it."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked(crc32c(length))) + data + struct.pack("<I", _masked(crc32c(data)))


def _masked(checksum: int) -> int:
    return (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF


_BLOCK = 256
"""Bytes whose checksum is looked up at once, each in the table of its place."""


def crc32c(data: bytes) -> int:
    """Return the checksum CRC-32C of at least four bytes, all bytes of a block at once.

    It is linear: that of a block is the exclusive or of what each of its bytes gives at its place, and what came before
    counts as if it stood in the first four of them. tensorboard's goes byte by byte, which takes longer than the rest.
    Source: RFC 3720, appendix B.4
    """
    table, firsts = _checksums()
    blocks = np.zeros(-(-len(data) // _BLOCK) * _BLOCK, dtype=np.intp)  # zeros in front change nothing
    start = len(blocks) - len(data)
    blocks[start:] = np.frombuffer(data, dtype=np.uint8)
    blocks[start : start + 4] ^= 0xFF
    given = table[np.arange(_BLOCK), blocks.reshape(-1, _BLOCK)]  # (blocks, 256)
    checksum = 0
    for block in np.bitwise_xor.reduce(given, axis=1).tolist():
        before = (first[byte] for first, byte in zip(firsts, checksum.to_bytes(4, "little"), strict=True))
        checksum = functools.reduce(operator.xor, before, block)
    return checksum ^ 0xFFFFFFFF


@functools.cache
def _checksums() -> tuple[Any, list[list[int]]]:
    """Return what each byte gives at each place of a block, (256 places, 256 bytes), and the first four as lists."""
    last: Any = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        last = (last >> 1) ^ np.where(last & 1, np.uint32(0x82F63B78), np.uint32(0))
    places = [last]
    while len(places) < _BLOCK:
        places.append((places[-1] >> 8) ^ last[places[-1] & 0xFF])
    table = np.stack(places[::-1])
    return table, table[:4].tolist()


Hyperparameter = bool | int | float | str

HPARAM_METRICS = ["accuracy/val", "loss/val", "accuracy/test", "loss/test", "accuracy/test_best", "loss/test_best"]

_TYPES = {bool: "DATA_TYPE_BOOL", int: "DATA_TYPE_FLOAT64", float: "DATA_TYPE_FLOAT64", str: "DATA_TYPE_STRING"}
_FIELDS = {bool: "bool_value", int: "number_value", float: "number_value", str: "string_value"}


def hyperparameter_summary(
    values: Mapping[str, Hyperparameter], metrics: Collection[str], ahead: Collection[str]
) -> Summary:
    """Return the two values that the HParams page reads as a run begins: its columns, and this run's row.

    Args:
        values: by `section.key`.
        metrics: tags of scalars, the columns beside them.
        ahead: the keys whose columns are shown first, at most five. The page asks for those that differ between runs,
            which one run cannot know; `bnexp board` looks at all of them.
    """
    columns = [
        api_pb2.HParamInfo(name=name, type=_TYPES[type(value)], differs=name in ahead)  # type: ignore[attr-defined]
        for name, value in values.items()
    ]
    beside = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics]  # type: ignore[attr-defined]
    row = SessionStartInfo()
    for name, value in values.items():
        setattr(row.hparams[name], _FIELDS[type(value)], value)
    parts: dict[str, dict[str, Any]] = {
        _EXPERIMENT: {"experiment": api_pb2.Experiment(hparam_infos=columns, metric_infos=beside)},  # type: ignore[attr-defined]
        _SESSION_START: {"session_start_info": row},
    }
    return _summary_of(parts)


def end_summary(*, diverged: bool) -> Summary:
    """Return what the HParams page reads as a run comes to its end. TensorBoard believes the first one of a run."""
    status = "STATUS_FAILURE" if diverged else "STATUS_SUCCESS"
    return _summary_of({_SESSION_END: {"session_end_info": SessionEndInfo(status=status)}})


def _summary_of(parts: Mapping[str, Mapping[str, Any]]) -> Summary:
    summary, nothing = Summary(), TensorProto(dtype=DT_FLOAT, tensor_shape={"dim": [{"size": 0}]})
    for tag, part in parts.items():
        content = HParamsPluginData(version=0, **part).SerializeToString()
        summary.value.add(tag=tag, metadata=_read_by("hparams", content), tensor=nothing)
    return summary


def _read_by(plugin: str, content: bytes = b"") -> SummaryMetadata:
    return SummaryMetadata(plugin_data={"plugin_name": plugin, "content": content})


def charts_summary(charts: Charts) -> Summary:
    """Return what the page of custom charts reads: categories of charts by title, each with the tags that it draws."""
    layout = layout_pb2.Layout()  # type: ignore[attr-defined]
    for category, some in charts.items():
        added = layout.category.add(title=category)
        for title, tag in some.items():
            added.chart.add(title=title, multiline={"tag": [tag]})
    tensor = TensorProto(dtype=DT_STRING, tensor_shape={}, string_val=[layout.SerializeToString()])
    value = Summary.Value(tag="custom_scalars__config__", tensor=tensor, metadata=_read_by("custom_scalars"))
    return Summary(value=[value])


CHARTS: Charts = {
    "training": {
        "loss": r"loss/(train|val)$",
        "accuracy": r"accuracy/(train|val)$",
        "learning rate": r"learning_rate/",
    },
    **{category: charts for probe in PROBES.values() for category, charts in probe.charts.items()},
}


def charts_for(tags: Iterable[str]) -> Charts:
    """Return the categories and charts of `CHARTS` that draw any of these tags."""
    drawn = set[tuple[str, str]]().union(*map(_charts_of, tags))
    layout = {
        category: {title: tag for title, tag in charts.items() if (category, title) in drawn}
        for category, charts in CHARTS.items()
    }
    return {category: charts for category, charts in layout.items() if charts}


@functools.lru_cache(maxsize=10_000)
def _charts_of(tag: str) -> frozenset[tuple[str, str]]:
    """Return categories and titles of the charts that draw a tag, which the runs of a process have in common."""
    charts = ((category, title, pattern) for category, some in CHARTS.items() for title, pattern in some.items())
    return frozenset((category, title) for category, title, pattern in charts if re.match(pattern, tag))


def tags_at(path: Path, step: int) -> set[str]:
    """Return the tags that have a point at a step of an event file, as far as it is whole."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader  # for a resumed run alone

    tags: set[str] = set()
    with contextlib.suppress(OSError, DecodeError):
        for record in RawEventFileLoader(str(path)).Load():  # type: ignore[no-untyped-call]
            event = Event.FromString(record)
            tags.update(value.tag for value in event.summary.value if event.step == step)
    return tags


class TensorBoardWriter:
    """Writes one event file into the run's folder."""

    def __init__(self, folder: Path) -> None:
        self._events = EventFile(folder)
        self._older = [path for path in folder.glob(PATTERN) if path.name != self._events.name]
        self._resumed_after: int | None = None
        self._tags: set[str] = set()
        self._layout: Charts = {}

    def resume_after(self, step: int, tags: Collection[str]) -> None:
        """Let TensorBoard drop the later steps of older files, whose scalars had these tags, and keep their charts."""
        self._resumed_after = step
        self._events.add(Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)))
        self._lay_out(step + 1, tags)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Add a point to each chart; a value that is not finite is shown as TensorBoard shows nan."""
        self._lay_out(step, values)
        if step == self._resumed_after:  # all steps were done: the test row may have been written just before a kill
            there = set().union(*(tags_at(path, step) for path in self._older))
            values = {name: value for name, value in values.items() if name not in there}
        self._add(step, [Summary.Value(tag=name, simple_value=value) for name, value in values.items()])

    def histograms(self, step: int, values: dict[str, Counts]) -> None:
        """Add a histogram per name. Values that are not finite are left out and counted in `non_finite/<name>`."""
        summaries = []
        for name, counts in values.items():
            if counts.finite:
                summaries.append(Summary.Value(tag=name, histo=histogram(counts)))
            if counts.non_finite:
                summaries.append(Summary.Value(tag=f"non_finite/{name}", simple_value=float(counts.non_finite)))
        self._add(step, summaries)

    def config(self, config: Config) -> None:
        """Announce the keys of a run's config that can move a figure."""
        keys = identity_of(dict(dotted(config.model_dump(mode="json", exclude_none=True))), "figures")
        values = {key: value if isinstance(value, Hyperparameter) else str(value) for key, value in keys.items()}
        self.hyperparameters(values, HPARAM_METRICS, OFTEN_VARIED)

    def hyperparameters(
        self, values: Mapping[str, Hyperparameter], metrics: Collection[str], ahead: Collection[str] = ()
    ) -> None:
        """Announce hyperparameters, as `hyperparameter_summary` puts them."""
        self._add(0, hyperparameter_summary(values, metrics, ahead).value)

    def ended(self, step: int, *, diverged: bool) -> None:
        """Say that the run came to its end; one that stopped and can go on has none."""
        self._add(step, end_summary(diverged=diverged).value)

    def close(self) -> None:
        """Close the file."""
        self._events.close()

    def _lay_out(self, step: int, tags: Iterable[str]) -> None:
        """Write the page of custom charts, again when a new tag needs another chart; the last page counts."""
        if self._tags.issuperset(tags):
            return
        self._tags.update(tags)
        layout = charts_for(self._tags)
        if layout != self._layout:
            self._layout = layout
            self._add(step, charts_summary(layout).value)

    def _add(self, step: int, values: list[Summary.Value]) -> None:
        if values:
            self._events.add(Event(step=step, summary=Summary(value=values)))


def histogram(counts: Counts) -> HistogramProto:
    """Return a histogram of at least one value in TensorBoard's form; one bucket where all values are the same."""
    low, high = counts.low, counts.high
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-30):
        buckets, edges = [counts.finite], [low, math.nextafter(high, math.inf)]
    else:
        buckets, edges = list(counts.bins), np.linspace(low, high, BINS + 1).tolist()
    return HistogramProto(
        min=low,
        max=high,
        num=counts.finite,
        sum=counts.total,
        sum_squares=counts.total_of_squares,
        # TensorBoard reads bucket_limit as right edges, so an empty first bucket marks the left end.
        bucket_limit=edges,
        bucket=[0, *buckets],
    )
