"""bnexp in Python: what `import bnexp` offers to a notebook or a script, by the functions that the commands use.

What a command prints is the value of a function here, which a notebook shows and pandas takes on. Errors are those of
the commands, as exceptions; what a command warns of, and its notes, are a `BnexpWarning`.
"""

import operator
import os
import shutil
import sys
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, SupportsIndex, overload

from bnexp.analysis.compare import compare_runs
from bnexp.analysis.frames import frame_of_metrics, frame_of_runs
from bnexp.analysis.listing import list_runs
from bnexp.analysis.verdict import KEYS, ClaimVerdict, verdict_table
from bnexp.blueprint import draw_loaded
from bnexp.commands.compare import refuse_target
from bnexp.commands.plot import Kind, SizeName, figure_notes, form_of, make_plot, write_plot
from bnexp.commands.train import place_and_remarks
from bnexp.commands.verdict import judge_study
from bnexp.config.loading import Draft, Loaded, complete, read_draft
from bnexp.config.overrides import as_yaml, read_setting
from bnexp.config.schema import Config
from bnexp.document.exports import to_records
from bnexp.document.plots import Plot
from bnexp.document.table import Table
from bnexp.document.terminal import to_text
from bnexp.document.values import Document
from bnexp.errors import BnexpError, ConfigError, Interrupted
from bnexp.runs import run as records
from bnexp.runs.find import find_runs
from bnexp.session.display import display_for
from bnexp.session.executor import run_all
from bnexp.session.terms import Terms, is_one_of_several, show_nothing

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "BnexpError",
    "BnexpWarning",
    "Comparison",
    "Config",
    "ConfigError",
    "Figure",
    "Interrupted",
    "Run",
    "Runs",
    "Verdicts",
    "compare",
    "load_config",
    "load_runs",
    "plot",
    "train",
    "verdict",
]

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
RunsOrPaths = Paths | records.Run | Iterable[records.Run]
_VALUES = Path("config")
"""What messages call a config that was given as values."""
_CTRL_C = 130
_one_at_a_time = threading.Lock()
"""A training sets switches of torch for the whole process."""


class BnexpWarning(UserWarning):
    """What a command would warn of, or note, beside its result; `--strict` is `warnings.simplefilter("error", ...)`."""


class _Shown:
    """A value that a notebook shows as a table or a figure, and a terminal as text."""

    def _document(self) -> Document:
        raise NotImplementedError

    def _repr_html_(self) -> str:
        from bnexp.document.page import to_fragment  # loads matplotlib

        return to_fragment(self._document())

    def __repr__(self) -> str:
        return to_text(self._document(), shutil.get_terminal_size((100, 24)).columns).rstrip("\n")


class _ShownRuns(_Shown):
    """Runs, which are shown as `bnexp ls` lists them."""

    @property
    def _shown(self) -> "Sequence[Run]":
        raise NotImplementedError

    def _document(self) -> Document:
        return [list_runs(self._shown, Path(), datetime.now(UTC).astimezone())]

    @cached_property
    def metrics(self) -> "pd.DataFrame":
        """The logged figures in long form: run, step, epoch, metric, value. See `load_runs`."""
        frame, problems = frame_of_metrics(self._shown, self._metric_names)
        for problem in problems:
            _warn(problem)
        return frame

    _metric_names: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Run(_ShownRuns, records.Run):
    """One run, read from its folder: its config, its status, what it reached, and `metrics`, what it logged.

    Attributes:
        folder: where its records lie.
        name, seed: of the run.
        config: the resolved config, with dotted keys.
        status: finished, diverged, interrupted, failed, running, ...
        figures: of its end, such as `test_accuracy`; accuracies are fractions.
        problems: one sentence per file that is missing or damaged.
    """

    @property
    def _shown(self) -> "Sequence[Run]":
        return [self]


class Runs(_ShownRuns, Sequence[Run]):
    """Runs in a table (`runs`), and what they logged in a second one (`metrics`); a sequence of `Run`."""

    def __init__(self, runs: Iterable[records.Run], metrics: Sequence[str] = ()) -> None:
        self._runs = [_run_of(run) for run in runs]
        self._metric_names = tuple(metrics)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> "Runs": ...
    def __getitem__(self, index: SupportsIndex | slice) -> "Run | Runs":
        return Runs(self._runs[index], self._metric_names) if isinstance(index, slice) else self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def _shown(self) -> Sequence[Run]:
        return self._runs

    @cached_property
    def runs(self) -> "pd.DataFrame":
        """One row per run: its folder as `run`, name, seed, status, the keys of its config and its figures."""
        return frame_of_runs(self._runs)

    @property
    def problems(self) -> list[str]:
        """One sentence per record that is missing or damaged."""
        return [problem for run in self._runs for problem in run.problems]


