"""Probes on stored weights see the network as it was when they were stored."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.errors import BnexpError, ConfigError
from bnexp.inspection.classes import measure_classes
from bnexp.inspection.folding import fold_run
from bnexp.inspection.stored import Figures, probe_run
from bnexp.probes.registry import PROBES
from bnexp.runs.checkpoints import BEST, CHECKPOINTS, load_checkpoint, newest_checkpoints, save_checkpoint
from bnexp.session.life import RunResult, start
from bnexp.session.terms import Terms
from bnexp.training.build import build

MakeConfig = Callable[..., Config]


@pytest.fixture
def finished(make_config: MakeConfig, tmp_path: Path) -> RunResult:
    return start(
        draw(make_config(training={"epochs": 4}), tmp_path), Terms(runs_dir=tmp_path, data_dir=tmp_path, device="cpu")
    )


def test_the_weights_at_the_end_and_the_best_are_stored(finished: RunResult) -> None:
    files = {"final": newest_checkpoints(finished.folder)[0], "best": finished.folder / CHECKPOINTS / BEST}
    for name, path in files.items():
        assert load_checkpoint(path)["step"] == finished.summary[name]["step"]
    final = load_checkpoint(files["final"])["weights"]
    state = {**dict(finished.network.named_parameters()), **dict(finished.network.named_buffers())}
    assert final.keys() == state.keys()
    assert all(torch.equal(final[name], value) for name, value in state.items())


def test_a_probe_sees_the_stored_weights_and_the_batch_that_would_come_next(
    finished: RunResult, make_config: MakeConfig, tmp_path: Path
) -> None:
    found = probe_run(finished.folder, probes=["gradients", "norm_state"], data_dir=tmp_path, device="cpu")
    assert found.step == finished.summary["steps"]
    run = build(draw(make_config(training={"epochs": 4}), tmp_path), data_dir=tmp_path, device="cpu")
    run.network.load_state_dict(finished.network.state_dict())
    x, y = run.batches.at(found.step)
    functional.cross_entropy(run.network.train()(x), y).backward()
    gradients = torch.cat([parameter.grad.flatten() for parameter in run.network.parameters()])
    assert found.figures["gradient_norm/total"] == pytest.approx(gradients.norm().item(), rel=1e-5)
    gamma = finished.network.get_parameter("block1.bn.weight")
    assert found.figures["gamma_mean/block1.bn"] == pytest.approx(gamma.mean().item())


def test_averaged_weights_can_be_probed(make_config: MakeConfig, tmp_path: Path, finished: RunResult) -> None:
    blueprint = draw(make_config(training={"ema": 0.9}), tmp_path)
    result = start(blueprint, Terms(runs_dir=tmp_path, data_dir=tmp_path, device="cpu"))
    found = probe_run(
        result.folder,
        probes=["evaluation_modes", "norm_state"],
        weights="ema",
        data_dir=tmp_path,
        device="cpu",
    )
    average = result.summary["ema"]["final"]
    assert found.figures["accuracy_by_mode/running"] == pytest.approx(average["val"]["accuracy"])
    assert found.figures["loss_by_mode/running"] == pytest.approx(average["val"]["loss"], rel=1e-5)
    assert found.figures["loss_by_mode/recomputed"] == pytest.approx(average["val_recomputed"]["loss"], rel=1e-5)
    with pytest.raises(BnexpError, match=r"no averaged weights are stored there; training\.ema averages them"):
        probe_run(finished.folder, weights="ema", data_dir=tmp_path, device="cpu")


def test_looking_writes_nothing_and_says_the_same_again(finished: RunResult, tmp_path: Path) -> None:
    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in finished.folder.rglob("*") if path.is_file()}

    before = content()
    first = probe_run(finished.folder, probes=["activations"], weights="best", data_dir=tmp_path, device="cpu")
    again = probe_run(finished.folder, probes=["activations"], weights="best", data_dir=tmp_path, device="cpu")
    assert json.dumps(first.figures) == json.dumps(again.figures)
    assert first.step == finished.summary["best"]["step"]
    assert content() == before


def test_weights_that_are_not_finite_are_told_with_the_last_that_are(finished: RunResult, tmp_path: Path) -> None:
    newest, older = newest_checkpoints(finished.folder)

    def found(**options: Any) -> Figures:
        return probe_run(finished.folder, probes=["norm_state"], data_dir=tmp_path, device="cpu", **options)

    def poison(path: Path, name: str, value: float) -> None:
        stored = load_checkpoint(path)
        stored["weights"][name][0] = value
        save_checkpoint(path, stored)

    assert found().strange == ""
    poison(newest, "block2.bn.running_var", math.inf)
    where = "what these weights give is not finite, first in the running statistics of block2.bn"
    assert found().strange == f"{where}. The last that are finite: --weights {older.stem}"
    assert found(weights=older.stem).step == load_checkpoint(older)["step"]
    assert found(weights=older.stem).strange == ""
    for refused in (measure_classes, fold_run):
        with pytest.raises(BnexpError, match=f"not finite.* --weights {older.stem}"):
            refused(finished.folder, weights="final", data_dir=tmp_path, device="cpu")
    poison(older, "head.weight", math.nan)
    assert found().strange.endswith("--weights best")
    assert "first in the weight of head" in found(weights=older.stem).strange
    poison(finished.folder / CHECKPOINTS / BEST, "head.bias", math.nan)
    assert found().strange == f"{where}, and no finite weights are stored there"


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        ("gradient", 'unknown probe "gradient". Did you mean "gradients"?'),
        ("updates", "measures what a step of the optimizer does"),
        ("histograms", "no figures"),
    ],
)
def test_a_probe_that_cannot_be_asked_is_answered(finished: RunResult, tmp_path: Path, probe: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        probe_run(finished.folder, probes=[probe], data_dir=tmp_path, device="cpu")


def test_an_unknown_probe_is_answered_with_those_that_can_be_asked(finished: RunResult, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        probe_run(finished.folder, probes=["foo"], data_dir=tmp_path, device="cpu")
    known = str(error.value).partition("Known: ")[2].split(", ")
    assert "classes" in known
    assert set(PROBES) - set(known) == {"histograms", *(name for name, kind in PROBES.items() if kind.needs_step)}


def test_missing_damaged_and_foreign_weights_are_answered(
    finished: RunResult, make_config: MakeConfig, tmp_path: Path
) -> None:
    path = newest_checkpoints(finished.folder)[0]
    other = start(
        draw(make_config(name="other", model={"hidden": [5]}), tmp_path),
        Terms(runs_dir=tmp_path, data_dir=tmp_path, device="cpu"),
    )
    whole = path.read_bytes()
    path.write_bytes(newest_checkpoints(other.folder)[0].read_bytes())
    with pytest.raises(BnexpError, match="of another run: name is small, and was other in theirs"):
        probe_run(finished.folder, probes=["gradients"], data_dir=tmp_path, device="cpu")
    path.write_bytes(whole[:-1])
    with pytest.raises(BnexpError, match="damaged"):
        probe_run(finished.folder, probes=["gradients"], data_dir=tmp_path, device="cpu")
    for stored in newest_checkpoints(finished.folder):
        stored.unlink()
    with pytest.raises(BnexpError, match=r"no final weights are stored there, but --weights best"):
        probe_run(finished.folder, probes=["gradients"], data_dir=tmp_path, device="cpu")


def test_the_learning_rate_is_that_of_the_step_that_would_come_next(make_config: MakeConfig, tmp_path: Path) -> None:
    """Along the gradient the landscape goes learning rates far: at a rate of nearly 0 the loss hardly moves."""
    for schedule, fate in (({"name": "cosine"}, "still"), ({"name": "constant"}, "moves")):
        config = make_config(name=schedule["name"], schedule=schedule, training={"epochs": 20})
        result = start(draw(config, tmp_path), Terms(runs_dir=tmp_path, data_dir=tmp_path, device="cpu"))
        found = probe_run(result.folder, probes=["landscape"], data_dir=tmp_path, device="cpu").figures
        width = found["landscape_loss_max/path"] - found["landscape_loss_min/path"]
        assert (width < 1e-4) == (fate == "still")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.hidden=[12]", r"head.weight: found \(4, 8\), expected \(4, 12\)"),
        ("model.norm=bn(affine=false)", r"block1.bn.weight: found \(12,\), expected none"),
    ],
)
def test_weights_that_do_not_fit_in_shape_or_name_are_refused(
    finished: RunResult, tmp_path: Path, override: str, said: str
) -> None:
    with pytest.raises(BnexpError, match=f"not of this network: {said}"):
        probe_run(finished.folder, probes=["gradients"], overrides=[override], data_dir=tmp_path, device="cpu")


def test_the_weights_of_another_run_are_refused(finished, tmp_path):
    for path in (*newest_checkpoints(finished.folder), finished.folder / "checkpoints" / "best.pt"):
        values = load_checkpoint(path)
        save_checkpoint(path, {**values, "config": values["config"].replace("seed: 0", "seed: 7")})
        which = path.stem
        with pytest.raises(BnexpError, match="the stored weights are of another run: seed is 0, and was 7 in theirs"):
            probe_run(finished.folder, probes=["gradients"], weights=which, data_dir=tmp_path, device="cpu")
        save_checkpoint(path, values)
