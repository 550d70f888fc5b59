"""Run folders that were damaged: each is continued, and either ends as it should or says which file is wrong."""

import contextlib
import copy
import io
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial, reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bnexp.cli import main
from bnexp.runs.checkpoints import load_checkpoint, save_checkpoint
from sabotage import Calls
from trials import CONTEXT, LIMIT_S, Trial, expect, is_one_message

FILES = {
    "dead": (
        *("config.yaml", "meta.json", "metrics.jsonl"),
        *(f"checkpoints/{name}.pt" for name in ("step0", "step6", "best")),
    ),
    "ended": ("meta.json", "summary.json"),
}
"""What is damaged in a run that was killed after step 8, and in one that was killed between its two last records."""

Damage = Callable[[Path], object]


def flip(generator: random.Random, path: Path) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    path.write_bytes(content)


def cut(generator: random.Random, path: Path) -> None:
    """Cut a file somewhere."""
    os.truncate(path, generator.randrange(path.stat().st_size))


def insert(generator: random.Random, path: Path) -> None:
    """Insert some bytes."""
    content = path.read_bytes()
    place = generator.randrange(len(content) + 1)
    path.write_bytes(content[:place] + generator.randbytes(generator.randint(1, 20)) + content[place:])


def replace_by(make: Callable[[Path], object], path: Path) -> None:
    """Put something else in the place of a file."""
    path.unlink()
    make(path)


THINGS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: None,
    "an empty file": Path.touch,
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "null": lambda path: path.write_text("null"),
    "a list": lambda path: path.write_text("[1, 2]"),
    "a deep list": lambda path: path.write_text("[" * 100_000),
}


def damages(generator: random.Random, flips: int) -> Iterator[tuple[str, str, str, Damage]]:
    """Yield (which run, file, what, damage)."""
    for base, files in FILES.items():
        for file in files:
            for what, make in THINGS.items():
                yield base, file, what, partial(replace_by, make)
            for number in range(flips):
                damage = (flip, cut, insert)[number % 3]
                yield base, file, f"{damage.__name__} {number}", partial(damage, random.Random(generator.random()))


