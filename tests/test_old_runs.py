"""Run folders that earlier versions wrote open as ever: they are listed, compared, probed and resumed.

`fixtures/runs_of_0.1.0` was written by bnexp 0.1.0: `old/seed0` came to its end, `old/seed1` was interrupted by Ctrl-C
after step 8 of 18.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

import bnexp
from bnexp.commands.compare import compare
from bnexp.commands.ls import ls
from bnexp.commands.probe import probe
from bnexp.commands.resume import resume
from bnexp.commands.train import train
from bnexp.errors import ConfigError

OLD = Path(__file__).parent / "fixtures" / "runs_of_0.1.0"
CLOCKED = {"step_ms/train", "examples_per_s/train", "measuring_share/train"}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(OLD, tmp_path / "runs")
    return tmp_path / "runs"


def test_they_are_listed(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ls(runs, output="json")
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["run"].removeprefix(f"{runs.as_posix()}/"): (row["status"], row["steps"]) for row in rows} == {
        "old/seed0": ("finished", 18),
        "old/seed1": ("interrupted", 8),
    }


def test_they_are_compared_as_one_arm(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare([], runs_dir=runs, output="json")
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["status"] == "1 finished, 1 interrupted"
    assert row["val_accuracy"] == {"mean": 0.6, "std": None, "n": 1}


@pytest.mark.parametrize("weights", ["final", "best"])
def test_their_stored_weights_are_probed(runs: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    probe("old/seed0", probes=["invariance"], weights=weights, runs_dir=runs, output="json")
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["quantity"] for row in rows} == {"invariance_change", "invariance_gradient"}


@pytest.mark.parametrize("weights", ["final", "best"])
def test_their_networks_are_loaded_and_score_as_they_did(runs: Path, weights: str) -> None:
    trained = bnexp.load("old/seed0", weights=weights, runs_dir=runs)
    x, y = trained.examples("test")
    with torch.inference_mode():
        accuracy = (trained.network(x).argmax(1) == y).float().mean().item()
    scored = json.loads((runs / "old" / "seed0" / "summary.json").read_text())["test"][weights]["accuracy"]
    assert accuracy == pytest.approx(scored, abs=1.5 / len(y))  # on another processor a logit may tip over
    assert not any(module.training for module in trained.network.modules())
    with pytest.raises(bnexp.BnexpError, match=r"no ema weights|no averaged weights"):
        bnexp.load("old/seed0", weights="ema", runs_dir=runs)
    with pytest.raises(bnexp.BnexpError, match="no step3 weights are stored there"):
        bnexp.load("old/seed0", weights="step3", runs_dir=runs)


def test_an_option_that_is_no_more_is_passed_over(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Earlier versions counted the batches of recomputed statistics; a config that a person writes is corrected."""
    config = runs / "old" / "seed0" / "config.yaml"
    config.write_text(config.read_text().replace("evaluation_modes: off", "evaluation_modes: {at: [1], batches: 50}"))
    probe("old/seed0", probes=["evaluation_modes"], runs_dir=runs, output="json")
    assert "accuracy_by_mode" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"unknown key probes\.evaluation_modes\.batches\. .*recomputed_over=5000"):
        train([config], runs_dir=runs / "anew", quiet=True)


def test_one_that_was_interrupted_is_resumed_to_the_end_of_an_uninterrupted_run(runs: Path) -> None:
    resume("old/seed1", runs_dir=runs, quiet=True)
    train([runs / "old" / "seed1" / "config.yaml"], runs_dir=runs / "whole", quiet=True)
    whole, resumed = runs / "whole" / "old" / "seed1", runs / "old" / "seed1"
    for expected, row in zip(rows_of(whole), rows_of(resumed), strict=True):
        if row["step"] <= 8:  # those of 0.1.0, which had two figures under other names, or not relative to anything
            for name in [name for name in expected if name.startswith("effective_rank/")]:
                expected[name] = expected.pop(name.replace("effective", "uncentered"))
            row = {name: value for name, value in row.items() if not name.startswith("input_wasserstein/")}
            expected = {name: value for name, value in expected.items() if "_relative/" not in name}
        # Its first steps were computed on another processor, whose last bits may differ.
        assert row == pytest.approx(expected, rel=1e-3, abs=1e-5, nan_ok=True)
    ours, theirs = (weights_of(folder / "checkpoints" / "step18.pt") for folder in (resumed, whole))
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-3, atol=1e-5)


def rows_of(folder: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in CLOCKED and value is not None} for row in rows]


def weights_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=True)["weights"]
