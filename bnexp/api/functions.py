"""bnexp in Python: what `import bnexp` offers to a notebook or a script, by the functions that the commands use.

What a command prints is the value of a function here, which a notebook shows and pandas takes on. Errors are those of
the commands, as exceptions; what a command warns of, and its notes, are a `BnexpWarning`.
"""

import operator
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import SupportsIndex, overload

from bnexp.analysis.compare import compare_runs
from bnexp.api.values import Comparison, Figure, Run, Runs, Verdicts, warn
from bnexp.blueprint import Drawn, draw_loaded
from bnexp.commands.compare import refuse_target
from bnexp.commands.plot import Kind, figure_notes, make_plot
from bnexp.commands.train import place_and_remarks
from bnexp.commands.verdict import judge_study
from bnexp.config.loading import Draft, Loaded, complete, read_draft
from bnexp.config.overrides import as_yaml, read_setting
from bnexp.config.schema import Config
from bnexp.errors import ConfigError, Interrupted
from bnexp.runs import run as records
from bnexp.runs.find import find_runs, runs_folder
from bnexp.session.display import display_for, say
from bnexp.session.executor import Complete, run_all
from bnexp.session.terms import Terms, is_one_of_several, show_nothing

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
RunsOrPaths = Paths | records.Run | Iterable[records.Run]
_VALUES = Path("config")
"""What messages call a config that was given as values."""
_CTRL_C = 130
_one_at_a_time = threading.Lock()
"""A training sets switches of torch for the whole process."""

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
        warn(note)
    return loaded.config


@overload
def train(
    config: Given,
    *,
    overrides: Mapping[str, object] | None = None,
    seed: int | None = None,
    name: str | None = None,
    runs_dir: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    device: str = "auto",
    resume: bool = False,
    again: bool = False,
    progress: bool = False,
) -> Run: ...
@overload
def train(
    config: Given,
    *,
    overrides: Mapping[str, object] | None = None,
    seed: Iterable[int],
    name: str | None = None,
    runs_dir: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    device: str = "auto",
    resume: bool = False,
    again: bool = False,
    progress: bool = False,
) -> Runs: ...
def train(
    config: Given,
    *,
    overrides: Mapping[str, object] | None = None,
    seed: int | Iterable[int] | None = None,
    name: str | None = None,
    runs_dir: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    device: str = "auto",
    resume: bool = False,
    again: bool = False,
    progress: bool = False,
) -> Run | Runs:
    """Train a config, once per seed, as `bnexp train` does, and return the run; with several seeds, the runs.

    What is done is not repeated: a complete run of this config, seed and data is returned, and a warning says so.

    Ctrl-C, or a notebook's interrupt, ends the step in hand and writes a checkpoint, from which `resume` goes on; a
    second one leaves at once. In another thread than the main one signals are not heard. A process trains one run at a
    time: a second thread waits.

    Args:
        config: a YAML file, its values as nested mappings, or a config.
        overrides: values by their dotted key, such as `{"model.norm": "ln"}`.
        seed: one, or several; by default the config's.
        name: replaces the config's, which is that of the folder above its runs.
        runs_dir: the folder above the run folders; by default that of BNEXP_RUNS, else `runs`.
        data_dir: where datasets lie, or are downloaded to; by default where the commands keep them.
        device: auto, cpu, cuda, cuda:N or mps.
        resume: go on with the newest run of this config; one that is complete is returned without a warning.
        again: train also where a run of this config is complete.
        progress: print a line per evaluation; in a terminal, draw a bar.

    Raises:
        ConfigError: the config or an argument is wrong; nothing was written.
        KeyboardInterrupt: by Ctrl-C; it says how to resume.
        Interrupted: by another signal that ends a process.
        BnexpError: the run failed; of several, after the others had their turn.
    """
    if again and resume:
        raise ConfigError("again=True begins a new run, resume=True continues one; expected one of them")
    drawn = _drawn(config, overrides, seed, name, _path(data_dir))
    terms = Terms(
        runs_dir=runs_folder(runs_dir),
        data_dir=_path(data_dir),
        device=None if device == "auto" else device,
        show=display_for if progress else show_nothing,
        warn=warn,
        note=warn,
        argv=("bnexp.train", str(_path_of(config))),
        resume=resume,
        again=again,
    )
    runs = Runs(map(records.read_run, _trained(drawn, terms, progress)))
    return runs if isinstance(seed, Iterable) else runs[0]


def _drawn(
    config: Given,
    overrides: Mapping[str, object] | None,
    seed: int | Iterable[int] | None,
    name: str | None,
    data_dir: Path | None,
) -> Drawn:
    """Draw a blueprint of a config for each seed.

    Raises:
        ConfigError: the config or a seed is wrong, or this process is one of several.
    """
    if is_one_of_several(os.environ, ["train", "CONFIG"]):
        raise ConfigError("bnexp.train trains in one process; several train together by: torchrun ... -m bnexp train")
    seeds = list(map(operator.index, seed)) if isinstance(seed, Iterable) else [_seed(seed)]
    if not seeds or len({*seeds}) < len(seeds):
        found = "one stands twice" if seeds else "none given"
        raise ConfigError(f"seed: {found}; expected a whole number, or several such as range(3), each once")
    return draw_loaded(_path_of(config), [_loaded(config, overrides, one, name) for one in seeds], data_dir)


