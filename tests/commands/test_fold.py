"""`bnexp fold` writes weights that compute the same without the norms, and says where each norm went."""

import json
from pathlib import Path

import pytest
import torch

from bnexp.blueprint import draw
from bnexp.commands.fold import fold
from bnexp.commands.train import train
from bnexp.config.loading import load_config
from bnexp.errors import BnexpError
from bnexp.inspection.stored import open_stored
from bnexp.runs.checkpoints import load_checkpoint
from bnexp.training.build import build


@pytest.fixture
def runs(config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    train([config_file], runs_dir=tmp_path / "runs", quiet=True, device="cpu")
    capsys.readouterr()
    return tmp_path / "runs"


def test_the_file_holds_a_network_without_norms_that_gives_the_same_logits(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fold("small", runs_dir=runs, device="cpu")
    header, first, second, *notes = capsys.readouterr().out.splitlines()
    assert header.split() == ["norm", "at", "norm", "folded", "into"]
    assert [first.split(), second.split()] == [
        ["block1.bn", "bn", "block1.linear"],
        ["block2.bn", "bn", "block2.linear"],
    ]
    assert f"note: {runs / 'small' / 'seed0' / 'folded.pt'}: the folded weights, of step 12" in notes[0]
    assert "the same class for 10 of them" in notes[1]

    folder = runs / "small" / "seed0"
    run, _ = open_stored(folder, weights="final", overrides=(), data_dir=tmp_path, device="cpu")
    plain = load_config(folder / "config.yaml", ["model.norm=none", "model.bias=true"])
    network = build(draw(plain, tmp_path), data_dir=tmp_path, device="cpu").network
    network.load_state_dict(load_checkpoint(folder / "folded.pt")["weights"])
    x = run.dataset.val_inputs(10)
    with torch.inference_mode():
        torch.testing.assert_close(network.eval()(x), run.network.eval()(x), rtol=1e-4, atol=1e-5)


def test_json_names_what_stays_and_why(config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train([config_file], overrides=["model.block=linear -> norm -> act -> bn"], runs_dir=tmp_path, quiet=True)
    capsys.readouterr()
    fold("small", weights="best", runs_dir=tmp_path, device="cpu", output="json")
    rows = json.loads(capsys.readouterr().out)["rows"]
    reasons = {row["place"]: row["reason"] for row in rows}
    assert reasons["block1.bn2"] == "comes after relu, which is not linear"


def test_a_run_of_which_nothing_can_be_folded_is_answered(config_file: Path, tmp_path: Path) -> None:
    train([config_file], overrides=["model.norm=ln"], runs_dir=tmp_path, quiet=True, device="cpu")
    with pytest.raises(BnexpError, match="nothing can be folded: ln takes the statistics of each example"):
        fold("small", runs_dir=tmp_path, device="cpu")
    assert not (tmp_path / "small" / "seed0" / "folded.pt").exists()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_precision_of_the_comparison_is_told(
    config_file: Path, tmp_path: Path, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [f"training.precision={precision}"]
    train([config_file], overrides=overrides, runs_dir=tmp_path, quiet=True, device="cpu")
    capsys.readouterr()
    fold("small", runs_dir=tmp_path, device="cpu", output="json")
    note = next(note for note in json.loads(capsys.readouterr().out)["notes"] if "validation examples" in note)
    other = "" if precision == "fp32" else ", in which the run did not train: that was bf16"
    assert note.endswith(f"of them (in fp32{other})")
