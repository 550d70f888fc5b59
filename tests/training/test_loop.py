"""The loop against a plain one, and the science that must hold."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bnexp.blueprint import draw
from bnexp.config.items import NORM_NAMES
from bnexp.config.schema import Config
from bnexp.measure.restore import copy_of_weights, put_weights
from bnexp.probes.registry import PROBES
from bnexp.runs.rows import Counts
from bnexp.training import divergence
from bnexp.training.build import TrainingRun, build
from bnexp.training.clock import Clock
from bnexp.training.evaluation import scores_at_end
from bnexp.training.loop import Agenda, train
from bnexp.training.optimizer import MOST_SKIPS_IN_A_ROW, LossScaler
from bnexp.training.progress import Progress
from effort import long_but
from written_rows import CLOCKED

MakeConfig = Callable[..., Config]
NO_PROBES = dict.fromkeys(PROBES, "off")
# Many passes of their own: these look at every fifth step, the short last batch of an epoch among them, at little.
QUICK = {
    "evaluation_modes": {"every": 5, "examples": 2, "recomputed_over": 20},
    "coupling": {"every": 5, "examples": 1, "draws": 2},
    "covariate_shift": {"every": 5, "examples": 16, "units": 4},
    "landscape": {"every": 5, "points": 2},
    "cost": {"every": 5, "repeats": 1},
    "invariance": {"every": 5},
}
ALL_PROBES = {name: QUICK.get(name, {"every": 1}) for name in PROBES}


class Rows:
    """Keeps what the loop writes."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.values: dict[int, dict[str, Counts]] = {}

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self.rows.append({"step": step, **values})

    def histograms(self, step: int, values: dict[str, Counts]) -> None:
        self.values.setdefault(step, {}).update(values)

    def close(self) -> None:
        pass


def trained(config: Config) -> tuple[TrainingRun, Progress, Rows]:
    run = build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")
    rows = Rows()
    progress = Progress.start(run, rows)
    train(run, progress)
    return run, progress, rows


def weights_of(run: TrainingRun) -> dict[str, Tensor]:
    return {name: value for name, value in run.network.state_dict().items() if torch.is_tensor(value)}


def without_times(rows: list[dict[str, float]]) -> str:
    """Return rows as text (so that nan equals nan), without what time and memory were measured."""
    return json.dumps([{key: value for key, value in row.items() if not key.startswith(CLOCKED)} for row in rows])


def test_training_is_that_of_a_plain_loop(make_config: MakeConfig) -> None:
    config = make_config(training={"epochs": 3}, optimizer={"momentum": 0.7, "weight_decay": 0.01})
    run, outcome, _ = trained(config)
    fresh = build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")
    plain = nn.Sequential(
        nn.Flatten(),
        nn.Linear(16, 12, bias=False),
        nn.BatchNorm1d(12),
        nn.ReLU(),
        nn.Linear(12, 8, bias=False),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Linear(8, 4),
    )
    for mine, theirs in zip(plain.parameters(), fresh.network.parameters(), strict=True):
        mine.data.copy_(theirs)
    parameters = list(plain.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in parameters if p.ndim == 1]},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.7)
    for step in range(outcome.steps):
        x, y = fresh.batches.at(step)
        optimizer.zero_grad()
        functional.cross_entropy(plain(x), y).backward()
        optimizer.step()
    for mine, trained_parameter in zip(parameters, run.network.parameters(), strict=True):
        torch.testing.assert_close(mine, trained_parameter, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(plain[2].running_var, run.items["block1.bn"].running_var, rtol=1e-4, atol=1e-6)


NORMS = [
    *("bn", "ghost_bn(size=4)", "batch_renorm(warmup_steps=3)", "sync_bn", "noisy_bn", "ln", "ln_c", "gn(groups=2)"),
    *("rms", "frn", "vn", "evonorm_b0", "evonorm_s0(groups=2)", "dyt", "derf", "none"),
]


def test_every_norm_that_fits_an_mlp_is_trained_here() -> None:
    assert {text.split("(")[0] for text in NORMS} == {*NORM_NAMES, "none"} - {"in"}


@pytest.mark.parametrize("norm", long_but(NORMS, "none", "bn", "ln", "gn(groups=2)", "noisy_bn"))
def test_every_norm_trains_the_same_bits_twice_and_with_all_probes(make_config: MakeConfig, norm: str) -> None:
    model = {"norm": norm, "activation": "tlu" if norm == "frn" else "relu"}
    epochs = 10 if norm in ("dyt", "derf") else 5  # what squashes without a scale of the batch begins slowly
    every_step = make_config(model=model, probes=ALL_PROBES, training={"epochs": epochs, "log_every": 1})
    run, outcome, rows = trained(every_step)
    assert outcome.divergence is None
    assert outcome.train is not None
    assert outcome.train.loss < 0.9 * rows.rows[0]["loss/train"]
    without = make_config(model=model, probes=NO_PROBES, training={"epochs": epochs, "log_every": 1000})
    expected = weights_of(trained(without)[0])
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(run).items())
    begun = make_config(model=model, probes=ALL_PROBES, training={"epochs": 1, "log_every": 1})
    rows_again = trained(begun)[2].rows
    assert without_times(rows_again) == without_times(rows.rows[: len(rows_again)])
    assert len(rows_again) > 5
    counted = [module for module in run.network.modules() if hasattr(module, "num_batches_tracked")]
    assert all(module.num_batches_tracked == outcome.steps for module in counted)


