"""`bnexp train`: one run per config, one after the other."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bnexp.blueprint import Blueprint, Drawn, draw_files, refuse_warnings
from bnexp.config.packaged import file_name
from bnexp.document.show import aside, remark, show_document
from bnexp.document.writing import counted, first_few
from bnexp.errors import ConfigError, visible
from bnexp.runs.find import place_of_new_runs
from bnexp.runs.folder import checkpoints_by_step
from bnexp.runs.namesakes import others_of_its_name
from bnexp.runs.resuming import newest_run_of
from bnexp.runs.run import COMPLETE, read_run, refuse_diverged
from bnexp.session.executor import Complete, run_all
from bnexp.session.several import lead_or_follow, leading
from bnexp.session.terms import Terms, on_the_command_line

if TYPE_CHECKING:
    from bnexp.session.life import RunResult


def train(
    configs: Sequence[Path],
    *,
    overrides: Sequence[str] = (),
    seed: int | Sequence[int] | None = None,
    device: str = "auto",
    data_dir: Path | None = None,
    runs_dir: Path = Path("runs"),
    name: str | None = None,
    quiet: bool = False,
    verbose: bool = False,
    resume: bool = False,
    again: bool = False,
    strict: bool = False,
    profile: int = 0,
    fail_on_divergence: bool = False,
) -> list["RunResult"]:
    """Train each config in turn, once per seed, as far as that is not done, and return the runs that came to an end.

    All configs are checked before the first run starts. The arguments are those of `bnexp train --help`. One of several
    processes that torchrun started trains each run with the others; only the first returns. With `profile`, a run
    that is done is repeated.

    Raises:
        ConfigError: a config or an argument is wrong, or with `strict` there is a warning; nothing was written.
        Interrupted: by Ctrl-C or a signal, which ends the others, too.
        BnexpError: a run failed, or with `fail_on_divergence` diverged; with several, after the others had their turn.
    """
    world = lead_or_follow(os.environ, sys.argv[1:])
    with leading(world):
        _refuse_to_mix(configs, name, resume=resume, again=again)
        seeds = [seed] if seed is None or isinstance(seed, int) else list(seed)
        drawn = draw_files(configs, overrides, data_dir, name=name, seeds=seeds)
        runs_dir, remarks = place_and_remarks(drawn, runs_dir, resume=resume)
        if not quiet:
            aside(_begun(drawn, runs_dir) + ("" if resume or strict else "; loading torch"))
        for lead, text in remarks:
            if lead != "data" or not quiet:
                remark(lead, text)
        if profile:
            _refuse_profile(drawn, profile, 1 if world is None else world.size, runs_dir if resume else None)
        if strict:
            refuse_warnings(sum(lead == "warning" for lead, _ in remarks) + _tell_of_memory(drawn, device))
        same_device = None if device == "auto" else device
        again = again or (profile > 0 and not resume)
        terms = Terms(runs_dir, data_dir, same_device, resume=resume, again=again, profile=profile, world=world)
        return _train(drawn, on_the_command_line(terms, quiet=quiet, verbose=verbose), fail_on_divergence)


def _refuse_to_mix(configs: Sequence[Path], name: str | None, *, resume: bool, again: bool) -> None:
    """Refuse options that do not go together.

    Raises:
        ConfigError: with what was expected.
    """
    if again and resume:
        raise ConfigError("--again begins a new run, --resume continues one; expected one of them")
    if name is not None and len(configs) > 1:
        found = f"{len(configs)} configs cannot share one name"
        raise ConfigError(f"--name {name}: {found}; give --name with a single config")


def _train(drawn: Sequence[Drawn], terms: Terms, fail_on_divergence: bool) -> list["RunResult"]:
    """Train what was drawn, and report each run as it ends. Raises as `train` does."""
    tasks = [(blueprint, terms) for file in drawn for blueprint in file.blueprints]
    folders = list[Path]()
    trained = [_reported(result, terms.profile) for result in _trained(run_all(tasks, _print_failure), folders)]
    if fail_on_divergence:
        refuse_diverged(list(map(read_run, folders)))
    return trained


def _begun(drawn: Sequence[Drawn], runs_dir: Path) -> str:
    """Say what is to be trained, before torch is loaded, which takes seconds."""
    names = list(dict.fromkeys(file.blueprints[0].config.name for file in drawn))
    runs = counted(sum(len(file.blueprints) for file in drawn), "run")
    return f"{first_few(names, 4)}: {runs}, in {visible(str(runs_dir))}"


def _trained(results: Iterable["RunResult | Complete"], folders: list[Path]) -> Iterator["RunResult"]:
    """Yield the runs that were trained, and say which were complete before; add the folders of both to `folders`."""
    for result in results:
        folders.append(result.folder)
        if isinstance(result, Complete):
            print(f"already {result.status} at {visible(str(result.folder))}, --again to repeat")
        else:
            yield result


def _reported(result: "RunResult", profile: int) -> "RunResult":
    from bnexp.session.display import say
    from bnexp.session.report import profiled, report  # by now, torch is loaded

    say(report(result))
    if result.profile is not None:
        show_document(profiled(result.profile, result.folder))
    elif profile:
        remark("note", "no step was profiled: the run came to its end before")
    return result


def _refuse_profile(drawn: Sequence[Drawn], steps: int, processes: int, resumed_from: Path | None) -> None:
    """Refuse to profile more steps than a run has, or has left where it is resumed from a folder of runs.

    Raises:
        ConfigError: a run has too few steps.
    """
    from bnexp.training.profile import refuse_profile  # loads torch

    for blueprint in (blueprint for file in drawn for blueprint in file.blueprints):
        former = newest_run_of(blueprint.config, resumed_from) if resumed_from else None
        if former is None:
            refuse_profile(steps, blueprint.plan.total_steps, processes)
        elif former.status not in COMPLETE:
            taken = 0
            with suppress(OSError):  # which the run itself explains
                taken = max(checkpoints_by_step(former.folder), default=0)
            refuse_profile(steps, blueprint.plan.total_steps, processes, taken)


def place_and_remarks(
    drawn: Sequence[Drawn], runs_dir: Path, *, resume: bool = False
) -> tuple[Path, list[tuple[str, str]]]:
    """Return the folder that new runs go to, and what is known of them before they begin.

    Each sentence has its kind before it: note, data or warning; with several files, it names its own.
    """
    place = place_of_new_runs(runs_dir)
    remarks = []
    if place != runs_dir:
        where = f"there is no folder {runs_dir} here, but runs: new ones go beside them, in {place.resolve()}"
        remarks.append(("note", where))
    known = [tuple[str, ...]()]
    for file in drawn:
        of_which = f"{file_name(file.path)}: " if len(drawn) > 1 else ""
        first = file.blueprints[0]
        others = () if resume else others_of_its_name(first.config, first.plan.steps_per_epoch, place)
        remarks += [("note", note) for note in (*file.notes, *others)]
        if (facts := _of_data(first)) not in known:
            remarks += [("data", of_which + line) for line in facts]
            known.append(facts)
        remarks += [("warning", of_which + warning) for warning in file.warnings]
    return place, [*remarks, *(("note", note) for note in _shared_names(drawn))]


def _tell_of_memory(drawn: Sequence[Drawn], device: str) -> int:
    """Warn of what may not fit into memory, which else each run does as it begins; return how many warnings."""
    from bnexp.training.device import choose_device  # these load torch
    from bnexp.training.room import doubts_about_memory

    doubts = [doubt for file in drawn for doubt in doubts_about_memory(file.blueprints[0], choose_device(device))]
    for doubt in doubts:
        remark("warning", doubt)
    return len(doubts)


def _shared_names(drawn: Sequence[Drawn]) -> list[str]:
    """Say which files give their runs one name, or are given twice."""
    names: dict[str, list[str]] = {}
    for file in drawn:
        names.setdefault(file.blueprints[0].config.name, []).append(file_name(file.path))
    twice = [file for files in names.values() for file in dict.fromkeys(files) if files.count(file) > 1]
    return [
        *(f"{file} is given more than once: its runs are alike; several seeds are --seed 0,1" for file in twice),
        *(
            f"{' and '.join(files)} both name their runs {name}; --name with one file at a time keeps them apart"
            for name, files in names.items()
            if len(set(files)) > 1
        ),
    ]


def _of_data(blueprint: Blueprint) -> tuple[str, ...]:
    """Return what a set of one's own is told to hold: of what was found, what is used, left out and changed."""
    info = blueprint.info
    return (*(info.account.lines() if info.account else ()), *info.notes)


def _print_failure(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
