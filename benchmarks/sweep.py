"""Times sweeps against what people do without them, whole commands each, with the time to load torch.

several  12 runs of an MLP on images of the shape of MNIST: `--workers auto` against the same runs one after
         another with all threads, in one process
tiny     60 runs of two epochs on 5,000 digits: 3 norms, 4 rates, 5 seeds; and what the sweep adds to each run,
         from the start of its process to its end, beside its own time
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Report, Terms, table
from benchmarks.workloads import CONFIGS, SMALL_BATCH, SMALLEST
from bnexp.config.sweep_loading import sweep_of_options
from bnexp.processes import usable_cores
from bnexp.runs.find import runs_below
from bnexp.runs.folder import SUMMARY, read_json
from bnexp.sweep.local import LocalWorkers
from bnexp.sweep.plan import PlannedRun, Planner, SweepTasks
from bnexp.sweep.running import carry_out
from bnexp.sweep.work import Ended, Event, Task

NORMS = "none", "bn", "ln"


def timed(words: list[str], threads: int | None = None) -> float:
    """Return the seconds that a command of bnexp takes."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "bnexp", *words], check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def several(place: Path, terms: Terms) -> dict[str, float]:
    """Return the seconds of 12 runs by a sweep, and one after another."""
    config, norms, seeds = str(CONFIGS / "mnist_mlp_bn.yaml"), NORMS[: 1 if terms.small else 3], 1 if terms.small else 4
    size = SMALLEST if terms.small else terms.examples or 20_000
    made = ["data.dataset=synthetic", f"data.synthetic.size={size}", f"training.epochs={1 if terms.small else 5}"]
    made += [f"data.batch_size={SMALL_BATCH}"] if terms.small else []
    quiet = [*(word for one in made for word in ("--set", one)), "--quiet", "--runs-dir"]
    axis = "model.norm=" + ",".join(norms)
    by_sweep = timed(["sweep", config, "--axis", axis, "--seeds", str(seeds), *quiet, str(place / "sweep")])
    serial = 0.0
    for norm in norms:
        words = ["train", config, "--set", f"model.norm={norm}", "--name", norm, "--seed", f"0-{seeds - 1}"]
        serial += timed([*words, *quiet, str(place / "serial")], usable_cores())
    return {"runs": len(norms) * seeds, "sweep_s": by_sweep, "one_after_another_s": serial}


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


def tiny(place: Path, terms: Terms) -> dict[str, float]:
    """Return the seconds of 60 tiny runs by a sweep, and what it adds to each."""
    base = place / "tiny.yaml"
    base.write_text(
        "data: {dataset: mnist5k, batch_size: 64}\n"
        "model: {arch: mlp, hidden: [64, 64], block: linear -> norm -> relu, norm: bn}\n"
        "optimizer: {name: sgd, lr: 0.1}\n"
        "training: {epochs: 2}\n"
    )
    axes = ["model.norm=" + ",".join(NORMS), "optimizer.lr=" + ("0.1" if terms.small else "0.01,0.03,0.1,0.3")]
    seeds = "1" if terms.small else "5"
    words = ["sweep", str(base), *(word for axis in axes for word in ("--axis", axis)), "--seeds", seeds, "--quiet"]
    whole = timed([*words, "--runs-dir", str(place / "command")])
    planner = Planner(sweep_of_options(base, axes, seeds), place / "measured", None)
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
    return {
        "runs": len(plan.runs),
        "sweep_s": whole,
        "a_run_s": statistics.median(own.values()),
        "added_s": statistics.median(added),
        "most_added_s": max(added),
    }


def sweep(name: str, terms: Terms) -> Report:
    """Time both kinds of sweep once: each takes minutes."""
    with tempfile.TemporaryDirectory() as folder:
        many, small = several(Path(folder), terms), tiny(Path(folder), terms)
    ratio = many["sweep_s"] / many["one_after_another_s"]
    rows = [
        (
            f"{many['runs']:.0f} runs by a sweep, one after another",
            f"{many['sweep_s']:.1f}, {many['one_after_another_s']:.1f}: {ratio:.2f}",
        ),
        (f"{small['runs']:.0f} tiny runs by a sweep", f"{small['sweep_s']:.1f}"),
        ("a tiny run by itself", f"{small['a_run_s']:.2f}"),
        ("what the sweep adds to it, median and most", f"{small['added_s']:.2f}, {small['most_added_s']:.2f}"),
    ]
    return Report(name, f"### Sweeps\n\n{table(('', 'seconds'), rows)}", {"several": many, "tiny": small})