@pytest.mark.parametrize("frozen", long_but(["statistics", "affine", "both"], "both"))
def test_what_is_frozen_stays_and_trains_the_same_bits_with_all_probes(make_config: MakeConfig, frozen: str) -> None:
    sections: dict[str, Any] = {
        "model": {"norm": f"bn(frozen={frozen})"},
        "optimizer": {"weight_decay": 0.1, "decay_norm_and_bias": True},
    }
    length = {"epochs": 3, "log_every": 1}
    run, outcome, rows = trained(make_config(**sections, probes=ALL_PROBES, training=length))
    expected = weights_of(trained(make_config(**sections, probes=NO_PROBES, training=length))[0])
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(run).items())
    moving, learned = frozen == "affine", frozen == "statistics"
    for norm in (run.items["block1.bn"], run.items["block2.bn"]):
        assert norm.num_batches_tracked == (outcome.steps if moving else 0)
        assert norm.running_mean.any() == moving
        assert torch.equal(norm.running_var, torch.ones_like(norm.running_var)) != moving
        assert torch.equal(norm.weight, torch.ones_like(norm.weight)) != learned
        assert norm.bias.any() == learned
    # Without batch statistics there is no coupling, and a bias before the norm stays.
    assert (max(row.get("coupling_spread/random", 0.0) for row in rows.rows) > 1e-5) == moving
    assert (run.items["block1.linear"].bias is None) == moving
    assert run.parameters == sum(parameter.numel() for parameter in run.network.parameters()) - 2 * 20 * (not learned)
    assert {"running_mean_distance/block1.bn", "eps_dominates/block1.bn"} - rows.rows[0].keys() == (
        set() if moving else {"eps_dominates/block1.bn"}
    )


@pytest.mark.parametrize("option", ["weight_norm", "weight_std"])
def test_normalized_weights_train_the_same_bits_twice_and_with_all_probes(make_config: MakeConfig, option: str) -> None:
    model = {"norm": "none", "block": f"linear({option}=true) -> norm -> act"}
    run, outcome, rows = trained(make_config(model=model, probes=ALL_PROBES, training={"epochs": 6, "log_every": 1}))
    assert outcome.train is not None
    assert outcome.train.loss < 0.9 * rows.rows[0]["loss/train"]
    assert rows.rows[0]["gradient_norm/block1.linear"] > 0
    assert "gradient/block1.linear" in rows.values[1]
    expected = weights_of(trained(make_config(model=model, probes=NO_PROBES, training={"epochs": 6}))[0])
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(run).items())


def test_the_noise_is_another_in_another_place_and_with_another_seed(make_config: MakeConfig) -> None:
    runs = [
        build(draw(make_config(seed=seed, model={"norm": "noisy_bn"}), Path("unused")), data_dir=Path("unused"))
        for seed in (0, 1)
    ]
    streams = [run.items[f"{block}.noisy_bn"].stream.seed for run in runs for block in ("block1", "block2")]
    assert len(set(streams)) == 4


