"""`bnexp verdict`: what the runs of a study say about its claims."""

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from bnexp.analysis.verdict import ClaimVerdict, judge_claims, verdict_table
from bnexp.config.claims import EXAMPLE
from bnexp.config.sweep_loading import Sweep, load_sweep
from bnexp.config.yaml_text import no_such_file, read_yaml_file
from bnexp.document.show import Output, show, show_document, write_out
from bnexp.errors import ConfigError, visible
from bnexp.runs.find import place_of_runs
from bnexp.sweep.plan import COPY, Planner


def verdict(
    study: str, *, runs_dir: Path = Path("runs"), data_dir: Path | None = None, output: Output = "table"
) -> None:
    """Print the verdict on each claim of a study; `study` is its sweep file, or the folder of its runs.

    Raises:
        ConfigError: there is no such study, or it makes no claim.
    """
    judged = judge_study(study, runs_dir=runs_dir, data_dir=data_dir)
    if judged.no_runs:
        print(judged.no_runs, file=sys.stderr)
    verdicts = judged.verdicts
    if output == "json":
        write_out(json.dumps([one.record for one in verdicts], indent=2, allow_nan=False) + "\n")
        return
    table = verdict_table(verdicts)
    table = replace(table, notes=(*table.notes, *judged.notes))
    if output == "markdown":
        show(table, output)
    else:
        show_document([table])


class JudgedStudy(NamedTuple):
    """The verdicts on the claims of a study, notes on the claims, and a sentence where it has no runs yet."""

    verdicts: list[ClaimVerdict]
    notes: list[str]
    no_runs: str | None


def judge_study(study: str, *, runs_dir: Path = Path("runs"), data_dir: Path | None = None) -> JudgedStudy:
    """Judge each claim of a study; see `verdict`.

    Raises:
        ConfigError: there is no such study, or it makes no claim.
    """
    sweep, runs_dir = _find(study, place_of_runs(runs_dir))
    if not sweep.file.claims:
        raise ConfigError(f"{sweep.source}: no claims; expected such as claims: [{EXAMPLE}]")
    plan = Planner(sweep, runs_dir, data_dir).plan()
    arms = plan.runs_by_arm()
    none = visible(f"no runs in {plan.folder} yet; bnexp sweep {shlex.quote(study)} makes them")
    verdicts = judge_claims(plan.claims, arms, sweep.seeds)
    return JudgedStudy(verdicts, _on_changes(sweep, plan.folder / COPY), None if any(arms.values()) else none)


def _on_changes(sweep: Sweep, copy: Path) -> list[str]:
    """Say where the claims are not those with which the runs were started."""
    try:
        values, _ = read_yaml_file(copy) if copy.is_file() else (None, None)
    except ConfigError:
        return []
    then = values.get("claims", []) if isinstance(values, dict) else None
    now = sweep.file.model_dump(mode="json", exclude_defaults=True).get("claims", [])
    if then in (None, now):
        return []
    return [f"the claims are not those of {copy}, with which the last runs were started: they were written afterwards"]


def _find(study: str, runs_dir: Path) -> tuple[Sweep, Path]:
    """Return the sweep and the folder in which that of its runs lies."""
    path = Path(study)
    folder = next((place for place in (path, runs_dir / study) if place.is_dir()), None)
    if folder is None:
        if not path.exists():
            raise ConfigError(no_such_file(path))
        return load_sweep(path), runs_dir
    copy = folder / COPY
    if not copy.is_file():
        raise ConfigError(f"{folder}: no {COPY} in it; expected a sweep file, or a folder that bnexp sweep made")
    return load_sweep(copy, name=folder.resolve().name), folder.resolve().parent
