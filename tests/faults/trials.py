"""Runs in processes of their own, which may be killed at any moment, and what tells whether a run came through.

Each process is a fork of a server that has torch loaded, so that starting one takes milliseconds.
"""

import json
import logging
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from bnexp.cli import main
from bnexp.config.yaml_text import dump_yaml
from bnexp.runs.checkpoints import load_newest
from bnexp.runs.folder import read_json
from bnexp.runs.run import read_run

CONTEXT = multiprocessing.get_context("forkserver")
logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of every row that a continued run replaces
LIMIT_S = 120.0
"""A process that takes longer hangs."""
CLOCKED = ("step_ms/train", "examples_per_s/train", "measuring_share/train")
"""Figures of a row that no two runs share."""

SMALL: dict[str, Any] = {
    "name": "small",
    "data": {"dataset": "synthetic", "batch_size": 16, "synthetic": {"classes": 4, "shape": [1, 4, 4], "size": 100}},
    "model": {"arch": "mlp", "hidden": [8], "block": "linear -> bn -> relu -> dropout(p=0.2)"},
    "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
    "training": {"epochs": 2, "log_every": 1},
}
"""Two epochs of six steps, with everything that a checkpoint must keep."""

Fault = Callable[[], object]
"""Done in a process before its command begins."""


class Violation(AssertionError):
    """A run did not come through."""