def places_in(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield every place in a state, but not each of many numbers."""
    if place:
        yield place
    if isinstance(value, dict):
        for key, below in value.items():
            yield from places_in(below, (*place, key))
    elif isinstance(value, list | tuple):
        for number, below in enumerate(value[:2]):
            yield from places_in(below, (*place, number))


OTHERS: dict[str, Callable[[Any], Any]] = {
    "none": lambda value: None,
    "text": lambda value: "x",
    "minus one": lambda value: -1,
    "huge": lambda value: 10**30,
    "a fraction": lambda value: 0.5,
    "nan": lambda value: float("nan"),
    "a list": lambda value: [1, "x"],
    "a mapping": lambda value: {"x": 1},
    "another shape": lambda value: torch.zeros(3, 1, 2),
    "another type": lambda value: value.to(torch.complex64) if isinstance(value, Tensor) else torch.zeros(()),
    "one more": lambda value: {**value, "x": 1} if isinstance(value, dict) else [value],
}


def put_other(place: tuple[Any, ...], other: Callable[[Any], Any] | None, path: Path) -> None:
    """Put something else at a place in a checkpoint, or take the place away; its checksum is right."""
    state = copy.deepcopy(load_checkpoint(path))
    above: Any = state
    for key in place[:-1]:
        if isinstance(above[key], tuple):
            above[key] = list(above[key])
        above = above[key]
    if other is None:
        del above[place[-1]]
    else:
        above[place[-1]] = other(above[place[-1]])
    save_checkpoint(path, state)


def foreign_states(folder: Path) -> Iterator[tuple[str, str, str, Damage]]:
    """Yield (which run, file, what, damage) for checkpoints that are whole but hold something else."""
    file = "checkpoints/step6.pt"
    state = load_checkpoint(folder / file)
    for place in places_in(state):
        name, value = ".".join(map(str, place)), reduce(lambda above, key: above[key], place, state)
        yield "dead", file, f"{name} missing", partial(put_other, place, None)
        for what, other in OTHERS.items():
            known = what == "none" and name.startswith(("streams", "progress"))
            if known or (isinstance(value, float) and isinstance(other(value), float)):
                continue  # which number is right, and whether there was one, nothing tells
            yield "dead", file, f"{name}: {what}", partial(put_other, place, other)


def make_bases(trial: Trial) -> dict[str, Path]:
    """Return runs that were killed: after step 8, and between its two last records."""
    bases = {}
    for name, tear in {"dead": ("metrics.jsonl", 9, 100), "ended": ("meta.json", 2, 100)}.items():
        runs = trial.runs()
        trial.train(runs, Calls(tear=tear).watch).ended()
        bases[name] = trial.place / name
        shutil.rmtree(bases[name], ignore_errors=True)
        trial.folder(runs).rename(bases[name])
    return bases


def continue_damaged(trial: Trial, seed: int, flips: int, files: int | None, states: int | None, log: Path) -> None:
    """Continue damaged runs one after the other, in this process; the log holds the case at hand."""
    bases = {name: trial.place / name for name in FILES}
    cases = list(damages(random.Random(seed), flips))
    foreign = list(foreign_states(bases["dead"]))
    for kind in (cases, foreign):
        random.Random(seed).shuffle(kind)
    torch.set_num_threads(1)
    chosen = [*cases[:files], *foreign[:states]]
    for base, file, what, damage in chosen:
        case = f"{base}/{file}: {what}"
        log.write_text(case)
        folder = trial.folder(trial.runs())
        shutil.copytree(bases[base], folder)
        damage(folder / file)
        problem = problem_after(trial, folder, file)
        if problem:
            with (log.parent / "problems").open("a") as problems:
                problems.write(f"{case}: {problem}\n")
    log.write_text(f"{len(chosen)} done")


def problem_after(trial: Trial, folder: Path, file: str) -> str:
    """Continue a run, and say what is wrong with how it answers, if something is."""
    code, said, error = called("resume", str(folder), "--quiet")
    if code == 0 and "already" in said:
        return "" if file in FILES["ended"] else said
    if code == 0:
        try:
            trial.is_whole(folder, "continued")
        except Exception as violation:
            return f"{violation!r}\n{error}"
        return ""
    names = any(word in error for word in (Path(file).name, "metrics.jsonl", "the dataset", "--from-start"))
    return "" if code in (1, 2) and is_one_message(error) and names else f"exit {code}: {error}"


def called(*arguments: str) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr of a command."""
    sys.argv = ["bnexp", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()) as error:
        try:
            main()
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        except BaseException as crash:
            return -1, said.getvalue(), f"{error.getvalue()}{type(crash).__name__}: {crash}"
    return code, said.getvalue(), error.getvalue()


def damaged_runs(
    trial: Trial,
    flips: int = 6,
    files: int | None = None,
    states: int | None = None,
    seed: int = 0,
    limit_s: float = LIMIT_S,
) -> int:
    """Damage runs in many ways and continue them; return the ways.

    Args:
        trial: whose runs.
        flips: random damages of each file, beside the things that are put in its place.
        files: damaged files, at random; None for all.
        states: whole checkpoints that hold something else, at random; None for all.
        seed: of all that is random.
        limit_s: for all of them.
    """
    make_bases(trial)
    log = trial.place / "case"
    (trial.place / "problems").unlink(missing_ok=True)
    process = CONTEXT.Process(target=continue_damaged, args=(trial, seed, flips, files, states, log), daemon=True)
    process.start()
    process.join(limit_s)
    if process.is_alive():
        process.kill()
    problems = trial.place / "problems"
    expect(not problems.exists(), problems.read_text() if problems.exists() else "")
    said = log.read_text()
    expect(said.endswith(" done"), f"{said}: no end")
    return int(said.split()[0])
