"""Measure how fast bnexp is, against its rivals, in turns.

    python -m benchmarks                      all of them, which takes an hour on two cores
    python -m benchmarks mlp resnet20         some of them
    python -m benchmarks --device cuda        on a GPU
    python -m benchmarks mlp --json mlp.json  every figure, for programs

benchmarks/README.md has the method and the latest tables.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.calibration import calibration
from benchmarks.epochs import epochs
from benchmarks.report import Report, Terms, in_words, machine
from benchmarks.rivals import RIVALS, why_not_here
from benchmarks.scaling import scaling
from benchmarks.stacked import stacked
from benchmarks.startup import startup
from benchmarks.sweep import sweep
from benchmarks.turns import why
from benchmarks.workloads import WORKLOADS
from bnexp.errors import BnexpError, did_you_mean

MEASUREMENTS: dict[str, Callable[[str, Terms], Report]] = {
    **dict.fromkeys(WORKLOADS, epochs),
    "stacked": stacked,
    "startup": startup,
    "scaling": scaling,
    "sweep": sweep,
    "calibration": calibration,
}
WAYS = ("bnexp", *RIVALS)


def main(words: list[str] | None = None) -> None:
    """Measure what the command line names, or all, and print each report as soon as it is there."""
    parser = _parser()
    asked = parser.parse_args(words)
    terms = _terms(asked, parser)
    try:
        where = machine(terms.device)
    except BnexpError as error:
        parser.error(str(error))
    reports, failed = list[Report](), False
    print(in_words(where), flush=True)
    for name in asked.names or MEASUREMENTS:
        try:
            reports.append(MEASUREMENTS[name](name, terms))
        except Exception as error:  # the others go on
            failed = True
            print(f"\n{name} failed: {why(error)}", flush=True)
            continue
        print(f"\n{reports[-1].text}", flush=True)
        if asked.json is not None:  # after each: what was measured outlives an interruption
            values = {report.name: report.values for report in reports}
            asked.json.write_text(json.dumps({"machine": where, "measurements": values}, indent=2) + "\n")
    if failed:
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASUREMENTS))
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N; default cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there, too")
    parser.add_argument("--steps", type=int, metavar="N", help="of bnexp in a training, in place of the workload's")
    parser.add_argument("--examples", type=int, metavar="N", help="of an epoch, in place of the workload's")
    parser.add_argument("--ways", metavar="A,B", help=f"of training: some of {', '.join(WAYS)}")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often what takes no turns is timed")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="over the configs of workloads")
    parser.add_argument("--small", action="store_true", help="everything at its smallest, to see that it runs")
    return parser


def _terms(asked: argparse.Namespace, parser: argparse.ArgumentParser) -> Terms:
    """Return what is asked for; end with an error where there is no such measurement or way."""
    for name in asked.names:
        if name not in MEASUREMENTS:
            parser.error(_unknown("measurement", name, MEASUREMENTS))
    ways = None if asked.ways is None else tuple(asked.ways.split(","))
    for way in ways or ():
        if way not in WAYS:
            parser.error(f"--ways: {_unknown('way', way, WAYS)}")
        if reason := why_not_here(way, asked.device):
            parser.error(f"--ways: {reason}")
    return Terms(
        device=asked.device,
        rounds=asked.rounds,
        steps=asked.steps,
        examples=asked.examples,
        ways=ways,
        overrides=tuple(asked.set),
        small=asked.small,
    )


def _unknown(kind: str, word: str, known: Iterable[str]) -> str:
    """Say that a word is none of those that there are."""
    return f"unknown {kind} {word}.{did_you_mean(word, known)} Expected some of {', '.join(known)}"


if __name__ == "__main__":
    main()
