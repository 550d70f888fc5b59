"""Find a study by its sweep file or by the folder of its runs, and judge its claims by the runs on the disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bnexp.analysis.verdict import ClaimVerdict, judge_claims
from bnexp.config.packaged import find_config
from bnexp.config.sweep_loading import Sweep, load_sweep
from bnexp.config.yaml_text import no_such_file
from bnexp.errors import ConfigError
from bnexp.sweep.asked import on_changed_claims
from bnexp.sweep.plan import COPY, SweepPlan


class FoundStudy(NamedTuple):
    """A sweep, the file that it was read from, and the folder in which the folder of its runs lies."""

    sweep: Sweep
    file: Path
    runs_dir: Path


def folder_of(study: str, runs_dir: Path) -> Path | None:
    """Return the folder that is called so, here or in that of the runs; None where there is none."""
    return next((place for place in (Path(study), runs_dir / study) if place.is_dir()), None)


def find_study(study: str, runs_dir: Path) -> FoundStudy:
    """Return the study of a sweep file, or of the folder of its runs.

    Raises:
        ConfigError: there is no such file or folder, or no sweep in it.
    """
    path, folder = find_config(Path(study)), folder_of(study, runs_dir)
    if folder is None:
        if not path.exists():
            raise ConfigError(no_such_file(path))
        return FoundStudy(load_sweep(path), path, runs_dir)
    copy = folder / COPY
    if not copy.is_file():
        raise ConfigError(f"{folder}: no {COPY} in it; expected a sweep file, or a folder that bnexp sweep made")
    whole = folder.resolve()
    return FoundStudy(load_sweep(copy, name=whole.name), copy, whole.parent)


class Judged(NamedTuple):
    """The verdicts on the claims of a study, and notes on the claims."""

    verdicts: Sequence[ClaimVerdict]
    notes: Sequence[str]


def judge_plan(sweep: Sweep, plan: SweepPlan) -> Judged:
    """Return the verdict on each claim of a sweep by the runs that the disk has of it; none without claims."""
    if not plan.claims:
        return Judged((), ())
    verdicts = judge_claims(plan.claims, plan.runs_by_arm(), sweep.seeds)
    changed = on_changed_claims(sweep, plan.folder)
    return Judged(verdicts, [changed] if changed else [])
