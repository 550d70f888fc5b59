"""Runs to do, one after the other in this process; torch is loaded by the first of them that trains."""

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bnexp.blueprint import Blueprint
from bnexp.config.division import parts_of_batch
from bnexp.errors import BnexpError, Interrupted
from bnexp.runs.data import DIGITS
from bnexp.runs.folder import how_to_resume
from bnexp.runs.resuming import complete_meta, newest_run_of, other_config
from bnexp.runs.run import COMPLETE, Run
from bnexp.session.terms import Terms

if TYPE_CHECKING:
    from bnexp.session.life import RunResult

Task = tuple[Blueprint, Terms]
"""A run to do."""


@dataclass(frozen=True)
class Complete:
    """A run that had come to its end before: its folder and its status."""

    folder: Path
    status: str


def run_all(tasks: Sequence[Task], failed: Callable[[str], None]) -> "Iterator[RunResult | Complete]":
    """Do the tasks in order, and yield what came of them; the failure of one does not stop the others.

    Where there are several, `failed` is called with name and error of each that fails.

    Raises:
        Interrupted: by Ctrl-C or a signal, which ends all; says how many have not begun.
        BnexpError: a single task failed; or, after all had their turn, those that did.
    """
    failures, fingerprints = [], dict[str, str]()
    for position, (blueprint, terms) in enumerate(tasks, start=1):
        try:
            result = run_task(blueprint, terms, fingerprints)
        except Interrupted as stopped:
            count = len(tasks) - position
            instead = " in place of --again" if terms.again else ""
            rest = f"\n{count} more not begun: the same command with --resume{instead} continues all" if count else ""
            raise Interrupted(f"{stopped}{rest}", stopped.exit_code) from None
        except BnexpError as error:
            if len(tasks) == 1 or terms.world is not None:  # the other processes ended with the first that failed
                raise
            failures.append(f"{_name(blueprint, tasks)}: {error}")
            failed(failures[-1])
        else:
            yield result
    if failures:
        raise BnexpError(f"{len(failures)} of {len(tasks)} runs failed:\n" + "\n".join(failures))


def _name(blueprint: Blueprint, tasks: Sequence[Task]) -> str:
    """Name a run among others, with its seed where there are several of one name."""
    config = blueprint.config
    same = sum(other.config.name == config.name for other, _ in tasks)
    return config.name if same == 1 else f"{config.name} seed {config.seed}"


def run_task(blueprint: Blueprint, terms: Terms, fingerprints: dict[str, str] | None = None) -> "RunResult | Complete":
    """Start a run, unless one of its config and data is complete; or resume the newest one where the terms say so.

    `fingerprints` keeps those of data that were read already, by their section of the config.

    Raises:
        Interrupted: by Ctrl-C or a signal; the run can be resumed.
        BnexpError: it failed.
    """
    parts, config = parts_of_batch(blueprint.layout, terms.processes), blueprint.config
    former = None
    if not terms.again:
        former = newest_run_of(config, terms.runs_dir, parts, prefer_complete=not terms.resume)
    if former is not None and former.status in COMPLETE:
        with suppress(OSError, BnexpError):  # nothing is lost where it cannot be noted
            complete_meta(former.folder)
        other = _other_data(former, blueprint, terms, {} if fingerprints is None else fingerprints)
        if other is None or terms.resume:
            if other:
                terms.warn(f"{other}. A new run on them: the same command without --resume")
            return Complete(former.folder, former.status)
        terms.note(f"{other}; a new run begins")
    elif former is not None and not terms.resume and (beside := _unfinished(former)):
        terms.note(f"a new run begins beside {former.folder}, {beside}")
    elif terms.resume and former is None and (other := other_config(config, terms.runs_dir)):
        terms.warn(f"{other}; a new run begins")

    with _no_collections():
        from bnexp.session import life, resume

    if former is not None and terms.resume:
        return resume.resume(former.folder, terms, config=config)
    return life.start(blueprint, terms)


def _unfinished(run: Run) -> str | None:
    """Say why a run is not complete, and how to resume it; None where it cannot be resumed."""
    if run.status == "running":
        return "which another process trains now"
    return f"which is {run.status}: {how_to_resume(run.folder)}" if run.can_resume else None


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keep Python from looking for garbage, of which torch makes none while it is loaded: an eighth of that time."""
    was_on, modules = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            # Later runs load nothing, and what earlier ones left may be garbage; what others have frozen stays so.
            if len(sys.modules) > modules and not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()  # which leaves all that is loaded among what is old, as if looked through
            gc.enable()


def _other_data(run: Run, blueprint: Blueprint, terms: Terms, fingerprints: dict[str, str]) -> str | None:
    """Say that a set of one's own is not what a complete run learned from, any more; None where it is."""
    if not run.data.is_own or run.data.fingerprint is None:
        return None
    from bnexp.session.life import fingerprint_now

    section = blueprint.config.data.model_dump_json()
    if section not in fingerprints:
        fingerprints[section] = fingerprint_now(blueprint, terms)
    now = fingerprints[section]
    if now == run.data.fingerprint:
        return None
    return f"{run.folder} learned from other data than lie there now: {run.data}; now fingerprint {now[:DIGITS]}"
