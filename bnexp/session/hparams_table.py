"""Show all runs on TensorBoard's HParams page, whose own columns are those of the first run that it finds."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorboard.plugins.hparams import api_pb2, backend_context, hparams_plugin, metadata
from tensorboard.plugins.hparams.error import HParamsError
from tensorboard.plugins.hparams.plugin_data_pb2 import (  # type: ignore[attr-defined]
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)

from bnexp.runs.folder import META, read_json
from bnexp.runs.identity import OFTEN_VARIED
from bnexp.runs.lengthening import LENGTH, LENGTHENED
from bnexp.runs.run import DAMAGED, status_at
from bnexp.runs.seal import read_config

Contents = dict[str, dict[str, bytes]]
"""The serialized hyperparameters of each run, by tag."""

_NUMBER, _BOOL, _TEXT = "number_value", "bool_value", "string_value"
_TYPES = {_NUMBER: "DATA_TYPE_FLOAT64", _BOOL: "DATA_TYPE_BOOL", _TEXT: "DATA_TYPE_STRING"}
_STATUSES = {
    "finished": "SUCCESS",
    "diverged": "FAILURE",
    "failed": "FAILURE",
    DAMAGED: "FAILURE",
    "running": "RUNNING",
}
"""TensorBoard's words for the status of a run; a run that stopped and can go on is UNKNOWN."""


