"""Runs whose records cannot be written: they end with one message, and go on when there is space again."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bnexp.runs.checkpoints import load_newest
from sabotage import Calls, at_step, limit_file_size
from trials import Ended, Trial, expect, is_one_message

STEP = 7
"""The harm is done after this step: the last checkpoint is that of step 6."""


def limited_files(trial: Trial) -> int:
    """Let no file grow beyond what a checkpoint, the event file or the rows need; return the kinds."""
    largest = {path.name[:6]: path.stat().st_size for path in trial.whole_folder.rglob("*") if path.is_file()}
    limits = {
        "a checkpoint": (largest["events"] + largest["step12"]) // 2,
        "the event file": (largest["metric"] + largest["events"] // 2) // 2,
        "the rows": largest["metric"] // 2,
    }
    for what, limit in limits.items():
        runs = trial.runs()
        ended = trial.train(runs, partial(at_step, STEP, partial(limit_file_size, limit))).ended()
        stopped(trial, trial.folder(runs), ended, f"{what} over its limit", "raise the limit on the size of files")
        trial.comes_through(trial.folder(runs), f"{what} over its limit")
    runs = trial.runs()
    ended = trial.train(runs, partial(limit_file_size, 2000)).ended()
    refused(ended, "a limit from the start", "raise the limit on the size of files")
    trial.comes_through(trial.folder(runs), "a limit from the start")
    return len(limits) + 1


def full_disks(trial: Trial, disk: Path, steps: range) -> int:
    """Fill a small disk up after a step of the training; return the times."""
    for step in steps:
        runs = disk / "runs"
        ended = trial.train(runs, partial(at_step, step, partial(fill, disk))).ended()
        (disk / "ballast").unlink()
        stopped(trial, trial.folder(runs), ended, f"full after step {step}", "free some space")
        trial.comes_through(trial.folder(runs), f"full after step {step}")
        shutil.rmtree(runs)
    return len(steps)


def full_disk_from_the_start(trial: Trial, disk: Path) -> int:
    """Begin and continue a run on a disk that is full."""
    runs = disk / "runs"
    fill(disk)
    refused(trial.train(runs).ended(), "begun on a full disk", "free some space")
    (disk / "ballast").unlink()
    shutil.rmtree(runs, ignore_errors=True)
    trial.train(runs, Calls(tear=("metrics.jsonl", STEP, 100)).watch).ended()
    fill(disk)
    ended = trial.resume(trial.folder(runs)).ended()
    (disk / "ballast").unlink()
    stopped(trial, trial.folder(runs), ended, "continued on a full disk", "free some space")
    trial.comes_through(trial.folder(runs), "continued on a full disk")
    shutil.rmtree(runs)
    return 2


def read_only_disk(trial: Trial, disk: Path) -> int:
    """Begin and continue a run where nothing can be written."""
    runs = disk / "runs"
    trial.train(runs, Calls(tear=("metrics.jsonl", STEP, 100)).watch).ended()
    remount(disk, "ro")
    begun = trial.train(disk / "other").ended()
    continued = trial.resume(trial.folder(runs)).ended()
    remount(disk, "rw")
    refused(begun, "begun on a read-only disk", "--runs-dir names another place")
    refused(continued, "continued on a read-only disk", "make the folder writable")
    trial.comes_through(trial.folder(runs), "continued on a read-only disk")
    shutil.rmtree(runs)
    return 2


def folders_that_go(trial: Trial) -> int:
    """Delete or move what a run writes to, while it trains; return the kinds."""
    runs = trial.runs()
    folder, aside = trial.folder(runs), trial.place / "aside"
    shutil.rmtree(aside, ignore_errors=True)

    refused(during(trial, runs, partial(os.rename, folder, aside)), "moved", "was deleted or moved")
    trial.comes_through(aside, "moved")

    refused(during(trial, trial.runs(), partial(shutil.rmtree, folder)), "deleted", "was deleted or moved")
    expect(not folder.exists(), f"{folder} was made again")

    ended = during(trial, trial.runs(), partial(os.unlink, folder / "metrics.jsonl"))
    refused(ended, "the rows deleted", "metrics.jsonl")

    ended = during(trial, trial.runs(), partial(shutil.rmtree, folder / "checkpoints"))
    expect(ended.code == 0, f"without its checkpoints: {ended}")
    shutil.copy(trial.whole_folder / "checkpoints" / "step6.pt", folder / "checkpoints")  # only that is missing
    trial.is_whole(folder, "without its checkpoints")
    return 4


def during(trial: Trial, runs: Path, act: Callable[[], object]) -> Ended:
    """Train a run to which something happens on the way."""
    return trial.train(runs, partial(at_step, STEP, act)).ended()


def refused(ended: Ended, what: str, words: str) -> None:
    """Hold that a command failed with one message that says what to do."""
    expect(ended.code == 1 and is_one_message(ended.error) and words in ended.error, f"{what}: {ended}")


def stopped(trial: Trial, folder: Path, ended: Ended, what: str, words: str) -> None:
    """Hold that a run failed with one message, and that its last checkpoint is whole."""
    refused(ended, what, words)
    newest = load_newest(folder)
    expect(newest is not None and not newest.damaged, f"{what}: no whole checkpoint")
    expect(f"bnexp resume {folder}" in ended.error, f"{what}: does not say how it goes on: {ended.error}")


def fill(disk: Path) -> None:
    """Leave no room on a disk."""
    descriptor = os.open(disk / "ballast", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with contextlib.suppress(OSError):
        while True:
            os.write(descriptor, bytes(4096))
    os.close(descriptor)


@contextlib.contextmanager
def small_disk(place: Path, size: str = "1m") -> Iterator[Path | None]:
    """Mount a disk in memory; None where that is not permitted."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    try:
        yield place if mounted else None
    finally:
        if mounted:
            unmount(place)
        place.rmdir()


def unmount(place: Path) -> None:
    """Take a disk away, as soon as no process has a file on it."""
    for _ in range(50):
        if subprocess.run(["umount", str(place)], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)


def remount(disk: Path, mode: str) -> None:
    """Let a disk be written (`rw`) or only be read (`ro`)."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True, capture_output=True)