@pytest.mark.parametrize("norm", ["bn", "ln", "none"])
def test_probes_change_nothing_with_dropout_and_augmentation(make_config: MakeConfig, norm: str) -> None:
    sections = {
        "model": {"norm": norm, "block": "linear -> norm -> act -> dropout(p=0.3)"},
        "data": {"augment": "shift"},
    }
    torch.manual_seed(1)
    with_probes, _, rows = trained(make_config(**sections, probes=ALL_PROBES, training={"log_every": 1}))
    drawn = torch.get_rng_state()
    torch.manual_seed(1)
    without, _, _ = trained(make_config(**sections, probes=NO_PROBES, training={"log_every": 1000}))
    assert torch.equal(torch.get_rng_state(), drawn)
    expected, streams = weights_of(without), without.network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(with_probes).items())
    state = with_probes.network.state_dict()
    extra = [name for name in state if name.endswith("_extra_state")]
    assert len(extra) == 2
    assert all(torch.equal(state[name], streams[name]) for name in extra)
    assert len(rows.rows) == 12


def test_the_running_statistics_count_the_steps_taken(make_config: MakeConfig) -> None:
    run, outcome, _ = trained(make_config(probes=ALL_PROBES))
    assert run.items["block1.bn"].num_batches_tracked.item() == outcome.steps == 2 * 6


@pytest.mark.parametrize("extra", [{}, {"model": {"block": "linear -> norm -> act -> dropout(p=0.2)"}}])
def test_the_same_config_and_seed_give_the_same_bits(make_config: MakeConfig, extra: dict[str, Any]) -> None:
    (first, _, rows), (second, _, again) = trained(make_config(**extra)), trained(make_config(**extra))
    expected = weights_of(second)
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(first).items())
    assert without_times(rows.rows) == without_times(again.rows)


def test_another_seed_gives_other_weights_and_batches(make_config: MakeConfig) -> None:
    first, other = (
        build(draw(make_config(seed=seed), Path("unused")), data_dir=Path("unused"), device="cpu") for seed in (0, 1)
    )
    assert not torch.equal(first.items["head"].weight, other.items["head"].weight)
    assert not torch.equal(first.batches.at(0)[0], other.batches.at(0)[0])
    assert torch.equal(first.dataset.val.images, other.dataset.val.images)


def test_arms_that_differ_in_normalization_are_paired(make_config: MakeConfig) -> None:
    runs = [
        build(draw(make_config(model={"norm": norm}), Path("unused")), data_dir=Path("unused"), device="cpu")
        for norm in ("none", "bn", "ln", "bn(momentum=0.5)")
    ]
    for run in runs[1:]:
        for name in ("block1.linear", "block2.linear", "head"):
            assert torch.equal(run.items[name].weight, runs[0].items[name].weight)
        for step in (0, 5, 7):
            assert all(torch.equal(a, b) for a, b in zip(run.batches.at(step), runs[0].batches.at(step), strict=True))


def test_rows_average_over_the_examples_of_the_interval(make_config: MakeConfig) -> None:
    config = make_config(training={"epochs": None, "steps": 11, "log_every": 4}, optimizer={"lr": 1e-12, "momentum": 0})
    run, _, rows = trained(config)  # at this rate the weights stand still, so every batch can be scored afterwards
    run.network.train()
    logged = [row for row in rows.rows if "loss/train" in row]
    assert [row["step"] for row in logged] == [4, 8, 11]  # and not 6, where only an evaluation is due
    for start, row in zip((0, 4, 8), logged, strict=True):
        batches = [run.batches.at(step) for step in range(start, int(row["step"]))]
        losses = [functional.cross_entropy(run.network(x), y, reduction="sum").item() for x, y in batches]
        correct = [(run.network(x).argmax(1) == y).sum().item() for x, y in batches]
        examples = sum(len(y) for _, y in batches)
        assert row["loss/train"] == pytest.approx(sum(losses) / examples, rel=1e-4)
        assert row["accuracy/train"] == pytest.approx(sum(correct) / examples)
    assert sum(len(run.batches.at(step)[1]) for step in range(6)) == 90  # the last batch of an epoch holds 10, not 16