class HParamsOfAllRuns(hparams_plugin.HParamsPlugin):
    """The HParams page, with a column for every key of any run and the status that each run has now."""

    def __init__(self, context: Any) -> None:
        super().__init__(context)  # type: ignore[no-untyped-call]
        self._context = AllRuns(context)  # type: ignore[no-untyped-call]

    def get_plugin_apps(self) -> dict[str, Any]:
        """Return the WSGI app of each address; requests for rows go through `with_words`."""
        apps: dict[str, Any] = super().get_plugin_apps()  # type: ignore[no-untyped-call]
        answer = apps["/session_groups"]

        def answer_with_words(environ: dict[str, Any], start_response: Any) -> Any:
            asked = with_words(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
            body = {"wsgi.input": BytesIO(asked), "CONTENT_LENGTH": str(len(asked))}
            return answer({**environ, **body}, start_response)

        return {**apps, "/session_groups": answer_with_words}


class AllRuns(backend_context.Context):
    """Give the page its data, of all runs."""

    def hparams_metadata(self, ctx: Any, experiment_id: str, run_tag_filter: Any = None) -> Contents:
        """Return the hyperparameters of each run, as `one_table` makes them."""
        found = super().hparams_metadata(ctx, experiment_id, run_tag_filter)  # type: ignore[no-untyped-call]
        runs = Path(self.tb_context.logdir)
        lengths = {run: length for run in found if (length := _new_length(runs / run))}
        return one_table(found, {run: status for run in found if (status := status_at(runs / run))}, lengths)

    def experiment_from_metadata(self, *arguments: Any, **options: Any) -> Any:
        """Return the columns: first those that differ, and of these the ones of `OFTEN_VARIED`."""
        experiment = super().experiment_from_metadata(*arguments, **options)  # type: ignore[no-untyped-call]
        columns = sorted(experiment.hparam_infos, key=lambda info: (not info.differs, _rank(info.name)))
        experiment.ClearField("hparam_infos")
        experiment.hparam_infos.extend(columns)
        return experiment


def _new_length(folder: Path) -> dict[str, float]:
    """Return the keys that say how long a run is which was made longer since it announced them; else nothing."""
    meta = read_json(folder / META) or {}
    if LENGTHENED not in meta:
        return {}
    config, _ = read_config(folder, meta)
    return {key: value for key in LENGTH if isinstance(value := (config or {}).get(key), int)}


def with_words(request: bytes) -> bytes:
    """Return a request for rows, with each switch and number in its filters also as text.

    A column that holds text in some run holds `true` and `0.1` as text in all; the page filters by the plain values.
    """
    try:
        asked = json.loads(request)
        for column in asked["colParams"]:
            if values := column.get("filterDiscrete"):
                words = [_switch(one) if isinstance(one, bool) else f"{one:.15g}" for one in values if _is_number(one)]
                column["filterDiscrete"] = [*values, *words]
        return json.dumps(asked).encode()
    except (ValueError, KeyError, TypeError, AttributeError):
        return request  # TensorBoard says what is wrong with it


def _is_number(value: object) -> bool:
    return isinstance(value, bool | int | float)


def _switch(value: bool) -> str:
    return "true" if value else "false"


def one_table(
    found: Mapping[str, Mapping[str, bytes]],
    statuses: Mapping[str, str],
    lengths: Mapping[str, Mapping[str, float]] = {},
) -> Contents:
    """Return the hyperparameters of runs as one table: every run announces the columns of all.

    A key such as `model.bias`, a switch in one run and a word in another, is text in each, so that a filter finds all.

    Args:
        found: the bytes of each run, by tag; what cannot be parsed is left out.
        statuses: of bnexp's runs, as `bnexp ls` shows them.
        lengths: of the runs that were made longer, in place of those that they announced.
    """
    rows = {run: row for run, tags in found.items() if (row := _row_of(tags)) is not None}
    for run in rows.keys() & lengths.keys():
        for key in LENGTH:
            rows[run].hparams.pop(key, None)
        for key, value in lengths[run].items():
            rows[run].hparams[key].number_value = value
    kinds = _kinds(rows.values())
    for row in rows.values():
        for name, value in row.hparams.items():
            if kinds[name] == _TEXT:
                value.string_value = _as_text(value)
    experiment = api_pb2.Experiment(  # type: ignore[attr-defined]
        hparam_infos=_columns(list(rows.values()), kinds), metric_infos=_metrics(found.values())
    )
    table: Contents = {}
    for run, row in rows.items():
        parts = {**found[run], metadata.SESSION_START_INFO_TAG: _packed(session_start_info=row)}
        parts[metadata.EXPERIMENT_TAG] = _packed(experiment=experiment)
        if run in statuses:
            ended = SessionEndInfo(status=f"STATUS_{_STATUSES.get(statuses[run], 'UNKNOWN')}")
            parts[metadata.SESSION_END_INFO_TAG] = _packed(session_end_info=ended)
        table[run] = parts
    return table


def _packed(**part: Any) -> bytes:
    content: bytes = metadata.create_summary_metadata(HParamsPluginData(**part)).plugin_data.content  # type: ignore[no-untyped-call]
    return content


def _row_of(tags: Mapping[str, bytes]) -> SessionStartInfo | None:
    """Return the hyperparameters of a run; None where it announced none."""
    with suppress(KeyError, DecodeError, HParamsError):
        row = metadata.parse_session_start_info_plugin_data(tags[metadata.SESSION_START_INFO_TAG])  # type: ignore[no-untyped-call]
        for name in [name for name, value in row.hparams.items() if value.WhichOneof("kind") not in _TYPES]:
            del row.hparams[name]
        return row
    return None


def _kinds(rows: Iterable[SessionStartInfo]) -> dict[str, str]:
    """Return the kind of each key: that of its values, or text where they are of several kinds."""
    kinds: dict[str, str] = {}
    for row in rows:
        for name, value in row.hparams.items():
            kind = value.WhichOneof("kind")
            kinds[name] = kind if kinds.get(name, kind) == kind else _TEXT
    return kinds


def _as_text(value: Any) -> str:
    """Write a value as YAML does."""
    kind = value.WhichOneof("kind")
    if kind == _BOOL:
        return _switch(value.bool_value)
    return f"{value.number_value:.15g}" if kind == _NUMBER else str(value.string_value)


def _columns(rows: list[SessionStartInfo], kinds: Mapping[str, str]) -> list[Any]:
    """Return a column per key, with its values and whether they differ; a key that only some runs have differs."""
    columns = {}
    for name, kind in kinds.items():
        values = [getattr(row.hparams[name], kind) for row in rows if name in row.hparams]
        distinct = sorted(set(values))
        differs = len(distinct) > 1 or len(values) < len(rows)
        columns[name] = api_pb2.HParamInfo(name=name, type=_TYPES[kind], differs=differs)  # type: ignore[attr-defined]
        if kind == _NUMBER:
            columns[name].domain_interval.min_value, columns[name].domain_interval.max_value = distinct[0], distinct[-1]
        else:
            columns[name].domain_discrete.extend(distinct)
    if not any(column.differs for column in columns.values()):
        for name in OFTEN_VARIED:
            if name in columns:
                columns[name].differs = True
    return list(columns.values())


def _metrics(runs: Iterable[Mapping[str, bytes]]) -> list[Any]:
    """Return the figures that any run announced, each once."""
    metrics: dict[tuple[str, str], Any] = {}
    for tags in runs:
        with suppress(KeyError, DecodeError, HParamsError):
            experiment = metadata.parse_experiment_plugin_data(tags[metadata.EXPERIMENT_TAG])  # type: ignore[no-untyped-call]
            for info in experiment.metric_infos:
                metrics.setdefault((info.name.group, info.name.tag), info)
    return list(metrics.values())


def _rank(name: str) -> tuple[int, str]:
    return OFTEN_VARIED.index(name) if name in OFTEN_VARIED else len(OFTEN_VARIED), name
