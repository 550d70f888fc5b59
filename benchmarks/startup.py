"""How long commands take from the shell's point of view, beside what loading Python and torch takes on this machine."""

import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Report, Round, Terms, alternate, figures_of, table
from benchmarks.workloads import CONFIGS

ROUNDS = 5
RUNS = 100
"""Runs that `bnexp ls` lists."""
DEMO = [str(CONFIGS / "demo" / f"{norm}.yaml") for norm in ("none", "bn", "ln")]
ONE_STEP = ["--set", "training.steps=1", "--set", "training.epochs=null", "--quiet"]


def command_round(words: list[str], cpu: list[float]) -> Round:
    """Return what runs a program of Python to its end; its processor time, with that of its children, goes to `cpu`."""

    def work() -> float:
        before, start = os.times(), time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        cpu.append(_of_children(before))
        return seconds

    return work


def first_row_round(words: list[str], place: Path, cpu: list[float]) -> Round:
    """Return what trains in `place` until the row of the first step lies there, and ends it then."""

    def work() -> float:
        rows = place / "run" / "seed0" / "metrics.jsonl"
        shutil.rmtree(place, ignore_errors=True)
        command = [sys.executable, *words, "--name", "run", "--runs-dir", str(place)]
        before, start = os.times(), time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as training:
            while not _has_a_row(rows):
                if training.poll() is not None and not _has_a_row(rows):
                    raise RuntimeError(f"{shlex.join(words)} ended without a row")
                time.sleep(0.002)
            seconds = time.perf_counter() - start
            training.kill()
        cpu.append(_of_children(before))
        return seconds

    return work


def _has_a_row(rows: Path) -> bool:
    return rows.exists() and rows.stat().st_size > 0


def _of_children(before: os.times_result) -> float:
    """Return the processor time of children since then, in seconds."""
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def startup(name: str, terms: Terms) -> Report:
    """Time commands in alternation: on the wall, and as processor time, which other work on the machine moves less."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        copies_of_a_run(place / "listed", 2 if terms.small else RUNS)
        bnexp = ["-m", "bnexp"]
        commands = {
            "python -c pass": ["-c", "pass"],
            "bnexp --help": [*bnexp, "--help"],
            f"bnexp ls, {RUNS} runs": [*bnexp, "ls", str(place / "listed")],
        }
        if not terms.small:
            demo = ["train", *DEMO, "--again", "--quiet", "--runs-dir", str(place / "demo")]
            one = ["train", DEMO[0], *ONE_STEP, "--again", "--runs-dir", str(place / "one")]
            commands |= {
                "python -c 'import torch'": ["-c", "import torch"],
                "bnexp check": [*bnexp, "check", DEMO[0]],
                "bnexp train, a run of one step": [*bnexp, *one],
                "the three runs of make demo": [*bnexp, *demo],
            }
        processor: dict[str, list[float]] = {way: [] for way in commands}
        ways = {way: command_round(words, processor[way]) for way, words in commands.items()}
        if not terms.small:
            way = "bnexp train, to the row of its first step"
            ways[way] = first_row_round([*bnexp, "train", DEMO[0]], place / "begun", processor.setdefault(way, []))
        rounds = 1 if terms.small else terms.rounds or ROUNDS
        figures = figures_of(alternate(ways, dict.fromkeys(ways, rounds)))
    for way, figure in figures.items():
        figure["processor_s"] = statistics.median(processor[way][1:])
    columns = ("command", "seconds", "fastest", "processor seconds", "spread")
    rows = [
        (
            f"`{way}`" if way.startswith("python") else way,
            *(f"{figure[key]:.2f}" for key in ("median_s", "fastest_s", "processor_s")),
            f"{figure['spread']:.0%}",
        )
        for way, figure in figures.items()
    ]
    return Report(name, f"### Start-up\n\n{table(columns, rows)}", {"title": "start-up", "unit": "s", "ways": figures})


def copies_of_a_run(folder: Path, count: int) -> None:
    """Leave the records of some runs in a folder: a trained one, and copies of it."""
    made = folder / "run"
    words = ["-m", "bnexp", "train", DEMO[0], "--name", "run", *ONE_STEP, "--runs-dir", str(folder)]
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    for seed in range(1, count):
        shutil.copytree(made / "seed0", made / f"seed{seed}")
