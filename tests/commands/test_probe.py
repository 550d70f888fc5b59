"""`bnexp probe` prints what the probes say of stored weights."""

import json
from pathlib import Path

import pytest

from bnexp.commands import probe as command
from bnexp.commands.probe import probe
from bnexp.commands.train import train
from bnexp.errors import BnexpError, ConfigError


@pytest.fixture
def runs(config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    train([config_file], runs_dir=tmp_path / "runs", quiet=True, device="cpu")
    capsys.readouterr()
    return tmp_path / "runs"


def test_every_figure_has_its_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    probe("small", probes=["gradients"], runs_dir=runs, device="cpu")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["quantity", "where", "value"]
    assert ["gradient_norm", "head"] in [line.split()[:2] for line in lines]
    assert "the final weights, after 12 steps" in lines[-1]


def test_the_weights_of_an_unfinished_run_are_not_called_final(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "small" / "seed0" / "summary.json").unlink()
    meta = runs / "small" / "seed0" / "meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "status": "interrupted"}))
    for weights, said in (("final", "newest weights, after 12"), ("best", "best weights so far, after")):
        probe("small", probes=["norm_state"], weights=weights, runs_dir=runs, device="cpu")
        assert f"not finished, its {said}" in capsys.readouterr().out


def test_weights_older_than_the_final_ones_are_not_called_final(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "small" / "seed0" / "checkpoints" / "step12.pt").unlink()
    probe("small", probes=["norm_state"], runs_dir=runs, device="cpu")
    said = " ".join(capsys.readouterr().out.split())
    assert "not the final weights, after 12 steps, whose checkpoint is missing" in said
    assert "but the newest that are left, after 6 steps" in said


def test_json_holds_every_figure_in_full(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    probe("small/seed0", probes=["norm_state"], runs_dir=runs, device="cpu", output="json")
    rows = json.loads(capsys.readouterr().out)["rows"]
    found = {f"{row['quantity']}/{row['where']}": row["value"] for row in rows}
    assert 0.9 < found["gamma_mean/block1.bn"] < 1.1


def test_without_names_the_expensive_probes_are_asked(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["probes.evaluation_modes.examples=8", "probes.coupling.examples=2", "probes.cost.repeats=1"]
    probe("small", overrides=small, runs_dir=runs, device="cpu", output="json")
    found = {row["quantity"] for row in json.loads(capsys.readouterr().out)["rows"]}
    expected = {"loss_by_mode", "coupling_spread", "effective_smoothness", "invariance_change", "cost_share"}
    assert expected <= found


def test_figures_that_are_not_finite_are_explained(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train([config_file], overrides=["optimizer.lr=1e30"], runs_dir=tmp_path, quiet=True, device="cpu")
    probe("small", probes=["norm_state"], runs_dir=tmp_path, device="cpu")
    said = " ".join(capsys.readouterr().out.split())
    assert "not finite, first in the running statistics of block1.bn. The last that are finite: --weights step0" in said
    probe("small", probes=["norm_state"], weights="step0", runs_dir=tmp_path, device="cpu")
    said = capsys.readouterr().out
    assert ("nan, inf:" in said) == (" nan" in said or " inf" in said)


def test_a_network_without_what_is_asked_for_is_answered(config_file: Path, tmp_path: Path) -> None:
    train([config_file], overrides=["model.norm=none"], runs_dir=tmp_path, quiet=True, device="cpu")
    with pytest.raises(BnexpError, match="nothing in this network that the probes asked could measure"):
        probe("small", probes=["norm_state"], runs_dir=tmp_path, device="cpu")


def test_several_runs_and_wrong_words_are_answered(runs: Path, config_file: Path) -> None:
    train([config_file], runs_dir=runs, quiet=True, device="cpu", seed=1)
    with pytest.raises(ConfigError, match="2 runs lie there; expected one"):
        probe("small", runs_dir=runs)
    with pytest.raises(ConfigError, match='--weights: expected final, best, ema or stepN, found "last"'):
        probe("small/seed0", weights="last", runs_dir=runs)


def test_the_test_set_class_by_class(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    probe("small", probes=["classes"], runs_dir=runs, device="cpu", output="json")
    found = json.loads(capsys.readouterr().out)
    summary = json.loads((runs / "small" / "seed0" / "summary.json").read_text())
    right = sum(row[f"predicted_{row['class']}"] for row in found["rows"])
    assert right / sum(row["examples"] for row in found["rows"]) == summary["test"]["final"]["accuracy"]
    for row in found["rows"]:
        assert sum(row[f"predicted_{label}"] for label in range(4)) == row["examples"]
    assert any("the test set is for reporting" in note for note in found["notes"])
    probe("small", probes=["classes"], runs_dir=runs, device="cpu")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["0", "1", "2", "3"] in lines
    for row in found["rows"]:
        assert [str(row["class"]), *(str(row[f"predicted_{label}"]) for label in range(4))] in lines
    with pytest.raises(ConfigError, match="--probe classes gives a table of its own; expected it alone"):
        probe("small", probes=["classes", "gradients"], runs_dir=runs, device="cpu")


def test_a_hundred_classes_fit_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from bnexp.commands.probe import _class_table, _confusions
    from bnexp.document.terminal import print_document
    from bnexp.inspection.classes import Confusion

    counts = tuple(tuple(90 if taken == true else (true * taken) % 3 for taken in range(100)) for true in range(100))
    classes = Confusion(1, tuple(f"class_of_number_{label}" for label in range(100)), counts)
    print_document(Console(width=80), [_class_table(classes, "a run"), _confusions(classes)])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("99 class_of_number_99 ") for line in lines) >= 1


@pytest.mark.parametrize(
    ("override", "asked"),
    [
        ("name=x", ["landscape"]),
        ("optimizer.lr=1", ["classes"]),
        ("probes.landscape.every=5", ["coupling"]),
        ("training.epochs=5", ["invariance", "cost"]),
    ],
)
def test_a_set_that_no_asked_probe_looks_at_is_refused(override: str, asked: list[str]) -> None:
    with pytest.raises(ConfigError, match=f"--set {override} changes no figure of {asked[0]}"):
        command._refuse_without_effect([override], asked)


def test_a_set_that_a_probe_looks_at_is_taken() -> None:
    for override in (
        "optimizer.lr=1",
        "data.path=x",
        "probes.landscape.steps=[1]",
        "training.precision=bf16",
        "seed=1",
    ):
        command._refuse_without_effect([override], ["landscape"])
