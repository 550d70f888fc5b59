"""How time grows with examples and with runs, and memory with steps: four sizes each, a line through the times."""

import shutil
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.ours import NOWHERE, bnexp_epoch
from benchmarks.report import Report, Round, Terms, alternate, table
from benchmarks.startup import command_round, copies_of_a_run
from benchmarks.workloads import WORKLOADS
from bnexp.blueprint import draw
from bnexp.measure.machine import forget_peak, peak_mib

ROUNDS = 3
DOUBLED = (1, 2, 4, 8)
EXAMPLES, RUNS, STEPS = 5_000, 50, 250
"""The smallest of the four sizes."""
SMALL = (200, 2, 10)
"""The same where everything is at its smallest."""


def scaling(name: str, terms: Terms) -> Report:
    """Time an epoch of more and more examples, a list of more and more runs, and weigh longer and longer trainings."""
    rounds = 1 if terms.small else terms.rounds or ROUNDS
    examples, runs, steps = SMALL if terms.small else (EXAMPLES, RUNS, STEPS)
    with tempfile.TemporaryDirectory() as place:
        lists = partial(_lists, place=Path(place))
        values = {
            "examples": _grown("examples of an epoch", examples, lambda sizes: _epochs(sizes, terms), rounds),
            "runs": _grown("runs that `bnexp ls` lists", runs, lists, rounds),
        }
    values["steps"] = _heaviest(steps, terms)
    rows = [
        (one["what"], *(f"{size:,}: {value:.3g} {one['unit']}" for size, value in one["found"].items()), one["said"])
        for one in values.values()
    ]
    text = table(("of", *(f"x {factor}" for factor in DOUBLED), "fit"), rows)
    return Report(name, f"### How it grows\n\n{text}", {"title": "how it grows", "ways": values})


def line_through(found: Mapping[int, float]) -> tuple[float, float, float]:
    """Return start and slope of the straight line nearest to values by size, and the largest distance from it.

    The distance is a fraction of what the line says there.
    """
    sizes, values = np.array(list(found)), np.array(list(found.values()))
    slope, start = np.polyfit(sizes, values, 1)
    line = start + slope * sizes
    return float(start), float(slope), float(np.max(np.abs(values / line - 1)))


def _grown(
    what: str, smallest: int, ways_of: Callable[[Sequence[int]], dict[str, Round]], rounds: int
) -> dict[str, Any]:
    sizes = [smallest * factor for factor in DOUBLED]
    seconds = alternate(ways_of(sizes), {str(size): rounds for size in sizes})
    found = {size: statistics.median(seconds[str(size)]) for size in sizes}
    start, slope, apart = line_through(found)
    said = f"{start:.3g} s + {1e3 * slope:.3g} ms each, within {apart:.0%}"
    return {"what": what, "unit": "s", "found": found, "start_s": start, "each_s": slope, "apart": apart, "said": said}


def _epochs(sizes: Sequence[int], terms: Terms) -> dict[str, Round]:
    mlp, alike = WORKLOADS["mlp"], replace(terms, steps=None, small=False)
    config = {size: mlp.config_on(replace(alike, examples=size)) for size in sizes}
    return {str(size): bnexp_epoch(draw(config[size], NOWHERE), terms.device) for size in sizes}


def _lists(sizes: Sequence[int], place: Path) -> dict[str, Round]:
    """Return what lists so many runs, copies of one in a folder for each size."""
    copies_of_a_run(place / "whole", max(sizes))
    ways = dict[str, Round]()
    for size in sizes:
        some = place / str(size)
        for seed in range(size):
            shutil.copytree(place / "whole" / "run" / f"seed{seed}", some / "run" / f"seed{seed}")
        ways[str(size)] = command_round(["-m", "bnexp", "ls", str(some)], [])
    return ways


def _heaviest(smallest: int, terms: Terms) -> dict[str, Any]:
    """Return the largest memory of trainings of more and more steps, one after the other in this process."""
    found, device = dict[int, float](), torch.device(terms.device)
    for factor in DOUBLED:
        steps = smallest * factor
        config = WORKLOADS["mlp"].config_on(replace(terms, examples=1_000, steps=None, small=False))
        training = config.training.model_copy(update={"epochs": None, "steps": steps})
        blueprint = draw(config.model_copy(update={"training": training}), NOWHERE)
        forget_peak(device)
        bnexp_epoch(blueprint, terms.device)()
        peak = peak_mib(device)
        found[steps] = float(peak["device"] or peak["run"] or peak["process"] or 0.0)
    grown = max(found.values()) / min(found.values()) - 1
    return {"what": "steps of a training", "unit": "MiB", "found": found, "said": f"within {grown:.0%}"}
