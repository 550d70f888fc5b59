"""Keep a sweep as it was asked for beside its runs, and say where its claims are not those of before the runs."""

from pathlib import Path
from typing import Any

from bnexp.config.sweep_loading import BASE_COPY, Sweep, dump_base, dump_sweep
from bnexp.config.yaml_text import read_yaml_file
from bnexp.errors import ConfigError
from bnexp.files import write_text_atomically
from bnexp.runs.run import COMPLETE
from bnexp.sweep.plan import COPY, SweepPlan

FORMER = "sweep.former.yaml"
"""The sweep as its first runs were asked for, where its claims were changed since."""


def keep_asked(sweep: Sweep, plan: SweepPlan) -> None:
    """Write a sweep and its base into the folder of its runs.

    The one under whose claims runs came to an end stays beside it.

    Raises:
        OSError: the folder cannot be written.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    copy, former = plan.folder / COPY, plan.folder / FORMER
    then = _claims_in(copy)
    if then not in (None, _claims_of(sweep)) and not former.exists() and any(r.status in COMPLETE for r in plan.runs):
        copy.rename(former)
    write_text_atomically(plan.folder / BASE_COPY, dump_base(sweep))
    write_text_atomically(copy, dump_sweep(sweep, copy))


def on_changed_claims(sweep: Sweep, folder: Path) -> str | None:
    """Say where the claims are not those with which the first runs in a folder were started."""
    asked = folder / FORMER if (folder / FORMER).is_file() else folder / COPY
    if _claims_in(asked) in (None, _claims_of(sweep)):
        return None
    return f"the claims are not those of {asked}, with which runs were started: they were written afterwards"


def _claims_of(sweep: Sweep) -> Any:
    return sweep.file.model_dump(mode="json", exclude_defaults=True).get("claims", [])


def _claims_in(copy: Path) -> Any:
    """Return the claims in a sweep file; None where it cannot be read."""
    try:
        values, _ = read_yaml_file(copy) if copy.is_file() else (None, None)
    except ConfigError:
        return None
    return values.get("claims", []) if isinstance(values, dict) else None
