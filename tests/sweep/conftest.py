"""Small sweeps as files, and their plans."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnexp.config.sweep_loading import Sweep, load_sweep
from bnexp.config.yaml_text import dump_yaml
from bnexp.sweep.plan import Planner, SweepPlan

SweepOf = Callable[..., Sweep]
PlanOf = Callable[..., SweepPlan]


@pytest.fixture
def sweep_of(tmp_path: Path, config_file: Path) -> SweepOf:
    """Return a maker of sweeps over the small config: keys of the sweep file by keyword, `base_keys` of the config."""

    def make(*overrides: str, **keys: Any) -> Sweep:
        path = tmp_path / "study.yaml"
        path.write_text(dump_yaml({"base": config_file.name, "seeds": 2, **keys}))
        return load_sweep(path, overrides=overrides)

    return make


@pytest.fixture
def planner_of(sweep_of: SweepOf, tmp_path: Path) -> Callable[..., Planner]:
    """Return a maker of planners of small sweeps."""
    return lambda *overrides, **keys: Planner(sweep_of(*overrides, **keys), tmp_path / "runs", tmp_path)


@pytest.fixture
def plan_of(planner_of: Callable[..., Planner]) -> PlanOf:
    """Return a maker of plans of small sweeps."""
    return lambda *overrides, **keys: planner_of(*overrides, **keys).plan()
