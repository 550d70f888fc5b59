"""Read a run folder as one value, `Run`, without trusting it: files may be missing, damaged or of another version.

Nothing here raises for what a file holds. What cannot be used is left out and named in `problems`, in a sentence that
starts with the file's path.
"""

import contextlib
import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from bnexp.config.wording import brief
from bnexp.errors import BnexpError
from bnexp.files import parse_json, read_file
from bnexp.runs.data import RunData, data_of
from bnexp.runs.find import runs_inside
from bnexp.runs.folder import (
    CONFIG,
    MAX_RECORD_BYTES,
    META,
    METRICS,
    SUMMARY,
    Status,
    how_to_resume,
    newest_checkpoints,
    seed_of,
)
from bnexp.runs.identity import parts_of
from bnexp.runs.lengthening import former_ends, is_superseded
from bnexp.runs.plugins import Recorded, keys_of, recorded_in
from bnexp.runs.process import is_gone
from bnexp.runs.seal import ROWS_SEAL, changed_summary, read_config

_LARGEST = sys.float_info.max
"""Any finite figure may be true: a loss of 1e31 is a result."""
_LONGEST_S = 1e10
"""No session lasted longer: 300 years."""
_MOST_NAMED = 8
CHOSEN = "chosen"
"""The key of meta.json that says which values the tuning of a sweep chose, and of how many candidates."""
COMPLETE = ("finished", "diverged")
"""The statuses of runs that came to their end; only these have a summary.json."""
OUT_OF_MEMORY = "out of memory"
"""How the error of a run begins that needs another config, or another machine, to go on."""
UNKNOWN, DAMAGED, DEAD = "unknown", "damaged", "dead"
"""Beyond `Status`: no status is recorded; finished, but without readable figures; running, but its process is gone."""

FRACTIONS: dict[str, tuple[str, ...]] = {
    "test_accuracy": ("test", "final", "accuracy"),
    "test_accuracy_best": ("test", "best", "accuracy"),
    "val_accuracy": ("final", "accuracy"),
    "val_accuracy_best": ("best", "accuracy"),
    "train_accuracy": ("train", "accuracy"),
    "test_balanced_accuracy": ("test", "final", "balanced_accuracy"),
    "val_balanced_accuracy": ("final", "balanced_accuracy"),
}
NUMBERS: dict[str, tuple[str, ...]] = {
    "val_loss": ("final", "loss"),
    "val_loss_best": ("best", "loss"),
    "test_loss": ("test", "final", "loss"),
    "test_loss_best": ("test", "best", "loss"),
    "best_epoch": ("best", "epoch"),
    "train_loss": ("train", "loss"),
    "step_ms": ("time", "step_ms"),
    "epochs": ("epochs",),
    "steps": ("steps",),
    "skipped_steps": ("skipped_steps",),
    "last_evaluated_step": ("final", "step"),
    "peak_process_mib": ("peak_mib", "process"),
    "peak_run_mib": ("peak_mib", "run"),
    "peak_device_mib": ("peak_mib", "device"),
    **{name: ("time", name) for name in ("compile_s", "total_s", "training_s", "evaluation_s", "checkpoint_s")},
    **{name: ("time", name) for name in ("examples_per_s", "measuring_share")},
}
"""Places of the figures in summary.json. Those named `_best` belong to the weights of the best validation accuracy."""
RECOMPUTED_AT = {
    f"{part}_accuracy{suffix}": ("recomputed", part, which)
    for which, suffix in (("final", ""), ("best", "_best"))
    for part in ("val", "test")
}
"""Places of the scores with recomputed statistics, beside those with running ones."""
FRACTIONS |= {f"{name}_recomputed": (*place, "accuracy") for name, place in RECOMPUTED_AT.items()}
AVERAGED = {
    f"{part}_accuracy{suffix}_ema{recomputed}": ("ema", which, f"{part}{recomputed}", "accuracy")
    for which, suffix in (("final", ""), ("best", "_best"))
    for part in ("val", "test")
    for recomputed in ("", "_recomputed")
}
"""Places of the scores of averaged weights."""
FRACTIONS |= AVERAGED
NUMBERS |= {f"{name}_only_running": (*place, "only_running") for name, place in RECOMPUTED_AT.items()}
NUMBERS |= {f"{name}_only_recomputed": (*place, "only_recomputed") for name, place in RECOMPUTED_AT.items()}