def test_the_training_loss_is_of_smoothed_labels_and_every_score_of_plain_ones(make_config: MakeConfig) -> None:
    training = {"epochs": None, "steps": 2, "log_every": 1, "label_smoothing": 0.4}
    run, outcome, rows = trained(make_config(training=training, optimizer={"lr": 1e-12, "momentum": 0}))
    end = scores_at_end(run, outcome)
    assert end is not None
    run.network.eval()
    for part, score in ((run.dataset.val, rows.rows[1]["loss/val"]), (run.dataset.test, end.test["final"]["loss"])):
        plain = functional.cross_entropy(run.network(run.dataset.inputs(part.images)), part.labels)
        assert score == pytest.approx(plain.item(), rel=1e-4)
    x, y = run.batches.at(1)
    smoothed = functional.cross_entropy(run.network.train()(x), y, label_smoothing=0.4)
    assert rows.rows[1]["loss/train"] == pytest.approx(smoothed.item(), rel=1e-4)


def test_there_is_one_row_a_step_and_evaluations_are_in_it(make_config: MakeConfig) -> None:
    _, outcome, rows = trained(make_config(training={"epochs": 3, "eval_every_epochs": 0.5}))
    steps = [row["step"] for row in rows.rows]
    assert steps == sorted(set(steps))
    evaluated = [row for row in rows.rows if "accuracy/val" in row]
    assert [row["step"] for row in evaluated] == [3, 6, 9, 12, 15, 18]
    assert [row["epoch"] for row in evaluated] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert outcome.last is not None
    assert outcome.best is not None
    accuracies = [row["accuracy/val"] for row in evaluated]
    assert outcome.last.score.accuracy == accuracies[-1]
    assert outcome.best.evaluated.score.accuracy == max(accuracies)
    assert outcome.best.evaluated.step == evaluated[accuracies.index(max(accuracies))]["step"]


def test_the_first_step_is_looked_at_and_then_every_nth(make_config: MakeConfig) -> None:
    probes = {**NO_PROBES, "gradients": {"every": 5}, "histograms": {"every": 6}}
    _, _, rows = trained(make_config(probes=probes, training={"log_every": 1000}))
    assert [row["step"] for row in rows.rows if "gradient_norm/total" in row] == [1, 5, 10]
    assert sorted(rows.values) == [1, 6, 12]


def test_the_training_score_covers_the_whole_last_epoch(make_config: MakeConfig) -> None:
    config = make_config(training={"epochs": 2, "log_every": 1}, optimizer={"lr": 1e-12, "momentum": 0})
    run, outcome, _ = trained(config)
    run.network.train()
    batches = [run.batches.at(step) for step in range(6, 12)]
    losses = sum(functional.cross_entropy(run.network(x), y, reduction="sum").item() for x, y in batches)
    assert outcome.train is not None
    assert outcome.train.loss == pytest.approx(losses / 90, rel=1e-4)


