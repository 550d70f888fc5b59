"""What every measurement shares: alternation, medians and their spread, tables, and the machine they were taken on."""

import contextlib
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bnexp.training.device import choose_device, device_name

Round = Callable[[], float]
"""Does the work once and returns the seconds that it took, without getting ready."""


@dataclass(frozen=True)
class Terms:
    """What the command line asks for.

    Attributes:
        device: where networks are trained.
        rounds: how often what takes no turns is timed; None: as often as the measurement says.
        steps: of bnexp in a training; None: as many as the workload has on this device.
        examples: of an epoch; None: as many as the workload has on this device.
        ways: that are timed; None: all.
        overrides: `key=value` over the configs of the workloads.
        small: everything at its smallest, to see that it runs.
    """

    device: str = "cpu"
    rounds: int | None = None
    steps: int | None = None
    examples: int | None = None
    ways: tuple[str, ...] | None = None
    overrides: tuple[str, ...] = ()
    small: bool = False


@dataclass(frozen=True)
class Report:
    """A measurement: what a person reads, in Markdown, and the same as values for JSON."""

    name: str
    text: str
    values: Mapping[str, Any] = field(default_factory=dict)


def alternate(ways: Mapping[str, Round], rounds: Mapping[str, int]) -> dict[str, list[float]]:
    """Time the ways in turn, so that a busy moment meets all of them; a round before the first does not count.

    A way with fewer rounds than another has them spread evenly over those of the other.
    """
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for work in ways.values():
        work()
    most = max(rounds.values())
    timed = {way: {(2 * number + 1) * most // (2 * count) for number in range(count)} for way, count in rounds.items()}
    for number in range(most):
        for way, work in ways.items():
            if number in timed[way]:
                seconds[way].append(work())
    return seconds


def spread(values: Sequence[float]) -> float:
    """Return the distance between the quartiles as a fraction of the median; 0 for a single value."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / statistics.median(values)


def figures_of(seconds: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """Return median, fastest, spread, and all seconds of each way."""
    return {
        way: {
            "median_s": statistics.median(values),
            "fastest_s": min(values),
            "spread": spread(values),
            "rounds": len(values),
            "seconds": list(values),
        }
        for way, values in seconds.items()
    }


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; all columns but the first are numbers."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine(device: str) -> dict[str, Any]:
    """Return where the figures come from: hardware, versions, and how busy the machine is."""
    chosen = choose_device(device)
    words, commit = ["git", "rev-parse", "--short", "HEAD"], ""
    with contextlib.suppress(OSError):  # no git
        found = subprocess.run(words, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
        commit = found.stdout.strip()
    return {
        "device": device_name(chosen),
        "processor": device_name(torch.device("cpu")),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit or None,
    }


def in_words(where: Mapping[str, Any]) -> str:
    """Return the machine as a line above the tables."""
    load = f", load {where['load'][0]:.1f}" if where["load"] else ""
    cores = f"{where['cores']} cores, {where['threads']} threads{load}"
    commit = f", commit {where['commit']}" if where["commit"] else ""
    return f"{where['device']}; {cores}; Python {where['python']}, torch {where['torch']}{commit}"
