"""Runs that two processes train together: one folder, the figures of one process, and one end however it comes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnexp.commands.train import train
from bnexp.errors import ConfigError
from bnexp.probes.registry import PROBES as ALL
from bnexp.runs.resuming import newest_run_of
from bnexp.runs.seal import load_stored
from bnexp.session.resume import resume
from bnexp.session.terms import Terms
from bnexp.training.distributed import DividedStep
from command_line import program
from pairs import bnexp_in, bnexp_in_both, config_at
from written_rows import rows_of

PROBES = [name for name in ALL if name != "cost"]
QUICK: dict[str, dict[str, Any]] = {
    "evaluation_modes": {"examples": 2, "recomputed_over": 20},
    "coupling": {"examples": 1, "draws": 2},
    "covariate_shift": {"examples": 16, "units": 4},
    "landscape": {"points": 2},
}
NORMS = ["none", "ln", "sync_bn"]
SECTIONS = {
    "data": {"batch_size": 13, "augment": "shift"},  # 90 examples: the last batch has 12, and parts are uneven
    "training": {"epochs": 2, "log_every": 1, "accumulate": 2, "ema": 0.9, "grad_clip": 1.0},
    "probes": {name: {"every": 4, **QUICK.get(name, {})} for name in PROBES},
}


def configs_at(place: Path) -> list[str]:
    return [
        config_at(place, norm, **SECTIONS, model={"block": "linear -> norm -> relu -> dropout(p=0.2)", "norm": norm})
        for norm in (*NORMS, "bn")
    ] + [
        config_at(place, name, training={"on_divergence": name}, optimizer={"lr": 1e25})
        for name in ("stop", "skip_step")
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where runs of two processes lie, in `two`, and those of one, in `one`."""
    place = tmp_path_factory.mktemp("several")
    configs = configs_at(place)
    codes, said = bnexp_in_both(place, "train", *configs, "--runs-dir", str(place / "two"), "--quiet")
    assert codes == [0, 0], said
    assert said[1] == ""
    train([Path(config) for config in configs], runs_dir=place / "one", quiet=True, device="cpu")
    return place


@pytest.mark.parametrize("norm", NORMS)
def test_the_rows_are_those_of_one_process(trained: Path, norm: str) -> None:
    two, one = (rows_of(trained / which / norm / "seed0") for which in ("two", "one"))
    assert len(two) == len(one)
    for mine, expected in zip(two, one, strict=True):
        assert mine == pytest.approx(expected, rel=2e-4, abs=2e-5, nan_ok=True)
    assert [path.name for path in (trained / "two" / norm).iterdir()] == ["seed0"]


@pytest.mark.parametrize("policy", ["stop", "skip_step"])
def test_all_take_one_decision_about_a_step_that_is_not_finite(trained: Path, policy: str) -> None:
    two, one = (json.loads((trained / which / policy / "seed0/summary.json").read_text()) for which in ("two", "one"))
    assert two["divergence"] is not None
    for key in ("status", "steps", "skipped_steps", "divergence"):
        assert two[key] == one[key]


