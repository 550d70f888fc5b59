"""docs/first_study.md: every command in it runs, in an empty folder, and what it says of their results holds."""

import csv
import json
import math
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from command_line import program

pytestmark = pytest.mark.long
GUIDE = Path(__file__).parent.parent / "docs" / "first_study.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def said(folder: Path) -> Iterator[str]:
    """Run every command in its order, and return all that they said."""
    environment = {key: value for key, value in os.environ.items() if key != "BNEXP_DATA"}
    environment["PATH"] = f"{Path(program()).parent}{os.pathsep}{environment['PATH']}"
    spoken = ""
    for block in blocks("sh"):
        if block == "bnexp board\n":
            spoken += served_until_interrupted(block, folder, environment)
            continue
        done = subprocess.run(
            ["bash", "-euc", block], capture_output=True, text=True, cwd=folder, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        spoken += done.stdout
    return spoken


def served_until_interrupted(command: str, folder: Path, environment: dict[str, str]) -> str:
    """Start what serves until Ctrl-C, wait for the address that it prints, and press it."""
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command}"], stdout=subprocess.PIPE, text=True, cwd=folder, env=environment
    )
    assert process.stdout
    deadline = time.monotonic() + 60
    assert select.select([process.stdout], [], [], deadline - time.monotonic())[0], "no address in a minute"
    line = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert "http://" in line
    return line + rest


def test_every_command_is_one_that_is_run_here() -> None:
    fenced = re.findall(r"^```(\w*)$", GUIDE.read_text(), re.MULTILINE)
    assert set(fenced) == {"sh", "text", ""}
    assert len(blocks("sh")) > 8
    in_words = re.findall(r"`(bnexp [^`]+)`", GUIDE.read_text())
    run = " ".join(blocks("sh"))
    assert [command for command in in_words if command not in run] == []


def assert_tables_look_as_they_do_in_the_guide(said: str) -> None:
    real = {" ".join(line.split()) for line in said.splitlines()}
    for block in blocks("text"):
        first = " ".join(block.splitlines()[0].split())
        if first.startswith("arm"):
            assert first in real
    assert "note: n = 1: one seed is no finding." in said


def assert_what_the_guide_says_of_the_results_holds(said: str, folder: Path) -> None:
    # By what factor the gradient changes from the last hidden layer to the first, in the order of the commands.
    plain, normalized, by_layer = map(float, re.findall(r"^gradient .* x ([\d.]+) in all", said, re.MULTILINE))
    assert by_layer < plain < 0.2
    assert 0.5 < normalized < 2
    epochs = {
        arm: [first_epoch_at(folder / "runs" / arm / f"seed{seed}", 0.8) for seed in range(3)]
        for arm in ("bn", "none", "ln")
    }
    assert epochs["bn"] == [1] * 3
    assert any(epoch == 1 for epoch in epochs["ln"])
    assert all(epoch != 1 for epoch in epochs["none"])  # the second, where rounding is as on the machine of the guide
    with (folder / "study" / "results.csv").open(newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    loss, deviation, accuracy, scatter = (
        [float(rows[arm][column]) for arm in ("bn", "none", "ln")]
        for column in ("train_loss_mean", "train_loss_std", "val_accuracy_mean", "val_accuracy_std")
    )
    assert loss[1] - loss[0] > 4 * max(deviation[:2])
    for (mean, std), (other, std_of_other) in combinations(zip(accuracy, scatter, strict=True), 2):
        assert abs(mean - other) < 3 * math.sqrt((std**2 + std_of_other**2) / 3)  # standard errors of a difference
    numbers = json.loads((folder / "measured.json").read_text())["numbers"]
    assert len(numbers["x"]) == 4
    assert (folder / "measured.html").read_text().startswith("<!doctype html>")
    assert len((folder / "study" / "results.csv").read_text().splitlines()) == 4
    assert sum(line.startswith("| ") for line in (folder / "study" / "results.md").read_text().splitlines()) == 5


def first_epoch_at(run: Path, target: float) -> float | None:
    """Return after which epoch the validation accuracy was first at the target."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return next((round(row["epoch"]) for row in rows if row.get("accuracy/val", 0) >= target), None)


def assert_every_run_of_the_guide_is_there_once_and_finished(said: str, folder: Path) -> None:
    runs = sorted(path.parent.relative_to(folder / "runs").as_posix() for path in folder.glob("runs/*/*/meta.json"))
    assert runs == sorted(f"{arm}/seed{seed}" for arm in ("bn", "ln", "none") for seed in range(3))
    statuses = {json.loads((folder / "runs" / run / "meta.json").read_text())["status"] for run in runs}
    assert statuses == {"finished"}


def test_the_guide_holds_from_its_first_command_to_its_last(said: str, folder: Path) -> None:
    """Check the guide in one test, since its study takes a minute and each process would make it anew."""
    assert_tables_look_as_they_do_in_the_guide(said)
    assert_what_the_guide_says_of_the_results_holds(said, folder)
    assert_every_run_of_the_guide_is_there_once_and_finished(said, folder)
