"""The runs of a sweep as tasks, what becomes of them as events, and who carries them out as an executor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from bnexp.blueprint import Blueprint
from bnexp.config.memory import StackMemory

Mode = Literal["start", "resume", "lengthen", "measure", "judge"]
"""Begin in a new folder; continue from the newest checkpoint; make a run that had ended longer; take a few steps, or
only look whether the data are here and the memory is enough, and write nothing."""
End = Literal["finished", "diverged", "interrupted", "failed", "lost", "elsewhere"]
"""How the attempt of a task ends. `lost`: its process or node died; `elsewhere`: another process has this run."""

AskedStack = int | Literal["auto"]
"""How many seeds of an arm are stacked: 1 is none, `auto` as many as were measured to pay, where they were."""

DATASETS = "BNEXP_SWEEP_DATASETS"
"""In the environment of the server of local workers: the file that says which datasets to load."""


@dataclass(frozen=True)
class Task:
    """A run to do: a value that another process, or another machine, can take.

    Attributes:
        key: names it among those of the sweep, such as `norm=bn/seed0`.
        folder: of the run; for `start`, where nothing is yet.
        device: as `bnexp train --device`; None: automatic, and for a resumed run the one that it began on.
        threads: of torch on the CPU; None leaves what the process has.
        role: of the run in its sweep, for meta.json: `tuning`, or None.
        chosen: what tuning chose for the run, for meta.json: see `arms.Arm`.
        brought: where sets of the user's own lie on the machine of the run, if not at their `data.path`.
        others: for `judge`, the blueprints that are looked at beside the first.
        stack: for `judge`, how they are to be stacked.
    """

    key: str
    blueprint: Blueprint
    folder: Path
    mode: Mode = "start"
    data_dir: Path | None = None
    device: str | None = None
    threads: int | None = None
    role: str | None = None
    chosen: Mapping[str, Any] | None = None
    argv: tuple[str, ...] = ()
    brought: Mapping[str, Path] = field(default_factory=dict)
    others: tuple[Blueprint, ...] = ()
    stack: AskedStack = 1


@dataclass(frozen=True)
class Progressed:
    """Where a run is: the step taken, of how many, its latest figures and the seconds left."""

    key: str
    step: int
    total_steps: int
    figures: Mapping[str, float] = field(default_factory=dict)
    eta_s: float | None = None


@dataclass(frozen=True)
class Ended:
    """How an attempt of a task ended.

    Attributes:
        error: in words; None where the run came to its end.
        output: the last lines that its process printed.
        seconds: from the start of the attempt to its end.
        accuracy: the final one on the validation part, where the run finished.
        by_another: a process of another sweep or of a person brought it to its end.
    """

    key: str
    end: End
    error: str | None = None
    output: str = ""
    seconds: float = 0.0
    accuracy: float | None = None
    by_another: bool = False


@dataclass(frozen=True)
class Warned:
    """What a run warned of."""

    key: str
    warning: str


@dataclass(frozen=True)
class Measured:
    """What a few steps of a run took, beside whatever else the machine did.

    Attributes:
        start_s: from the start of its process to its first step.
        step_s: of a training step, with what is measured and logged.
        evaluation_s: of a pass over the validation part.
        gpus: of the machine that runs may use; 0 where they compute on the CPU.
    """

    key: str
    start_s: float
    step_s: float
    evaluation_s: float
    gpus: int = 0

    def run_s(self, steps: int, evaluations: int) -> float:
        """Return how long a run with so many steps and evaluations takes, from its start to its end."""
        return self.start_s + steps * self.step_s + evaluations * self.evaluation_s


@dataclass(frozen=True)
class Judged:
    """What this machine says of blueprints, by the names of their arms.

    Attributes:
        refused: why they cannot be trained here.
        doubted: what may go wrong.
        apart: why `auto` does not stack them.
        unpaid: why stacking them does not pay, by measurements, where so many seeds are asked for.
        stacks: the memory of stacked seeds, where they are asked for and it is known.
    """

    key: str
    refused: Mapping[str, str] = field(default_factory=dict)
    doubted: Mapping[str, Sequence[str]] = field(default_factory=dict)
    apart: Mapping[str, str] = field(default_factory=dict)
    unpaid: Mapping[str, str] = field(default_factory=dict)
    stacks: Mapping[str, StackMemory] = field(default_factory=dict)


Event = Progressed | Ended | Warned | Measured | Judged


class Executor(Protocol):
    """Carries out tasks side by side, each in a process of its own, or several stacked in one."""

    @property
    def slots(self) -> int:
        """How many tasks it takes at once."""

    def start(self, task: Task) -> None:
        """Begin a task, and return at once; the caller keeps within `slots`."""

    def wait(self, timeout_s: float) -> list[Event]:
        """Return what happened, as soon as something has, or nothing after so many seconds."""

    def stop(self, *, at_once: bool = False) -> None:
        """Ask all tasks to finish their step and write a checkpoint; `at_once` ends their processes."""

    def close(self, *, for_good: bool = False) -> None:
        """Leave no process of a task behind; `for_good`, where this process leaves, none at all."""
