"""A long run holds its memory and its open files steady."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bnexp.blueprint import draw
from bnexp.config.loading import load_config
from bnexp.session.display import Display
from bnexp.session.life import start
from bnexp.session.terms import Terms
from bnexp.training.clock import Clock
from trials import CONTEXT, Trial, expect

LOG_EVERY = 50
STEPS_PER_EPOCH = 6
MOST_GROWTH = 0.02
"""Part of the memory at a fifth of the run by which it may grow until the end."""


class Samples(Display):
    """Notes the memory and the number of open files at each hundredth of the steps."""

    def __init__(self, steps: int, log: Path) -> None:
        self._every, self._log = steps // 100, log

    def step(self, step: int, clock: Clock) -> None:
        """Add a line to the log."""
        if step % self._every == 0:
            files = len(os.listdir("/proc/self/fd"))
            with self._log.open("a") as log:
                log.write(f"{resident_bytes()} {files}\n")


def resident_bytes() -> int:
    """Return the memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def train_long(config: Path, place: Path, steps: int, log: Path) -> None:
    """Train so many steps."""
    longer = [f"training.epochs={steps // STEPS_PER_EPOCH}", f"training.log_every={LOG_EVERY}"]
    rarer = ["training.eval_every_epochs=20", "checkpoints.every_epochs=100"]
    start(
        draw(load_config(config, [*longer, *rarer]), place),
        Terms(runs_dir=place, data_dir=place, device="cpu", show=lambda name, plan: Samples(steps, log)),
    )


def held_steady(trial: Trial, steps: int, limit_s: float = 600) -> int:
    """Train long, and hold memory and open files of the last four fifths against each other; return the steps."""
    log = trial.place / "samples"
    log.unlink(missing_ok=True)
    process = CONTEXT.Process(target=partial(train_long, trial.config, trial.runs(), steps, log), daemon=True)
    process.start()
    process.join(limit_s)
    expect(process.exitcode == 0, f"{steps} steps: exit code {process.exitcode}")
    memory, files = zip(*(map(int, line.split()) for line in log.read_text().splitlines()), strict=True)
    growth = grown(memory)
    expect(growth < MOST_GROWTH, f"{steps} steps: memory grew by {growth:.1%}: {memory}")
    expect(len(set(files[20:])) == 1, f"{steps} steps: open files: {files}")
    return steps


def grown(memory: Sequence[int]) -> float:
    """Return by which part the memory grew from a fifth of the run to its end."""
    return memory[-1] / memory[len(memory) // 5] - 1