ENVIRONMENT = {
    "device": ("device_name",),
    "precision": ("precision",),
    "threads": ("threads",),
    "stacked": ("stacked",),
    "torch": ("versions", "torch"),
    "bnexp": ("bnexp",),
    "commit": ("bnexp_commit",),
}
"""Places in meta.json of what can make two runs of one config differ."""


class Record:
    """Typed access to a JSON record such as meta.json; a missing one is empty, without a problem.

    `problems` has a sentence for each value that was asked for and is of the wrong kind, or one for the whole file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.exists = path, True
        self.problems: list[str] = []
        self.values: dict[str, Any] = {}
        self.sha256 = ""
        self._read()

    def forget(self) -> None:
        """Become the record of a file that is not there."""
        self.exists, self.problems, self.values, self.sha256 = False, [], {}, ""

    def _read(self) -> None:
        path = self.path
        try:
            content = read_file(path, MAX_RECORD_BYTES, links=False)
            self.sha256 = hashlib.sha256(content).hexdigest()
            self.values = parse_json(content)
        except FileNotFoundError:
            self.exists = False
        except OSError as error:
            self.problems.append(f"{path}: cannot be read: {error.strerror}")
        except ValueError as error:
            self.problems.append(f"{path}: {error}")

    def text(self, *keys: str) -> str | None:
        """Return the text at a place, or None."""
        word: str | None = self._checked(keys, "a word", lambda value: isinstance(value, str))
        return word

    def number(self, *keys: str, largest: float = _LARGEST) -> float | None:
        """Return the finite number at a place, of magnitude at most `largest`, or None."""

        def fits(value: Any) -> bool:
            return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= largest

        number = self._checked(keys, "a finite number", fits)
        return None if number is None else float(number)

    def fraction(self, *keys: str) -> float | None:
        """Return the accuracy at a place, between 0 and 1, or None."""
        value = self.number(*keys, largest=1)
        if value is not None and value < 0:
            self._refuse(keys, value, "a fraction")
            return None
        return value

    def count(self, *keys: str) -> int | None:
        """Return the whole number at a place, 0 or more, or None."""
        count: int | None = self._checked(keys, "a whole number", lambda one: _is_whole(one) and 0 <= one <= _LARGEST)
        return count

    def moment(self, key: str) -> datetime | None:
        """Return the time at a key, in UTC where it names no zone, or None."""
        text = self.text(key)
        if text is not None:
            with contextlib.suppress(ValueError):
                moment = datetime.fromisoformat(text)
                if 1980 <= moment.year < 9000:
                    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            self._refuse((key,), text, "a time such as 2026-01-31T12:00:00+00:00")
        return None

    def _checked(self, keys: tuple[str, ...], expected: str, fits: Callable[[Any], bool]) -> Any:
        """Return the value at a place, or None where there is none or it does not fit."""
        value = self._at(keys)
        if value is None or fits(value):
            return value
        self._refuse(keys, value, expected)
        return None

    def _at(self, keys: tuple[str, ...]) -> object:
        value: object = self.values
        for depth, key in enumerate(keys):
            if value is None:
                return None
            if not isinstance(value, dict):
                self._refuse(keys[:depth], value, "keys and values")
                return None
            value = value.get(key)
        return value

    def _refuse(self, keys: tuple[str, ...], value: object, expected: str) -> None:
        problem = f"{self.path}: {'.'.join(keys)} is {_quoted(value)}, expected {expected}"
        if problem not in self.problems:
            self.problems.append(problem)


def _quoted(value: object) -> str:
    """Return a value as messages show it, cut to a length; a damaged record may hold anything."""
    return brief(repr(value), 40)


@dataclass(frozen=True)
class RecordedDivergence:
    """The step and the layer where the values of a run were first not finite."""

    step: int | None
    layer: str | None

    def __str__(self) -> str:
        step = "an unknown step" if self.step is None else f"step {self.step}"
        return f"{step} in {self.layer}" if self.layer else step


@dataclass(frozen=True)
class Run:
    """The records of one run.

    Attributes:
        name: in meta.json, else in the config, else the name of the folder above.
        seed: in meta.json, else in the config, else in the folder's name, else None.
        repeat: 1 for seed0, 2 for seed0-2.
        config: the resolved config that it began with, with dotted keys, and as `plugins.NAME` the code of the norms
            and activations that bnexp does not have; None where that cannot be told.
        status: a `Status`, or unknown, damaged or dead.
        started, ended, continued: times with zone, the last of its present session; None where not known or not yet.
        earlier_s: seconds that its earlier sessions took.
        role: in its sweep: `tuning`, or None.
        chosen: keys whose values the tuning of its sweep chose, with these; `candidates` is of how many, 0 of none.
        former_ends: steps after which it had ended, and was scored on the test set, before it was made longer.
        environment: by the names in `ENVIRONMENT`, as far as known.
        parameters: numbers that it trains; None where a run of an earlier version has not come to its end.
        network: the digests of `runs/identity.network_of`, `layout` and `function`, as far as recorded.
        parts: of a batch, one of each process, over which its norms took statistics; 1 for the whole.
        code: what it recorded of norms and activations that bnexp does not have, by their names.
        data: what it recorded of its data.
        figures: of the summary, by the names in `FRACTIONS` and `NUMBERS`; accuracies are fractions.
        rows_seal: size and SHA-256 of metrics.jsonl as the run wrote it; empty where that is not recorded.
        problems: one sentence per file that is missing or damaged.
    """

    folder: Path
    name: str
    seed: int | None
    repeat: int
    config: Mapping[str, Any] | None
    status: str
    started: datetime | None = None
    ended: datetime | None = None
    continued: datetime | None = None
    earlier_s: float = 0.0
    error: str | None = None
    role: str | None = None
    chosen: Mapping[str, Any] = field(default_factory=dict)
    candidates: int = 0
    former_ends: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    parameters: int | None = None
    network: Mapping[str, str] = field(default_factory=dict)
    parts: int = 1
    code: Mapping[str, Recorded] = field(default_factory=dict)
    data: RunData = field(default_factory=RunData)
    total_steps: int | None = None
    steps_per_epoch: int | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    divergence: RecordedDivergence | None = None
    rows_seal: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def can_resume(self) -> bool:
        """Tell whether the run stopped before its end, left a checkpoint, and may come further as it is."""
        if self.first_line_of_error.startswith(OUT_OF_MEMORY):
            return False
        with contextlib.suppress(OSError):
            return self.status in ("interrupted", "failed", DEAD) and bool(newest_checkpoints(self.folder))
        return False

    @property
    def took_s(self) -> float | None:
        """How long all sessions took, without the pauses between them; None before its end, or where not known."""
        return None if self.ended is None else self.took_until(self.ended)

    def took_until(self, end: datetime) -> float | None:
        """Return how long all sessions took, where the present one lasts until `end`; None where that is not known."""
        begin = self.continued or self.started
        return None if begin is None or end < begin else self.earlier_s + (end - begin).total_seconds()

    @property
    def recency(self) -> tuple[float, int]:
        """The order of runs, oldest first: by their start, or the last change of their folder; then by repeat."""
        if self.started is not None:
            return self.started.timestamp(), self.repeat
        try:
            return self.folder.stat().st_mtime, self.repeat
        except OSError:
            return 0.0, self.repeat

    @property
    def first_line_of_error(self) -> str:
        """The first line of its error, without the folder in front; empty where it has none."""
        line = next(iter((self.error or "").strip().splitlines()), "")
        where, _, what = line.partition(": ")
        return what if Path(where).parts[-2:] == self.folder.parts[-2:] else line

    @property
    def metrics_path(self) -> Path:
        """The file of its logged rows."""
        return self.folder / METRICS


def refuse_diverged(runs: Sequence[Run]) -> None:
    """Raise an error that names the runs that diverged, as `--fail-on-divergence` asks.

    Raises:
        BnexpError: a run diverged.
    """
    if diverged := [run for run in runs if run.status == "diverged"]:
        named = "\n".join(f"  {run.folder} at {run.divergence}" for run in diverged[:_MOST_NAMED])
        more = f"\n  and {len(diverged) - _MOST_NAMED} more" if len(diverged) > _MOST_NAMED else ""
        raise BnexpError(f"--fail-on-divergence: {len(diverged)} of {len(runs)} runs diverged:\n{named}{more}")


def records_of(folder: Path) -> tuple[Record, Record]:
    """Return meta.json and summary.json; the summary of an end after which the run was made longer is none."""
    meta, summary = Record(folder / META), Record(folder / SUMMARY)
    if is_superseded(summary.sha256, meta.values):
        summary.forget()
    return meta, summary


def read_run(folder: Path) -> Run:
    """Read config.yaml, meta.json and summary.json of a run; what is wrong with them is in `problems`."""
    meta, summary = records_of(folder)
    config, config_problem = read_config(folder, meta.values)
    seed_in_name, repeat = seed_of(folder)
    figures = _figures(summary)
    status = _status(meta, summary, figures)
    seed, name = ((config or {}).get(key) for key in ("seed", "name"))
    noted, code = _other_in_meta(meta, seed, name), recorded_in(meta.values)
    divergence = None
    if status == "diverged":
        divergence = RecordedDivergence(summary.count("divergence", "step"), summary.text("divergence", "layer"))
    run = Run(
        folder=folder,
        name=meta.text("name") or (name if isinstance(name, str) else folder.parent.name),
        seed=next(filter(_is_whole, (meta.count("seed"), seed, seed_in_name)), None),
        repeat=repeat,
        config=config and {**config, **{key: then for key, (_, then) in noted.items()}, **keys_of(code)},
        status=status,
        started=meta.moment("started"),
        ended=meta.moment("ended"),
        continued=meta.moment("continued"),
        earlier_s=_earlier_s(meta),
        error=meta.text("error"),
        role=meta.text("role"),
        chosen=_chosen(meta),
        candidates=meta.count(CHOSEN, "candidates") or 0,
        former_ends=former_ends(meta.values),
        environment=_environment(meta),
        parameters=summary.count("parameters") or meta.count("parameters"),
        network={name: digest for name in ("layout", "function") if (digest := meta.text("network", name))},
        parts=parts_of(meta.values),
        code=code,
        data=data_of(config, meta.values),
        total_steps=meta.count("plan", "total_steps"),
        steps_per_epoch=meta.count("plan", "steps_per_epoch"),
        figures=figures,
        divergence=divergence,
        rows_seal=sealed if isinstance(sealed := meta.values.get(ROWS_SEAL), dict) else {},
    )
    in_config = [config_problem] if config_problem else _refused(folder / CONFIG, seed, name)
    in_folder = [*in_config, *_contradicted(folder / CONFIG, noted), *_hidden(folder)]
    # Reading a value may add a problem to its record, so the problems are complete only now.
    return replace(run, problems=(*in_folder, *_missing(meta, summary, status), *meta.problems, *summary.problems))


def _other_in_meta(meta: Record, seed: object, name: object) -> dict[str, tuple[object, object]]:
    """Return seed and name where a config without a seal says other ones than meta.json, and what both say."""
    pairs = {"seed": (seed, meta.count("seed")), "name": (name, meta.text("name"))}
    return {key: pair for key, pair in pairs.items() if None not in pair and pair[0] != pair[1]}


def status_at(folder: Path) -> str | None:
    """Return the status of the run in a folder, as `read_run` does; None where no records of a run are."""
    meta, summary = records_of(folder)
    return _status(meta, summary, _figures(summary)) if meta.exists or summary.exists else None


def _status(meta: Record, summary: Record, figures: Mapping[str, float]) -> str:
    """Return the status, from summary.json first: it is written last."""
    status = _known_status(summary) or _known_status(meta) or UNKNOWN
    if status == "finished" and not figures.keys() & (FRACTIONS.keys() - {"train_accuracy"}):
        return DAMAGED
    if status == "running" and is_gone(meta.text("host"), meta.count("pid"), meta.text("process_started")):
        return DEAD
    return status


def _known_status(record: Record) -> str | None:
    status = record.text("status")
    if status is None or status in get_args(Status):
        return status
    record.problems.append(f"{record.path}: unknown status {_quoted(status)}")
    return None


def _figures(summary: Record) -> dict[str, float]:
    there = summary.values.keys()  # most runs have no scores with averaged weights or recomputed statistics
    fractions = {name: summary.fraction(*place) for name, place in FRACTIONS.items() if place[0] in there}
    numbers = {name: summary.number(*place) for name, place in NUMBERS.items() if place[0] in there}
    return {name: value for name, value in (fractions | numbers).items() if value is not None}


def _environment(meta: Record) -> dict[str, str]:
    counts = ("threads", "stacked")
    values = {name: meta.count(*place) if name in counts else meta.text(*place) for name, place in ENVIRONMENT.items()}
    known = {name: str(value) for name, value in values.items() if value is not None}
    # How many were stacked is a matter of how many were left to do.
    return known | ({"stacked": "no" if known["stacked"] == "1" else "yes"} if "stacked" in known else {})


def _chosen(meta: Record) -> Mapping[str, Any]:
    chosen = meta.values.get(CHOSEN)
    values = chosen.get("values") if isinstance(chosen, dict) else None
    return values if isinstance(values, dict) else {}


def _earlier_s(meta: Record) -> float:
    seconds = meta.number("earlier_s", largest=_LONGEST_S) or 0.0
    if seconds < 0:
        meta.problems.append(f"{meta.path}: earlier_s is {seconds:g}, expected a number of seconds, 0 or more")
    return max(seconds, 0.0)


def _missing(meta: Record, summary: Record, status: str) -> list[str]:
    problems = [] if meta.exists else [f"{meta.path}: missing"]
    if summary.sha256 and (changed := changed_summary(summary.path, summary.sha256, meta.values)):
        problems.append(changed)
    if not summary.exists and status in (*COMPLETE, DAMAGED):
        problems.append(f"{summary.path}: missing, although {meta.path.name} says {meta.text('status')}")
    elif summary.exists and not summary.problems and status == DAMAGED:
        problems.append(f"{summary.path}: holds no accuracy")
    if status == DEAD:
        gone = f"process {meta.count('pid')} is gone: it was killed"
        problems.append(f"{meta.path}: says running, but {gone}; {how_to_resume(meta.path.parent)}")
    return problems


def _contradicted(path: Path, noted: Mapping[str, tuple[object, object]]) -> list[str]:
    return [
        f"{path}: {key} is {_quoted(now)}, but {META} says {_quoted(then)}, which counts"
        for key, (now, then) in noted.items()
    ]


def _hidden(folder: Path) -> list[str]:
    return [f"{inside}: a run inside the folder of {folder} is not read; move it out" for inside in runs_inside(folder)]


def _refused(path: Path, seed: object, name: object) -> list[str]:
    """Say where seed or name of a config are of the wrong type; a config of another version may lack them."""
    problems = []
    if seed is not None and not _is_whole(seed):
        problems.append(f"{path}: seed is {_quoted(seed)}, expected a whole number")
    if name is not None and not isinstance(name, str):
        problems.append(f"{path}: name is {_quoted(name)}, expected a word")
    return problems


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