@dataclass(frozen=True, repr=False)
class Comparison(_Shown):
    """What arms reached: `arms` and, where they differ in their learning rate, `rates` for pandas, and `notes`.

    Attributes:
        tables: the same as they are shown.
    """

    tables: tuple[Table, ...]

    @property
    def arms(self) -> "pd.DataFrame":
        """One row per arm, with the columns of `bnexp compare --format csv`; accuracies are fractions.

        With a baseline, the differences to it are columns such as `accuracy/val:last_difference_mean`.
        """
        return _frame(self.tables[0])

    @property
    def rates(self) -> "pd.DataFrame | None":
        """One row per arm at its own best learning rate; None where arms do not differ in their rates."""
        return next((_frame(table) for table in self.tables if table.key == "rates"), None)

    @property
    def notes(self) -> list[str]:
        """What limits the comparison, a sentence or two each."""
        return [note for table in self.tables for note in table.notes]

    def _document(self) -> Document:
        return self.tables


class Verdicts(_Shown, Sequence[ClaimVerdict]):
    """The verdicts on the claims of a study, in their order; `table` has them for pandas, `notes` what limits them."""

    def __init__(self, verdicts: Iterable[ClaimVerdict], notes: Sequence[str] = ()) -> None:
        self._verdicts, self.notes = list(verdicts), list(notes)

    @overload
    def __getitem__(self, index: SupportsIndex) -> ClaimVerdict: ...
    @overload
    def __getitem__(self, index: slice) -> "Verdicts": ...
    def __getitem__(self, index: SupportsIndex | slice) -> "ClaimVerdict | Verdicts":
        return Verdicts(self._verdicts[index], self.notes) if isinstance(index, slice) else self._verdicts[index]

    def __len__(self) -> int:
        return len(self._verdicts)

    @property
    def table(self) -> "pd.DataFrame":
        """One row per claim: claim, verdict, effect, low, high, n, p, p_corrected, more_seeds, reason."""
        import pandas as pd

        return pd.DataFrame.from_records([one.record for one in self._verdicts], columns=list(KEYS))

    def _document(self) -> Document:
        table = verdict_table(self._verdicts)
        return [replace(table, notes=(*table.notes, *self.notes))]


@dataclass(frozen=True, repr=False)
class Figure(_Shown):
    """A figure of runs, which a notebook draws; `save` writes it into a file.

    Attributes:
        plot: its numbers, title and caption; `plot.notes` say what it leaves out.
    """

    plot: Plot

    def save(self, path: str | os.PathLike[str], size: SizeName = "page") -> Path:
        """Write the figure as png, svg or pdf, by the ending of the name, and return the path.

        Args:
            path: the file, which is replaced.
            size: 3.3 inches wide for a `column` of a paper, 6.9 for a `page`, 10 for a `slide`.

        Raises:
            ConfigError: another ending, or no place for a file.
            BnexpError: it cannot be written.
        """
        file = Path(path)
        write_plot(self.plot, form_of(file), file, size)
        return file

    def _document(self) -> Document:
        return [self.plot]

    def __repr__(self) -> str:
        return "\n".join([self.plot.title, self.plot.caption, *(f"note: {note}" for note in self.plot.notes)])


Given = str | os.PathLike[str] | Mapping[str, object] | Config


def load_config(
    config: Given,
    *,
    overrides: Mapping[str, object] | None = None,
    seed: int | None = None,
    name: str | None = None,
) -> Config:
    """Read and check a config.

    Args:
        config: a YAML file; or its values as nested mappings, which need a name; or a config.
        overrides: values by their dotted key, such as `{"model.norm": "ln"}`; None takes a key back to its default.
        seed: replaces the config's.
        name: replaces the config's, which defaults to the name of the file.

    Raises:
        ConfigError: every mistake at once, each with its place, what was found and what was expected.
    """
    loaded = _loaded(config, overrides, _seed(seed), name)
    for note in loaded.notes:
        _warn(note)
    return loaded.config


