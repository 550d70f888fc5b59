"""Proves that a run survives what happens to it: each check does it some harm, lets it go on, and compares the end.

The end is to be, bit for bit, that of a run that nothing happened to. Run it with

    python tests/faults/faults.py

It prints what was done, and ends with exit code 1 at the first run that did not come through.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

from bnexp.runs.folder import read_json
from damage import damaged_runs
from endurance import held_steady
from full_disk import folders_that_go, full_disk_from_the_start, full_disks, limited_files, read_only_disk, small_disk
from sabotage import Call, Calls, calls_in, sleep_each_step, wait_for
from sabotage import both as one_after_the_other
from sweeps import SweepTrial, killed_around_a_checkpoint
from sweeps import killed_at_random as sweeps_killed_at_random
from trials import CONTEXT, Ended, Trial, Violation, expect, is_one_message, start_server

T = TypeVar("T")
MODULES = ("damage", "endurance", "full_disk", "sabotage", "sweeps", "bnexp.sweep.worker")
"""Where the faults are, which the server of the processes loads."""
TAIL_BYTES = 64
PARTS = 40
"""Where a checkpoint is torn: at every byte near its end, and at each fortieth of it."""


def killed_at_random(trial: Trial, count: int, seed: int = 0) -> int:
    """Kill runs at moments spread over their whole life, and some of those that continue them; return the kills."""
    generator, kills = random.Random(seed), 0
    began = time.monotonic()
    trial.train(trial.runs()).ended()
    life_s = 1.1 * (time.monotonic() - began)
    while kills < count:
        runs, delays = trial.runs(), [life_s * generator.random()]
        while generator.random() < 0.4:
            delays.append(life_s * generator.random())
        command = trial.train(runs)
        for number, delay in enumerate(delays):
            time.sleep(delay)
            kills += command.kill().code < 0
            if number < len(delays) - 1:
                command = trial.resume(trial.folder(runs))
        trial.comes_through(trial.folder(runs), f"killed after {', '.join(f'{delay:.3f}' for delay in delays)} s")
    return kills


def recorded_calls(trial: Trial) -> list[Call]:
    """Return the calls of an undisturbed run that change files, in order."""
    log = trial.place / "calls"
    log.unlink(missing_ok=True)
    runs = trial.runs()
    expect(trial.train(runs, Calls(log).watch).ended().code == 0, "the run that is recorded does not end")
    return calls_in(log)


def killed_between_calls(trial: Trial, count: int | None = None) -> int:
    """Kill runs before each call that changes a file, or before an even sample of them; return the kills."""
    numbers = range(1, len(recorded_calls(trial)) + 1)
    for number in sample(numbers, count):
        runs = trial.runs()
        trial.train(runs, Calls(kill_before=number).watch).ended()
        trial.comes_through(trial.folder(runs), f"killed before call {number}")
    return len(sample(numbers, count))


def torn_writes(trial: Trial, count: int | None = None) -> int:
    """Let only the first bytes of a write come to the disk, and kill the run: at all places, or an even sample."""
    tears = sample(places_to_tear(recorded_calls(trial)), count)
    for tear in tears:
        runs = trial.runs()
        trial.train(runs, Calls(tear=tear).watch).ended()
        trial.comes_through(trial.folder(runs), f"torn: {tear}")
    return len(tears)


def places_to_tear(calls: Sequence[Call]) -> list[tuple[str, int, int]]:
    """Return (name, number of the write, bytes of it) for all writes that are torn, each byte of small ones."""
    writes: dict[str, list[int]] = {}
    for call in calls:
        if call.what == "write":
            writes.setdefault(call.name, []).append(call.size)
    places = []
    for name, sizes in writes.items():
        appended = name == "metrics.jsonl" or "tfevents" in name
        number = len(sizes) // 2 + 1 if appended else len(sizes)
        size = sizes[number - 1]
        sparse = [*range(0, size, max(size // PARTS, 1)), *range(max(size - TAIL_BYTES, 0), size + 1)]
        places += [(name, number, kept) for kept in (sparse if name.endswith(".pt") else range(size + 1))]
    return places


def rows_come_before_checkpoints(trial: Trial) -> int:
    """Hold that all rows and the content are on the disk before a checkpoint takes its name; return the checkpoints."""
    unflushed: set[str] = set()
    checkpoints = 0
    for call in recorded_calls(trial):
        if call.what == "write":
            unflushed.add(call.name)
        elif call.what == "fsync":
            unflushed.discard(call.name)
        elif call.what == "replace":
            expect(call.name not in unflushed, f"{call.name} takes its name before its content is flushed")
            if call.name.endswith(".pt"):
                checkpoints += 1
                expect("metrics.jsonl" not in unflushed, f"{call.name} takes its name before the rows are flushed")
    return checkpoints


def started_together(trial: Trial, count: int) -> int:
    """Start the same config in many processes at once: each run is one of its own, and whole."""
    runs, barrier = trial.runs(), CONTEXT.Barrier(count)
    commands = [trial.train(runs, partial(wait_for, barrier)) for _ in range(count)]
    for ended in [command.ended() for command in commands]:
        expect(ended.code == 0, f"started with others: {ended}")
    folders = sorted((runs / "small").iterdir())
    expect(len(folders) == count, f"{count} processes made {folders}")
    for folder in folders:
        trial.is_whole(folder, "started with others")
    return count


def continued_together(trial: Trial, count: int, step_s: float = 0.0) -> int:
    """Let many processes continue the same run at once: one does, and the others say why they do not."""
    runs, barrier = trial.runs(), CONTEXT.Barrier(count)
    trial.train(runs, Calls(tear=("metrics.jsonl", 8, 100)).watch).ended()
    folder = trial.folder(runs)
    begin = partial(one_after_the_other, partial(sleep_each_step, step_s), partial(wait_for, barrier))
    commands = [trial.resume(folder, begin) for _ in range(count)]
    for ended in [command.ended() for command in commands]:
        said = "is training this run right now" in ended.error or "has come to its end" in ended.error
        refused = ended.code == 1 and is_one_message(ended.error) and said
        expect(ended == Ended(0, "") or refused, f"continued with others: {ended}")
    trial.is_whole(folder, "continued with others")
    sessions = (read_json(folder / "meta.json") or {})["sessions"]
    expect(len(sessions) == 1, f"{len(sessions)} of {count} processes continued the run")
    return count


def sample(items: Sequence[T], count: int | None) -> Sequence[T]:
    """Return so many items, evenly spread from the first to the last; None for all."""
    if count is None or count >= len(items):
        return items
    return [items[number * (len(items) - 1) // (count - 1)] for number in range(count)]


def checks_of(trial: Trial, disk: Path | None, amount: argparse.Namespace) -> dict[str, Callable[[], int]]:
    """Return all checks by name; each returns how much it did. Without a small disk some are left out."""
    checks: dict[str, Callable[[], int]] = {
        "killed at random moments": lambda: killed_at_random(trial, amount.kills, amount.seed),
        "killed before a call": lambda: killed_between_calls(trial, amount.calls),
        "torn writes": lambda: torn_writes(trial, amount.tears),
        "rows flushed before checkpoints": lambda: rows_come_before_checkpoints(trial),
        "started together": lambda: started_together(trial, 8),
        "continued together": lambda: continued_together(trial, 8),
        "continued together, slowly": lambda: continued_together(trial, 8, 0.2),
        "files over a limit": lambda: limited_files(trial),
        "folders that go": lambda: folders_that_go(trial),
        "damaged runs": lambda: damaged_runs(
            trial, amount.flips, states=amount.states, seed=amount.seed, limit_s=86_400
        ),
        "steps of a long run": lambda: held_steady(trial, amount.steps, limit_s=86_400),
    }
    sweep = cache(lambda: SweepTrial(trial.place.parent / "sweep"))
    checks["sweeps killed at random"] = lambda: sweeps_killed_at_random(sweep(), amount.sweeps, amount.seed)
    checks["sweeps killed at checkpoints"] = lambda: killed_around_a_checkpoint(sweep(), 8)
    if disk is not None:
        checks["disks that fill up"] = lambda: full_disks(trial, disk, range(1, 12))
        checks["full disks"] = lambda: full_disk_from_the_start(trial, disk)
        checks["read-only disks"] = lambda: read_only_disk(trial, disk)
    return checks


def main() -> None:
    """Do all checks and print what was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=2000, help="at random moments")
    parser.add_argument("--sweeps", type=int, default=20, help="kills in sweeps, at random moments")
    parser.add_argument("--tears", type=int, help="places where a write is torn [default: all]")
    parser.add_argument("--calls", type=int, help="calls before which a run is killed [default: all]")
    parser.add_argument("--flips", type=int, default=100, help="random damages of each file")
    parser.add_argument("--states", type=int, help="checkpoints that hold something else [default: all]")
    parser.add_argument("--steps", type=int, default=20_000, help="of the long run")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments and damages")
    amount = parser.parse_args()
    start_server(*MODULES)
    with tempfile.TemporaryDirectory() as name, small_disk(Path(name) / "disk") as disk:
        if disk is None:
            print("no disk can be mounted here: full and read-only disks are left out")
        for what, check in checks_of(Trial(Path(name) / "trial"), disk, amount).items():
            began = time.monotonic()
            try:
                done = check()
            except Violation as violation:
                print(f"{what}: {violation}", file=sys.stderr)
                sys.exit(1)
            print(f"{what:<34}{done:>8,}{time.monotonic() - began:>10.1f} s", flush=True)


if __name__ == "__main__":
    main()