@pytest.mark.parametrize(("norm", "parts"), [("sync_bn", 1), ("bn", 2)])
def test_what_the_statistics_were_taken_of_is_recorded(trained: Path, norm: str, parts: int) -> None:
    folder = trained / "two" / norm / "seed0"
    meta, summary = (json.loads((folder / f"{name}.json").read_text()) for name in ("meta", "summary"))
    kept = "of process 0" if parts > 1 else "of the whole batch"
    assert meta["processes"] == {"count": 2, "parts": parts, "running_statistics": kept, "backend": "gloo"}
    assert summary["batch_size"] == {"statistics": 13 // parts, "optimizer": 26}
    other = json.loads((trained / "one" / norm / "seed0" / "meta.json").read_text())
    assert (meta["network"] == other["network"]) == (parts == 1)


def at_update(number: int, do: Callable[[], None]) -> None:
    """Do something when a process has taken so many steps."""
    usual, taken = DividedStep.update, [0]

    def update(step: DividedStep) -> None:
        usual(step)
        taken[0] += 1
        if taken[0] == number:
            do()

    DividedStep.update = update  # type: ignore[method-assign]


def interrupt_process_1(rank: int) -> None:
    if rank == 1:
        at_update(5, lambda: os.kill(os.getpid(), signal.SIGTERM))


def kill_process_1(rank: int) -> None:
    if rank == 1:
        at_update(5, lambda: os.kill(os.getpid(), signal.SIGKILL))


def fill_process_1(rank: int) -> None:
    def lack_memory() -> None:
        raise MemoryError

    if rank == 1:
        at_update(5, lack_memory)


def test_a_signal_to_one_process_stops_both_and_the_resumed_run_is_the_undisturbed_one(
    trained: Path, tmp_path: Path
) -> None:
    config = str(trained / "bn.yaml")
    flags = ["--runs-dir", str(tmp_path), "--quiet"]
    codes, said = bnexp_in_both(tmp_path, "train", config, *flags, fault=interrupt_process_1)
    folder = tmp_path / "bn" / "seed0"
    assert codes == [143, 143], said
    assert (
        f"interrupted; it can be resumed after step 6: torchrun --nproc-per-node 2 -m bnexp resume {folder}" in said[0]
    )
    assert said[1] == ""
    with pytest.raises(ConfigError, match=r"bn took the statistics of each of 2 .* As it began: torchrun"):
        resume(folder, Terms())
    codes, said = bnexp_in_both(tmp_path, "resume", str(folder), "--quiet")
    assert codes == [0, 0], said
    assert rows_of(folder) == rows_of(trained / "two" / "bn" / "seed0")
    config_of_it = load_stored(folder)[0]
    assert newest_run_of(config_of_it, tmp_path) is None
    assert newest_run_of(config_of_it, tmp_path, parts=2).folder == folder


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (kill_process_1, -signal.SIGKILL, "error: another of the 2 processes is gone"),
        (fill_process_1, 1, "error: process 1 of 2: out of memory with data.batch_size 13"),
    ],
)
def test_the_end_of_one_process_ends_both_with_one_message(
    trained: Path, tmp_path: Path, fault: Callable[[int], None], code: int, words: str
) -> None:
    flags = ["--runs-dir", str(tmp_path), "--quiet"]
    codes, said = bnexp_in_both(tmp_path, "train", str(trained / "ln.yaml"), *flags, fault=fault)
    assert codes == [1, code], said
    assert words in said[0]
    assert "resume" in said[0]
    assert said[1] == ""
    assert json.loads((tmp_path / "ln/seed0/meta.json").read_text())["status"] == "failed"


def test_a_wrong_config_is_refused_once(trained: Path, tmp_path: Path) -> None:
    words = ["train", str(trained / "bn.yaml"), "--set", "data.batch_size=3", "--runs-dir", str(tmp_path / "runs")]
    codes, said = bnexp_in_both(tmp_path, *words)
    assert codes == [2, 2], said
    assert "data.batch_size 3: 2 processes take a part each, of which bn needs 2 examples or more" in said[0]
    assert said[1] == ""
    assert not (tmp_path / "runs").exists()


@pytest.mark.long
def test_torchrun_of_three_ends_at_ctrl_c_and_resumed_is_undisturbed(tmp_path: Path) -> None:
    """Three, since the order in which more than two are added is what a resumed run must keep."""
    config = config_at(tmp_path, "three", training={"epochs": 48}, model={"block": "linear -> sync_bn -> relu"})
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "3", "--no-python", program()]

    codes, told = bnexp_in(3, tmp_path, "train", config, "--runs-dir", str(tmp_path / "whole"), "--quiet")
    assert codes == [0, 0, 0], told
    command = [*start, "train", config, "--runs-dir", "runs", "--quiet", "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    rows = tmp_path / "runs/three/seed0/metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (rows.exists() and rows.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    assert "interrupted; it can be resumed after step" in said, said
    assert "torchrun --nproc-per-node 3 -m bnexp resume runs/three/seed0" in said
    assert len(children) == 3
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    codes, told = bnexp_in(3, tmp_path, "resume", str(rows.parent), "--quiet")
    assert codes == [0, 0, 0], told
    assert rows_of(rows.parent) == rows_of(tmp_path / "whole/three/seed0")