@overload
def train(
    config: Given,
    *,
    overrides: Mapping[str, object] | None = None,
    seed: int | None = None,
    name: str | None = None,
    runs_dir: str | os.PathLike[str] = "runs",
    data_dir: str | os.PathLike[str] | None = None,
    device: str = "auto",
    resume: bool = False,
    progress: bool = False,
) -> Run: ...
@overload
def train(
    config: Given,
    *,
    overrides: Mapping[str, object] | None = None,
    seed: Iterable[int],
    name: str | None = None,
    runs_dir: str | os.PathLike[str] = "runs",
    data_dir: str | os.PathLike[str] | None = None,
    device: str = "auto",
    resume: bool = False,
    progress: bool = False,
) -> Runs: ...
def train(
    config: Given,
    *,
    overrides: Mapping[str, object] | None = None,
    seed: int | Iterable[int] | None = None,
    name: str | None = None,
    runs_dir: str | os.PathLike[str] = "runs",
    data_dir: str | os.PathLike[str] | None = None,
    device: str = "auto",
    resume: bool = False,
    progress: bool = False,
) -> Run | Runs:
    """Train a config, once per seed, as `bnexp train` does, and return the run; with several seeds, the runs.

    Ctrl-C, or a notebook's interrupt, ends the step in hand and writes a checkpoint, from which `resume` goes on; a
    second one leaves at once. In another thread than the main one signals are not heard. A process trains one run at a
    time: a second thread waits.

    Args:
        config: a YAML file, its values as nested mappings, or a config.
        overrides: values by their dotted key, such as `{"model.norm": "ln"}`.
        seed: one, or several; by default the config's.
        name: replaces the config's, which is that of the folder above its runs.
        runs_dir: the folder above the run folders.
        data_dir: where datasets lie, or are downloaded to; by default where the commands keep them.
        device: auto, cpu, cuda, cuda:N or mps.
        resume: go on with the newest run of this config; one that is complete is returned as it is.
        progress: print a line per evaluation; in a terminal, draw a bar.

    Raises:
        ConfigError: the config or an argument is wrong; nothing was written.
        KeyboardInterrupt: by Ctrl-C; it says how to resume.
        Interrupted: by another signal that ends a process.
        BnexpError: the run failed; of several, after the others had their turn.
    """
    if is_one_of_several(os.environ, ["train", "CONFIG"]):
        raise ConfigError("bnexp.train trains in one process; several train together by: torchrun ... -m bnexp train")
    seeds = [_seed(seed)] if seed is None or isinstance(seed, SupportsIndex) else list(map(operator.index, seed))
    if not seeds:
        raise ConfigError("seed: none given; expected a whole number, or several such as range(3)")
    loaded = [_loaded(config, overrides, one, name) for one in seeds]
    drawn = draw_loaded(_path_of(config), loaded, _path(data_dir))
    place, remarks = place_and_remarks([drawn], Path(runs_dir), resume=resume)
    for lead, text in remarks:
        if lead != "data":
            _warn(text)
        elif progress:
            sys.stdout.write(f"{text}\n")
    terms = Terms(
        runs_dir=place,
        data_dir=_path(data_dir),
        device=None if device == "auto" else device,
        show=display_for if progress else show_nothing,
        warn=_warn,
        note=_warn,
        argv=("bnexp.train", str(_path_of(config))),
        resume=resume,
    )
    try:
        with _one_at_a_time:
            folders = [result.folder for result in run_all([(one, terms) for one in drawn.blueprints], _warn)]
    except Interrupted as stopped:
        if stopped.exit_code == _CTRL_C:  # `except Exception` around a loop of trainings is no reason to go on
            raise KeyboardInterrupt(str(stopped)) from None
        raise
    runs = Runs(map(records.read_run, folders))
    return runs[0] if seed is None or isinstance(seed, SupportsIndex) else runs


def load_runs(paths: Paths = (), *, metrics: Iterable[str] = (), runs_dir: str | os.PathLike[str] = "runs") -> Runs:
    """Read runs, without trusting what lies in their folders.

    `runs` of what is returned is a table with a row per run, and `metrics` one in long form, with a row per run, step
    and metric; both have `run`, the folder, by which they are merged. Metrics are read when they are first asked for.

    Args:
        paths: run folders, folders above runs, or glob patterns, also relative to `runs_dir`; none for all of it.
        metrics: those to read, such as `accuracy/val`, or patterns such as `gradient_norm/*`; none for all.
        runs_dir: where runs lie.

    Raises:
        ConfigError: there is no such path, or no run anywhere.
    """
    names = [metrics] if isinstance(metrics, str) else metrics
    return Runs(map(records.read_run, find_runs(_words(paths), Path(runs_dir))), tuple(names))