def expect(held: bool, words: str) -> None:
    """Stop where something did not hold."""
    if not held:
        raise Violation(words)


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: its exit code, or minus the signal that killed it.
        error: what it printed to stderr.
    """

    code: int
    error: str


@dataclass
class Command:
    """A command of bnexp in a process of its own, which starts with it."""

    place: Path
    arguments: Sequence[str]
    fault: Fault | None = None
    daemon: bool = True  # such a process is killed with this one, and may start none itself
    process: BaseProcess = field(init=False)

    def __post_init__(self) -> None:
        self.place.mkdir(exist_ok=True)
        self._said = self.place / f"stderr.{os.getpid()}.{next(_numbers)}"
        call = (list(self.arguments), self._said, self.fault)
        self.process = CONTEXT.Process(target=_obey, args=call, daemon=self.daemon)
        self.process.start()

    def kill(self) -> Ended:
        """End it at once, as `kill -9` does."""
        self.process.kill()
        return self.ended()

    def ended(self, limit_s: float = LIMIT_S) -> Ended:
        """Wait for its end."""
        self.process.join(limit_s)
        hangs = self.process.is_alive()
        if hangs:
            self.process.kill()
            self.process.join()
        error = self._said.read_text() if self._said.exists() else ""
        self._said.unlink(missing_ok=True)
        expect(not hangs, f"{' '.join(self.arguments)}: no end after {limit_s:.0f} s\n{error}")
        return Ended(self.process.exitcode or 0, error)


def _count() -> Iterator[int]:
    number = 0
    while True:
        yield (number := number + 1)


_numbers = _count()


def start_server(*modules: str) -> None:
    """Let the server load all that a run needs, in one thread; called before the first process.

    Args:
        modules: what else it loads: where the faults of the caller are.
    """
    needed = (
        "bnexp.commands.train",
        "bnexp.commands.resume",
        "bnexp.session.life",
        "bnexp.session.report",
        "bnexp.session.resume",
        "torch._dynamo",  # which several processes of one run each load for seconds
    )
    CONTEXT.set_forkserver_preload(["__main__", *needed, *modules])
    before = dict(os.environ)
    # The server looks for modules where Python does by itself, which is not where a test or a script finds them.
    os.environ.update(OMP_NUM_THREADS="1", PYTHONPATH=os.pathsep.join(sys.path))
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _obey(arguments: list[str], said: Path, fault: Fault | None) -> None:
    """Run a command as the shell does; file descriptors are replaced, so that threads and C++ are heard too."""
    for number, path in ((1, Path(os.devnull)), (2, said)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    torch.set_num_threads(1)
    sys.argv = ["bnexp", *arguments]
    if fault is not None:
        fault()
    main()


@dataclass(frozen=True)
class Left:
    """What a finished run left that no two of its kind may differ in."""

    rows: list[dict[str, Any]]
    summary: str
    state: dict[str, bytes]


class Trial:
    """One config in a place of its own, and what an undisturbed run of it leaves.

    Args:
        place: an empty or new folder.
        changes: sections laid over those of `SMALL`.
    """

    def __init__(self, place: Path, **changes: dict[str, Any]) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.place, self.config = place, place / "small.yaml"
        values = SMALL | {key: {**SMALL.get(key, {}), **change} for key, change in changes.items()}
        self.config.write_text(dump_yaml(values))
        ended = self.train(place / "whole").ended()
        expect(ended.code == 0, f"the undisturbed run: {ended}")
        self.whole_folder = self.folder(place / "whole")
        self.whole = left_by(self.whole_folder)

    def folder(self, runs: Path) -> Path:
        """Return where the first run below `runs` lies."""
        return runs / "small" / "seed0"

    def runs(self) -> Path:
        """Return a new, empty place for runs."""
        runs = self.place / "runs"
        shutil.rmtree(runs, ignore_errors=True)
        return runs

    def train(self, runs: Path, fault: Fault | None = None) -> Command:
        """Begin a run below `runs`."""
        flags = ["--runs-dir", str(runs), "--data-dir", str(self.place), "--device", "cpu", "--quiet", "--again"]
        return Command(self.place, ["train", str(self.config), *flags], fault)

    def resume(self, folder: Path, fault: Fault | None = None) -> Command:
        """Continue a run."""
        return Command(self.place, ["resume", str(folder), "--quiet"], fault)

    def comes_through(self, folder: Path, what: str) -> None:
        """Continue a run to its end, and hold what it leaves against the undisturbed one.

        A run whose process was killed before it had a config has nothing to continue: that is said, and a new
        run works.
        """
        ended = self.resume(folder).ended()
        if not (folder / "config.yaml").exists():
            said = ended.code == 2 and is_one_message(ended.error)
            expect(said, f"{what}: without a config: {ended}")
            shutil.rmtree(self.place / "anew", ignore_errors=True)
            folder, ended = self.folder(self.place / "anew"), self.train(self.place / "anew").ended()
        expect(ended.code == 0, f"{what}: {folder} does not go on: {ended}")
        self.is_whole(folder, what)

    def is_whole(self, folder: Path, what: str) -> None:
        """Hold what a run has left against the undisturbed one."""
        left, whole = left_by(folder), self.whole
        expect(left.rows == whole.rows, f"{what}: {folder}: other rows")
        expect(left.summary == whole.summary, f"{what}: {folder}: another summary")
        differing = [key for key in {**left.state, **whole.state} if left.state.get(key) != whole.state.get(key)]
        expect(not differing, f"{what}: {folder}: the last checkpoint differs in {differing}")
        unfinished = list(folder.rglob("*.tmp"))
        expect(not unfinished, f"{what}: left behind: {unfinished}")
        run = read_run(folder)
        expect((run.status, run.problems) == ("finished", ()), f"{what}: {folder}: {run.status}: {run.problems}")
        status = (read_json(folder / "meta.json") or {}).get("status")
        expect(status == "finished", f"{what}: {folder}: meta.json says {status}")
        events = EventAccumulator(str(folder)).Reload()  # type: ignore[no-untyped-call]
        shown = [event.step for event in events.Scalars("loss/train")]
        steps = [row["step"] for row in left.rows if "loss/train" in row]
        expect(shown == steps, f"{what}: {folder}: TensorBoard shows the steps {shown}")


def left_by(folder: Path) -> Left:
    """Read what a finished run has left, without the figures of the clock."""
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    summary = json.loads((folder / "summary.json").read_text())
    newest = load_newest(folder)
    expect(newest is not None, f"{folder}: no checkpoint")
    state = dict(newest.values) if newest else {}
    del state["rows"]  # a hash over rows that hold times
    del state["random"]  # of the process, which starts where the system likes; no figure draws from them
    state["progress"] = {key: value for key, value in state["progress"].items() if key != "clock"}
    return Left(
        [{name: value for name, value in row.items() if name not in CLOCKED} for row in rows],
        json.dumps({key: value for key, value in summary.items() if key not in ("time", "peak_mib")}),
        dict(_flat(state, "")),
    )


def _flat(value: Any, place: str) -> Iterator[tuple[str, bytes]]:
    """Yield each value of a state by its place, as bytes, in which nan equals itself."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _flat(below, f"{place}.{key}")
    elif isinstance(value, Tensor):
        yield place, repr((value.dtype, value.shape)).encode() + value.contiguous().numpy().tobytes()
    else:
        yield place, repr(value).encode()


def is_one_message(error: str) -> bool:
    """Tell whether what was printed is one message on one screen, and no traceback."""
    begun = sum(line.startswith("error: ") for line in error.splitlines())
    return begun == 1 and len(error.splitlines()) <= 24 and "Traceback" not in error