def test_gradients_are_clipped_to_the_norm_asked_for(make_config: MakeConfig) -> None:
    optimizer = {"lr": 1.0, "momentum": 0}
    config = make_config(training={"epochs": None, "steps": 1, "grad_clip": 1e-3}, optimizer=optimizer)
    start = copy_of_weights(build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu").network)
    run, _, rows = trained(config)
    moved = [parameter.detach() - start[name] for name, parameter in run.network.named_parameters()]
    assert torch.cat([change.flatten() for change in moved]).norm().item() == pytest.approx(1e-3, rel=1e-3)
    assert rows.rows[0]["gradient_norm/total"] > 1e-2  # the probe shows the gradient before clipping


def test_a_non_finite_loss_stops_the_training_and_names_step_and_layer(make_config: MakeConfig) -> None:
    config = make_config(optimizer={"lr": 1e30, "momentum": 0}, model={"norm": "none"}, training={"epochs": 5})
    run, outcome, rows = trained(config)
    found = outcome.divergence
    assert found is not None
    assert (found.step, outcome.steps) == (rows.rows[-1]["step"], found.step - 1)
    assert outcome.steps < 30
    assert found.layer in run.items
    assert not rows.rows[-1]["loss/train"] < float("inf")
    finite = [torch.isfinite(parameter).all() for parameter in run.network.parameters()]
    assert all(finite) == (found.quantity == "output")


def test_with_every_probe_a_diverging_training_is_logged_to_its_end(make_config: MakeConfig) -> None:
    probes = {name: {**schedule, "every": 1} for name, schedule in ALL_PROBES.items()}
    config = make_config(
        optimizer={"lr": 1e25, "momentum": 0}, model={"norm": "none"}, training={"log_every": 1}, probes=probes
    )
    run, outcome, rows = trained(config)
    assert outcome.divergence is not None
    assert outcome.divergence.layer in run.items
    last = rows.rows[-1]
    assert last["step"] == outcome.divergence.step
    assert {f"activation_std/{name}" for name in run.items} <= last.keys()
    assert not all(math.isfinite(value) for value in last.values())
    assert rows.values[int(last["step"])].keys() >= {f"activation/{name}" for name in run.items}


def test_a_non_finite_input_is_traced_to_the_step_it_came_in(make_config: MakeConfig) -> None:
    run = build(draw(make_config(), Path("unused")), data_dir=Path("unused"), device="cpu")

    def poison(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        return output * float("nan") if module.num_batches_tracked == 4 and module.training else None

    run.items["block2.bn"].register_forward_hook(poison)
    outcome = Progress.start(run, Rows())
    train(run, outcome)
    assert outcome.divergence is not None
    assert (outcome.divergence.step, outcome.steps) == (4, 3)
    assert all(torch.isfinite(parameter).all() for parameter in run.network.parameters())


def test_poisoned_running_statistics_are_found_by_the_validation(make_config: MakeConfig) -> None:
    run = build(draw(make_config(), Path("unused")), data_dir=Path("unused"), device="cpu")

    outcome, update = Progress.start(run, Rows()), run.train_step.update

    def poison() -> None:
        """After the forward pass of the sixth step, which is the last of the epoch."""
        update()
        if outcome.steps == 5:
            run.items["block2.bn"].running_mean[0] = float("nan")

    run.train_step.update = poison
    train(run, outcome)
    found = outcome.divergence
    assert found is not None
    assert (found.step, outcome.steps) == (6, 6)
    assert (found.layer, found.quantity) == ("block2.bn", "running statistics")
    assert outcome.best is None
    assert outcome.last is not None
    assert math.isnan(outcome.last.score.accuracy)


def test_weights_can_be_kept_and_put_back(make_config: MakeConfig) -> None:
    run = build(draw(make_config(), Path("unused")), data_dir=Path("unused"), device="cpu")
    kept = copy_of_weights(run.network)
    before = {name: value.clone() for name, value in weights_of(run).items()}
    train(run, Progress.start(run, Rows()))
    assert not torch.equal(run.items["head"].weight, before["head.weight"])
    put_weights(run.network, kept)
    assert all(torch.equal(value, before[name]) for name, value in weights_of(run).items())


def test_bf16_trains_nearly_as_fp32(make_config: MakeConfig) -> None:
    scores = []
    for precision in ("fp32", "bf16"):
        config = make_config(training={"epochs": 20, "precision": precision}, model={"hidden": [64]})
        _, outcome, rows = trained(config)
        assert outcome.last is not None
        scores.append(outcome.last.score.accuracy)
        assert rows.rows[-1]["loss/train"] < 0.5
    assert abs(scores[0] - scores[1]) <= 0.2


def test_figures_cross_to_python_together(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, as_on_a_gpu: None
) -> None:
    """There is one transfer a step, of the loss and whether statistics are finite, and one a row of many figures."""
    transfers: list[str] = []

    def counted(name: str) -> Callable[[Tensor], Any]:
        original = getattr(Tensor, name)
        return lambda tensor, *rest: transfers.append(name) or original(tensor, *rest)

    monkeypatch.setattr(divergence, "waits", lambda device: True)  # as for a GPU
    config = make_config(probes=ALL_PROBES, training={"epochs": None, "steps": 5, "log_every": 1})
    run = build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")
    assert not run.dataset.has_unequal_classes  # counted once, for meta.json, before a training
    rows = Rows()
    for name in ("tolist", "item", "cpu", "numpy", "__float__", "__bool__", "__int__"):
        monkeypatch.setattr(Tensor, name, counted(name))
    train(run, Progress.start(run, rows))
    monkeypatch.undo()
    assert len(rows.rows) == len(rows.values) == 5
    evaluations = 1
    assert transfers.count("item") == 0
    of_a_step = 3  # the guard's, of what probes read, of the right answers since the last row
    assert transfers.count("tolist") == of_a_step * 5 + evaluations
    assert transfers.count("__bool__") == evaluations  # are the running statistics finite?
    assert len(transfers) == of_a_step * 5 + 2 * evaluations


def test_what_is_due_at_a_step_is_the_same_however_many_are_worked_out_at_once(make_config: MakeConfig) -> None:
    config = make_config(probes=ALL_PROBES | {"updates": {"every": 4}}, schedule={"name": "cosine"})
    run = build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")
    steps = [*range(1, run.plan.total_steps + 1), 2]
    expected = [(run.learning_rate(step), run.probes.at(step).probes, run.plan.evaluates_at(step)) for step in steps]
    for at_once in (1, 5, 64):
        agenda = Agenda(run, Clock(), at_once)
        found = [agenda.at(step) for step in steps]
        assert [(lr, due.probes, evaluates) for lr, due, evaluates in found] == expected
    assert len({lr for lr, _, _ in expected}) > 5
    assert {evaluates for _, _, evaluates in expected} == {False, True}


def test_histograms_show_the_gradient_before_clipping(make_config: MakeConfig) -> None:
    norms = []
    for clip in (None, 1e-3):
        config = make_config(
            training={"epochs": None, "steps": 1, "grad_clip": clip},
            probes=ALL_PROBES,
            optimizer={"weight_decay": 0.5, "nesterov": True},
        )
        _, _, rows = trained(config)
        norms.append(rows.values[1]["gradient/block2.linear"].total_of_squares ** 0.5)
        assert norms[-1] == pytest.approx(rows.rows[0]["gradient_norm/block2.linear"], rel=1e-5)
    assert norms[0] == norms[1]


def test_the_last_epoch_is_averaged_also_when_the_training_ends_within_one(make_config: MakeConfig) -> None:
    config = make_config(training={"epochs": None, "steps": 7, "log_every": 1}, optimizer={"lr": 1e-12, "momentum": 0})
    run, outcome, _ = trained(config)  # 6 steps an epoch
    run.network.train()
    batches = [run.batches.at(step) for step in range(1, 7)]
    losses = sum(functional.cross_entropy(run.network(x), y, reduction="sum").item() for x, y in batches)
    assert outcome.train.loss == pytest.approx(losses / sum(len(y) for _, y in batches), rel=1e-4)


def test_speed_counts_the_examples_that_were_trained_on(make_config: MakeConfig) -> None:
    _, outcome, _ = trained(make_config(data={"batch_size": 48, "drop_last": True}))
    assert outcome.clock.examples == 2 * 48  # of 90 examples, 42 are left out of each epoch


def test_a_training_whose_scaled_gradients_never_fit_is_a_divergence(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = build(draw(make_config(training={"epochs": 50}), Path("unused")), data_dir=Path("unused"), device="cpu")
    scaler = LossScaler("fp16", torch.device("cpu"))  # the scaling itself can be had without CUDA
    run.train_step.scaler = scaler
    run.items["head"].weight.register_hook(lambda gradient: gradient * float("inf"))
    before = copy_of_weights(run.network)
    rows = Rows()
    outcome = Progress.start(run, rows)
    train(run, outcome)
    assert outcome.divergence is not None
    assert (outcome.divergence.layer, outcome.divergence.quantity) == ("loss scaling", "gradient")
    assert scaler.skipped == outcome.steps == MOST_SKIPS_IN_A_ROW + 1
    assert torch.equal(run.items["head"].weight, before["head.weight"])
    assert next(row["skipped_steps/optimizer"] for row in rows.rows if "loss/train" in row) == 4
