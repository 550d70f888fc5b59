"""README, docs/sweeps.md and configs/sweeps: every command on sweeps in them can be planned as it stands there."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bnexp.cli import app
from bnexp.commands import sweep
from bnexp.config.sweep_loading import load_sweep
from bnexp.sweep.arms import expand
from bnexp.sweep.estimate import Division

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/sweeps.md")
COMMANDS = sorted(
    {
        line.partition("  #")[0].strip()
        for page in PAGES
        for line in (ROOT / page).read_text().splitlines()
        if line.startswith("bnexp sweep ")
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_plans_its_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # an empty folder, where names stand for what comes with bnexp
    monkeypatch.setattr(sweep, "_measured", lambda plan, options: (Division(2, 1), 60.0))  # tested by itself
    asked = [*shlex.split(command)[1:], "--runs-dir", str(tmp_path)]
    planned = CliRunner().invoke(app, asked if "--dry-run" in asked else [*asked, "--dry-run"])
    assert planned.exit_code == 0, planned.output
    assert re.search(r"\b(18|30) missing", planned.output)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("path", sorted((ROOT / "configs/sweeps").glob("*.yaml")), ids=lambda path: path.name)
def test_an_example_asks_a_question_and_all_its_arms_are_sound(path: Path) -> None:
    study = load_sweep(path)
    assert study.file.question
    assert len(expand(study)) == {"norm_and_rate": 6, "sprint": 7}[path.stem]
