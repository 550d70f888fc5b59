"""`bnexp verdict`: what the runs of a study say about its claims."""

import json
import shlex
from pathlib import Path

from bnexp.analysis.verdict import verdict_table
from bnexp.config.claims import EXAMPLE
from bnexp.document.show import Output, remark, show, show_document, write_out
from bnexp.errors import ConfigError, visible
from bnexp.runs.find import place_of_runs
from bnexp.sweep.judging import Judged, find_study, judge_plan
from bnexp.sweep.outlook import notes_of
from bnexp.sweep.plan import Planner


def verdict(
    study: str, *, runs_dir: Path = Path("runs"), data_dir: Path | None = None, output: Output = "table"
) -> None:
    """Print the verdict on each claim of a study; `study` is its sweep file, or the folder of its runs.

    Raises:
        ConfigError: there is no such study, or it makes no claim.
    """
    judged, asides = judge_study(study, runs_dir=runs_dir, data_dir=data_dir)
    for note in [*asides, *(judged.notes if output == "json" else [])]:
        remark("note", visible(note))
    if output == "json":
        write_out(json.dumps([one.record for one in judged.verdicts], indent=2, allow_nan=False) + "\n")
        return
    table = verdict_table(*judged)
    if output == "markdown":
        show(table, output)
    else:
        show_document([table])


def judge_study(study: str, *, runs_dir: Path = Path("runs"), data_dir: Path | None = None) -> tuple[Judged, list[str]]:
    """Judge each claim of a study, and return with the verdicts what is to be known of its runs; see `verdict`.

    Raises:
        ConfigError: there is no such study, or it makes no claim.
    """
    sweep, _, runs_dir = find_study(study, place_of_runs(runs_dir))
    if not sweep.file.claims:
        raise ConfigError(f"{sweep.source}: no claims; expected such as claims: [{EXAMPLE}]")
    plan = Planner(sweep, runs_dir, data_dir).plan()
    none = visible(f"no runs in {plan.folder} yet; bnexp sweep {shlex.quote(study)} makes them")
    asides = notes_of(plan) if any(plan.runs_by_arm().values()) else [none, *notes_of(plan)]
    return judge_plan(sweep, plan), asides
