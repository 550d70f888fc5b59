"""What can happen to a sweep: each trial does it some harm, gives the same command again, and compares what is left."""

import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from bnexp.config.yaml_text import dump_yaml
from bnexp.runs.find import runs_below
from bnexp.runs.folder import META, read_json
from bnexp.sweep import local
from bnexp.sweep.work import Task
from sabotage import Calls, calls_in
from trials import SMALL, Command, Ended, Left, expect, left_by

SWEEP = {"base": "small.yaml", "axes": {"model.block": ["linear -> relu", "linear -> bn -> relu -> dropout(p=0.2)"]}}
SEEDS = 2
_PATIENCE_S = 40.0


class SweepTrial:
    """A sweep in a place of its own, and what an undisturbed one leaves of each run.

    Args:
        place: an empty or new folder.
        workers: how many runs are trained at once.
    """

    def __init__(self, place: Path, workers: int = 2) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.place, self._workers = place, workers
        (place / "small.yaml").write_text(dump_yaml(SMALL))
        (place / "study.yaml").write_text(dump_yaml({**SWEEP, "seeds": SEEDS}))
        began = time.monotonic()
        ended = self.sweep(place / "whole").ended()
        self.life_s = time.monotonic() - began
        expect(ended.code == 0, f"the undisturbed sweep: {ended}")
        self.whole = self._left(place / "whole")
        expect(len(self.whole) == 2 * SEEDS, f"the undisturbed sweep left {list(self.whole)}")

    def runs(self) -> Path:
        """Return a new, empty place for runs."""
        runs = self.place / "runs"
        shutil.rmtree(runs, ignore_errors=True)
        return runs

    def sweep(self, runs: Path, *more: str, calls: Calls | None = None) -> Command:
        """Begin the sweep below `runs`, or continue it; `calls` sees those of one of its workers."""
        flags = ["--runs-dir", str(runs), "--data-dir", str(self.place), "--device", "cpu", "--quiet"]
        words = ["sweep", str(self.place / "study.yaml"), *flags, "--workers", str(self._workers), *more]
        return Command(self.place, words, partial(_prepare, calls), daemon=False)

    def comes_through(self, runs: Path, what: str) -> None:
        """Give the command again, and hold what is there then against the undisturbed sweep."""
        self._nobody_is_left(runs, what)
        ended = self.sweep(runs).ended()
        expect(ended.code == 0, f"{what}: the same command again: {ended}")
        left = self._left(runs)
        expect(left.keys() == self.whole.keys(), f"{what}: there are {sorted(left)}, expected {sorted(self.whole)}")
        for name, whole in self.whole.items():
            expect(left[name].rows == whole.rows, f"{what}: {name}: other rows")
            expect(left[name].summary == whole.summary, f"{what}: {name}: another summary")
            expect(left[name].state == whole.state, f"{what}: {name}: another last checkpoint")
        self._nobody_is_left(runs, what)

    def _left(self, runs: Path) -> dict[str, Left]:
        return {str(folder.relative_to(runs)): left_by(folder) for folder in runs_below(runs)}

    def _nobody_is_left(self, runs: Path, what: str) -> None:
        """Wait until no worker is left, which may write a last checkpoint."""
        began = time.monotonic()
        while alive := [pid for pid in workers_of(runs) if Path(f"/proc/{pid}").exists()]:
            expect(time.monotonic() - began < _PATIENCE_S, f"{what}: processes {alive} are left")
            time.sleep(0.02)


def workers_of(runs: Path, *, running: bool = False) -> list[int]:
    """Return the processes that trained the runs below a folder, or those that say so still."""
    metas = [read_json(folder / META) or {} for folder in runs_below(runs)] if runs.exists() else []
    return [meta["pid"] for meta in metas if "pid" in meta and (not running or meta.get("status") == "running")]


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def killed_at_random(trial: SweepTrial, count: int, seed: int = 0) -> int:
    """Kill a worker, the sweep, or everything at moments spread over the sweep's life; return how often."""
    generator = random.Random(seed)
    for number in range(count):
        what = ("a worker", "the sweep", "everything")[number % 3]
        runs, delay = trial.runs(), trial.life_s * generator.random()
        sweep = trial.sweep(runs)
        time.sleep(delay)
        if what == "a worker":
            _kill(workers_of(runs, running=True)[:1])
            ended = sweep.ended()
            expect(ended.code in (0, 1), f"{what} is killed after {delay:.3f} s: {ended}")
        else:
            workers = workers_of(runs, running=True) if what == "everything" else []
            sweep.kill()
            _kill(workers)
        trial.comes_through(runs, f"{what} is killed after {delay:.3f} s")
    return count


def killed_around_a_checkpoint(trial: SweepTrial, count: int) -> int:
    """Kill the worker of a run before each of some calls that write its checkpoints; return how many."""
    log = trial.place / "calls"
    log.unlink(missing_ok=True)
    expect(trial.sweep(trial.runs(), calls=Calls(log)).ended().code == 0, "the recorded sweep fails")
    numbers = [number for number, call in enumerate(calls_in(log), start=1) if "step" in str(call)]
    chosen = numbers[:: max(len(numbers) // count, 1)][:count]
    for position, number in enumerate(chosen):
        runs, retries = trial.runs(), position % 2
        ended = trial.sweep(runs, "--retries", str(retries), calls=Calls(kill_before=number)).ended()
        what = f"a worker is killed before call {number}, {retries} retries"
        # A retry counts its own calls: it may be killed at that number again, or come to its end before.
        expect(ended.code == 1 or (retries == 1 and ended.code == 0), f"{what}: {ended}")
        expect(ended.code == 0 or "SIGKILL" in ended.error, f"{what}: {ended}")
        trial.comes_through(runs, what)
    return len(chosen)


def _prepare(calls: Calls | None) -> None:
    """Let the sweep fork its workers from itself, which has torch loaded: a server of its own would load it again."""
    local._HAS_SERVER, local._CONTEXT = False, multiprocessing.get_context("fork")
    if calls is not None:
        local._work = partial(_work_watched, calls)


def _work_watched(calls: Calls, tasks: Sequence[Task], pipe: Connection, output: Path) -> None:
    from bnexp.sweep.worker import work

    if tasks[0].key.endswith("dropout-p0.2/seed1"):
        calls.watch()
    work(tasks, pipe, output)


def interrupted(trial: SweepTrial, number: int = signal.SIGINT) -> Ended:
    """Send the sweep a signal half-way: it ends with the code of that signal, and continues."""
    runs = trial.runs()
    sweep = trial.sweep(runs)
    began = time.monotonic()
    while not workers_of(runs, running=True):
        expect(time.monotonic() - began < _PATIENCE_S, "no run begins")
        time.sleep(0.01)
    os.kill(sweep.process.pid or 0, number)
    ended = sweep.ended()
    trial.comes_through(runs, f"signal {number}")
    return ended