def compare(
    runs: RunsOrPaths = (),
    *,
    columns: str | Iterable[str] = (),
    baseline: str | None = None,
    where: str | Iterable[str] = (),
    group_by: str | Iterable[str] = (),
    target: float | None = None,
    sort: str | None = None,
    runs_dir: str | os.PathLike[str] = "runs",
) -> Comparison:
    """Compare arms: in which keys of the config they differ, and what each reached over its seeds.

    Args:
        runs: runs, or paths as for `load_runs`.
        columns: metrics, each with its point, in the place of the usual figures, such as `accuracy/val:best`.
        baseline: the name of the arm with which the others are compared, paired by seed.
        where: conditions on the config, such as `model.norm=bn`.
        group_by: keys of the config; arms of equal values are pooled.
        target: an accuracy, as a fraction; adds how long it took to reach that on the validation part.
        sort: the name of a column; by default the validation accuracy.
        runs_dir: where runs lie.

    Raises:
        ConfigError: there is no such run, arm, column, key or metric.
    """
    refuse_target(target, sort)
    tables = compare_runs(
        _records(runs, runs_dir),
        target=target,
        sort=sort,
        conditions=_words(where),
        group_by=_words(group_by),
        columns=", ".join(_words(columns)),
        baseline=baseline,
    )
    return Comparison(tuple(tables))


def verdict(
    study: str | os.PathLike[str],
    *,
    runs_dir: str | os.PathLike[str] = "runs",
    data_dir: str | os.PathLike[str] | None = None,
) -> Verdicts:
    """Judge the claims of a study by its runs; docs/verdicts.md says how.

    Args:
        study: a sweep file, or the folder of its runs.
        runs_dir: where the folder of the study lies.
        data_dir: where datasets lie, for a study of your own data.

    Raises:
        ConfigError: there is no such study, or it makes no claim.
    """
    verdicts, notes = judge_study(os.fspath(study), runs_dir=Path(runs_dir), data_dir=_path(data_dir))
    return Verdicts(verdicts, notes)


def plot(
    runs: RunsOrPaths = (),
    kind: Kind = "curves",
    *,
    metric: str | None = None,
    x: str | None = None,
    baseline: str | None = None,
    runs_dir: str | os.PathLike[str] = "runs",
) -> Figure:
    """Draw a figure of runs.

    Args:
        runs: runs, or paths as for `load_runs`.
        kind: `curves` over the training, the last value over a swept `axis`, a `heatmap` by layer and step,
            `percentiles`, `landscape`, or `paired` differences by seed.
        metric: what is drawn, where the kind lets one choose; by default the validation accuracy, or the kind's own.
        x: `step` or `epoch` for curves; a key of the config for an axis.
        baseline: the arm that paired differences are to.
        runs_dir: where runs lie.

    Raises:
        ConfigError: an argument that the kind does not take, or nothing to draw.
    """
    read = _records(runs, runs_dir)
    figure = make_plot(kind, read, metric=metric, x=x, baseline=baseline)
    return Figure(replace(figure, notes=tuple(figure_notes(figure, read))))


def _loaded(config: Given, overrides: Mapping[str, object] | None, seed: int | None, name: str | None) -> Loaded:
    settings = [read_setting(key, value) for key, value in (overrides or {}).items()]
    if isinstance(config, Config):
        if not settings and seed is None and name is None:
            return Loaded(config, ())
        draft = Draft(_VALUES, config.model_dump(mode="json", exclude_none=True), {}, ())
    elif isinstance(config, Mapping):
        draft = Draft(_VALUES, *as_yaml(config, str(_VALUES)), ())
        if name is None and draft.values.get("name") is None and ["name"] not in [one.parts for one in settings]:
            raise ConfigError('config: no name; expected one, such as name="bn", which its runs are found by')
    else:
        draft = read_draft(Path(config))
    return complete(draft, settings, name=name, seed=seed)


def _path_of(config: Given) -> Path:
    return _VALUES if isinstance(config, Config | Mapping) else Path(config)


def _path(path: str | os.PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)


def _seed(seed: SupportsIndex | None) -> int | None:
    return None if seed is None else operator.index(seed)


def _words(words: Paths) -> list[str]:
    return [os.fspath(one) for one in ([words] if isinstance(words, str | os.PathLike) else words)]


def _records(runs: RunsOrPaths, runs_dir: str | os.PathLike[str]) -> list[records.Run]:
    """Return runs that are given, or read those at the given paths."""
    given = [runs] if isinstance(runs, str | os.PathLike | records.Run) else list(runs)
    read = [one for one in given if isinstance(one, records.Run)]
    paths = [os.fspath(one) for one in given if not isinstance(one, records.Run)]
    return [*read, *(map(records.read_run, find_runs(paths, Path(runs_dir))) if paths or not read else [])]


def _run_of(run: records.Run) -> Run:
    return run if isinstance(run, Run) else Run(**{own.name: getattr(run, own.name) for own in fields(run)})


def _frame(table: Table) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame.from_records(to_records(table))


def _warn(text: str) -> None:
    """Warn at the line outside of bnexp that called."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "bnexp":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, BnexpWarning, stacklevel=level)