def _trained(drawn: Drawn, terms: Terms, progress: bool) -> list[Path]:
    """Train what was drawn, one run at a time in this process, and return the folders."""
    place, remarks = place_and_remarks([drawn], terms.runs_dir, resume=terms.resume)
    for lead, text in remarks:
        if lead != "data":
            warn(text)
        elif progress:
            say(text)
    terms = replace(terms, runs_dir=place)
    try:
        with _one_at_a_time:
            results = list(run_all([(one, terms) for one in drawn.blueprints], warn))
    except Interrupted as stopped:
        if stopped.exit_code == _CTRL_C:  # `except Exception` around a loop of trainings is no reason to go on
            raise KeyboardInterrupt(str(stopped)) from None
        raise
    for result in results:
        if isinstance(result, Complete) and not terms.resume:
            warn(f"already {result.status} at {result.folder}, again=True to repeat")
    return [result.folder for result in results]


def load_runs(
    paths: Paths | None = None, *, metrics: Iterable[str] = (), runs_dir: str | os.PathLike[str] | None = None
) -> Runs:
    """Read runs, without trusting what lies in their folders.

    `runs` of what is returned is a table with a row per run, and `metrics` one in long form, with a row per run, step
    and metric; both have `run`, the folder, by which they are merged. Metrics are read when they are first asked for.

    Args:
        paths: run folders, folders above runs, or glob patterns, also relative to `runs_dir`; by default all of it.
        metrics: those to read, such as `accuracy/val`, or patterns such as `gradient_norm/*`; none for all.
        runs_dir: where runs lie; by default where the variable BNEXP_RUNS says, else `runs`.

    Raises:
        ConfigError: there is no such path, or no run anywhere.
    """
    names = [metrics] if isinstance(metrics, str) else metrics
    return Runs(_records(paths, runs_dir), tuple(names))


def compare(
    runs: RunsOrPaths | None = None,
    *,
    columns: str | Iterable[str] = (),
    baseline: str | None = None,
    where: str | Iterable[str] = (),
    group_by: str | Iterable[str] = (),
    target: float | None = None,
    sort: str | None = None,
    runs_dir: str | os.PathLike[str] | None = None,
) -> Comparison:
    """Compare arms: in which keys of the config they differ, and what each reached over its seeds.

    Args:
        runs: runs, or paths as for `load_runs`; by default all in `runs_dir`.
        columns: metrics, each with its point, in the place of the usual figures, such as `accuracy/val:best`.
        baseline: the name of the arm with which the others are compared, paired by seed.
        where: conditions on the config, such as `model.norm=bn`.
        group_by: keys of the config; arms of equal values are pooled.
        target: an accuracy, as a fraction; adds how long it took to reach that on the validation part.
        sort: the name of a column; by default the validation accuracy.
        runs_dir: where runs lie; by default where the variable BNEXP_RUNS says, else `runs`.

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
    runs_dir: str | os.PathLike[str] | None = None,
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
    judged, asides = judge_study(os.fspath(study), runs_dir=runs_folder(runs_dir), data_dir=_path(data_dir))
    for note in asides:
        warn(note)
    return Verdicts(*judged)


def plot(
    runs: RunsOrPaths | None = None,
    kind: Kind = "curves",
    *,
    metric: str | None = None,
    x: str | None = None,
    baseline: str | None = None,
    runs_dir: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw a figure of runs.

    Args:
        runs: runs, or paths as for `load_runs`; by default all in `runs_dir`.
        kind: `curves` over the training, the last value over a swept `axis`, a `heatmap` by layer and step,
            `percentiles`, `landscape`, or `paired` differences by seed.
        metric: what is drawn, where the kind lets one choose; by default the validation accuracy, or the kind's own.
        x: `step` or `epoch` for curves; a key of the config for an axis.
        baseline: the arm that paired differences are to.
        runs_dir: where runs lie; by default where the variable BNEXP_RUNS says, else `runs`.

    Raises:
        ConfigError: an argument that the kind does not take, or nothing to draw.
    """
    read = _records(runs, runs_dir)
    figure = make_plot(kind, read, metric=metric, x=x, baseline=baseline)
    return Figure(replace(figure, notes=tuple(figure_notes(figure, read))))


def _loaded(config: Given, overrides: Mapping[str, object] | None, seed: int | None, name: str | None) -> Loaded:
    if not isinstance(overrides, Mapping | None):
        raise ConfigError('overrides: expected values by their key, such as {"model.norm": "ln"}')
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


def _records(runs: RunsOrPaths | None, runs_dir: str | os.PathLike[str] | None) -> list[records.Run]:
    """Return runs that are given, and read those at given paths; None stands for all runs.

    Raises:
        ConfigError: nothing is given, as by a list that nothing was put in; or as for `find_runs`.
    """
    given = [] if runs is None else [runs] if isinstance(runs, str | os.PathLike | records.Run) else list(runs)
    if runs is not None and not given:
        raise ConfigError("no runs given: the list is empty; expected runs, or paths of some")
    read = [one for one in given if isinstance(one, records.Run)]
    paths = [os.fspath(one) for one in given if not isinstance(one, records.Run)]
    return [*read, *(map(records.read_run, find_runs(paths, runs_folder(runs_dir))) if paths or not read else [])]
