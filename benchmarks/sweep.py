"""Times sweeps against what people do without them, whole commands each, with the time to load torch.

    mnist   12 runs of an MLP on MNIST, about 10 s each alone: `--workers auto` against the same runs one after another
            with all threads, in one process
    tiny    60 runs of two epochs on 5,000 digits: 3 norms, 4 rates, 5 seeds; and what the sweep adds to each run,
            from the start of its process to its end, beside its own time

Run it with

    BNEXP_DATA=<folder with MNIST> python benchmarks/sweep.py [mnist] [tiny]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bnexp.config.sweep_loading import sweep_of_options
from bnexp.processes import usable_cores
from bnexp.runs.find import runs_below
from bnexp.runs.folder import SUMMARY, read_json
from bnexp.sweep.local import LocalWorkers
from bnexp.sweep.plan import PlannedRun, Planner, SweepTasks
from bnexp.sweep.running import carry_out
from bnexp.sweep.work import Ended, Event, Task

CONFIGS = Path(__file__).parent.parent / "configs"
NORMS = "none", "bn", "ln"


def timed(words: list[str], threads: int | None = None) -> float:
    """Return the seconds that a command of bnexp takes."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "bnexp", *words], check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def mnist(place: Path, epochs: int) -> None:
    """Print the time of 12 runs by a sweep, and one after another."""
    config, length = str(CONFIGS / "mnist_mlp_bn.yaml"), f"training.epochs={epochs}"
    axis, quiet = "model.norm=" + ",".join(NORMS), ["--set", length, "--quiet", "--runs-dir"]
    by_sweep = timed(["sweep", config, "--axis", axis, "--seeds", "4", *quiet, str(place / "sweep")])
    serial = 0.0
    for norm in NORMS:
        words = ["train", config, "--set", f"model.norm={norm}", "--name", norm, "--seed", "0-3"]
        serial += timed([*words, *quiet, str(place / "serial")], usable_cores())
    print(f"mnist: 12 runs by a sweep {by_sweep:.1f} s, one after another {serial:.1f} s: {by_sweep / serial:.2f}")


class _Overheads:
    """Notes how long each attempt took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def started(self, task: Task) -> None: ...
    def take(self, event: Event) -> None: ...
    def held(self, task: Task, holder: int) -> None: ...
    def let_go(self, key: str) -> None: ...
    def tick(self) -> None: ...

    def ended(self, event: Ended, *, again: bool) -> None:
        self.seconds[event.key] = event.seconds


def tiny(place: Path) -> None:
    """Print the time of 60 tiny runs, and what the sweep adds to each."""
    base = place / "tiny.yaml"
    base.write_text(
        "data: {dataset: mnist5k, batch_size: 64}\n"
        "model: {arch: mlp, hidden: [64, 64], block: linear -> norm -> relu, norm: bn}\n"
        "optimizer: {name: sgd, lr: 0.1}\n"
        "training: {epochs: 2}\n"
    )
    axes = ["model.norm=" + ",".join(NORMS), "optimizer.lr=0.01,0.03,0.1,0.3"]
    words = ["sweep", str(base), *(word for axis in axes for word in ("--axis", axis)), "--seeds", "5", "--quiet"]
    print(f"tiny: 60 runs {timed([*words, '--runs-dir', str(place / 'command')]):.1f} s")
    planner = Planner(sweep_of_options(base, axes, "5"), place / "measured", None)
    plan = planner.plan()

    def task_of(run: PlannedRun) -> Task:
        return Task(run.key, run.blueprint, run.folder, threads=1, device="cpu")

    workers, noted = LocalWorkers(usable_cores(), [plan.runs[0].blueprint]), _Overheads()
    carry_out(SweepTasks(planner, plan, lambda choice, runs: None, task_of), workers, noted)
    own = {
        str(folder.relative_to(plan.folder)): (read_json(folder / SUMMARY) or {})["time"]["total_s"]
        for folder in runs_below(plan.folder)
    }
    added = [seconds - own[key] for key, seconds in noted.seconds.items()]
    print(f"tiny: a run takes {statistics.median(own.values()):.2f} s of its own (median)")
    print(f"tiny: the sweep adds {statistics.median(added):.2f} s to a run (median), {max(added):.2f} s at most")


def main() -> None:
    """Measure what the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=["mnist", "tiny", []], help="what to measure; by default all")
    parser.add_argument("--epochs", type=int, default=5, help="of the MNIST runs")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if not asked.names or "tiny" in asked.names:
            tiny(Path(name))
        if not asked.names or "mnist" in asked.names:
            mnist(Path(name), asked.epochs)


if __name__ == "__main__":
    main()
