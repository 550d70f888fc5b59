"""docs/compare.md: every command in it compares runs as it stands there, and the columns it explains are there."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bnexp.cli import app
from records import write_run

GUIDE = (Path(__file__).parent.parent / "docs" / "compare.md").read_text()
COMMANDS = re.findall(r"^(bnexp compare .*)$", GUIDE, re.MULTILINE)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two norms at two rates with two seeds each, in the folder that the guide names."""
    monkeypatch.chdir(tmp_path)
    for norm in ("none", "bn"):
        for rate in (0.03, 0.3):
            for seed in (0, 1):
                name = f"norm={norm},lr={rate}"
                config = {"name": name, "seed": seed, "model.norm": norm, "optimizer.lr": rate}
                folder = write_run(Path("runs/norm_and_rate") / name / f"seed{seed}", config=config)
                rows = folder / "metrics.jsonl"
                rows.write_text(rows.read_text().replace("time/step_ms", "gradient_norm/total"))


@pytest.mark.usefixtures("runs")
def test_the_commands_compare_runs() -> None:
    assert len(COMMANDS) == 3
    for command in COMMANDS:
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 0, done.output
        assert done.stdout.count("norm=bn,lr=0.3") >= 1
        assert ("paired by seed" in done.stdout) == ("--baseline" in command)
    usual = CliRunner().invoke(app, ["compare", "--target", "0.8"]).stdout.splitlines()[0]
    explained = re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| (`.*?) \|", GUIDE, re.MULTILINE)))
    assert len(explained) > 8
    assert [name for name in explained if name not in ("GPU MiB", "peak MiB") and name not in usual] == []
