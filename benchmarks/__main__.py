"""Measure how fast bnexp is, each measurement against its rivals in alternation.

    python -m benchmarks                      all of them, which takes an hour on two cores
    python -m benchmarks mlp resnet20         some of them
    python -m benchmarks --device cuda        on a GPU
    python -m benchmarks mlp --json mlp.json  every figure, for programs

benchmarks/README.md has the method and the latest tables.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.calibration import calibration
from benchmarks.epochs import epochs
from benchmarks.report import Report, Terms, machine, told
from benchmarks.scaling import scaling
from benchmarks.startup import startup
from benchmarks.sweep import sweep
from benchmarks.workloads import WORKLOADS

MEASUREMENTS: dict[str, Callable[[str, Terms], Report]] = {
    **dict.fromkeys(WORKLOADS, epochs),
    "startup": startup,
    "scaling": scaling,
    "sweep": sweep,
    "calibration": calibration,
}


def main(words: list[str] | None = None) -> None:
    """Measure what the command line names, or all, and print each report as soon as it is there."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASUREMENTS))
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N; default cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there, too")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each way is timed")
    parser.add_argument("--examples", type=int, metavar="N", help="of an epoch, in place of the workload's")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="over the configs of workloads")
    parser.add_argument("--small", action="store_true", help="everything at its smallest, to see that it runs")
    asked = parser.parse_args(words)
    if unknown := [name for name in asked.names if name not in MEASUREMENTS]:
        parser.error(f"unknown measurement {unknown[0]}; expected some of {', '.join(MEASUREMENTS)}")
    terms = Terms(asked.device, asked.rounds, asked.examples, tuple(asked.set), asked.small)
    where, reports = machine(terms.device), list[Report]()
    print(told(where))
    for name in asked.names or MEASUREMENTS:
        reports.append(MEASUREMENTS[name](name, terms))
        print(f"\n{reports[-1].text}", flush=True)
        if asked.json is not None:  # after each: what was measured outlives an interruption
            values = {report.name: report.values for report in reports}
            asked.json.write_text(json.dumps({"machine": where, "measurements": values}, indent=2) + "\n")


if __name__ == "__main__":
    main()
