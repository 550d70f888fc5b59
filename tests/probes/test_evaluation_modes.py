"""Each mode against batch normalization written out in float64."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bnexp.config.probes_section import EvaluationModesSchedule
from bnexp.measure.evaluation import evaluate
from bnexp.measure.statistics_modes import without_a_batch_of_one
from bnexp.measure.subject import Look
from bnexp.norms.batch_renorm import BatchRenorm
from bnexp.norms.evonorm import EvoNormB0
from bnexp.norms.variance_norm import VarianceNorm
from bnexp.probes.evaluation_modes import MODES, EvaluationModes
from bnexp.training.build import TrainingRun

MakeRun = Callable[..., TrainingRun]
Statistics = Callable[[str, Tensor], tuple[Tensor, Tensor]]
BLOCKS = ("block1", "block2")
VAL = {"val_fraction": 0.3}  # 30 examples of 100, and 70 to train on: batches of 16, 4 full ones


def measured(run: TrainingRun, examples: int = 1000, over: int = 5000) -> dict[str, float]:
    probe = EvaluationModes(EvaluationModesSchedule(every=1, examples=examples, recomputed_over=over))
    reading = probe.after_step(Look(run.subject, 1, 0.1, torch.zeros(0), torch.zeros(0)))
    assert all(value.shape == () for value in reading.scalars.values())
    return {name: value.item() for name, value in reading.scalars.items()}


@torch.no_grad()
def by_hand(run: TrainingRun, images: Tensor, statistics: Statistics) -> Tensor:
    """Return the logits of an MLP with bn whose mean and variance come from `statistics(block, x)`."""
    x = run.dataset.inputs(images).flatten(1).double()
    for block in BLOCKS:
        bn = run.items[f"{block}.bn"]
        x = x @ run.items[f"{block}.linear"].weight.double().T
        mean, var = statistics(block, x)
        x = ((x - mean) / torch.sqrt(var + bn.eps) * bn.weight + bn.bias).relu()
    return x @ run.items["head"].weight.double().T + run.items["head"].bias


def of_batch(block: str, x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean(dim=0), x.var(dim=0, correction=0)


def of_one(block: str, x: Tensor) -> tuple[Tensor, Tensor]:
    return x, torch.zeros_like(x)


def of_training(run: TrainingRun, examples: int) -> Statistics:
    """Return each layer's statistics over training examples, the variance unbiased as in torch's running ones."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def note(block: str, x: Tensor) -> tuple[Tensor, Tensor]:
        seen[block] = (x.mean(dim=0), x.var(dim=0, correction=1))
        return of_batch(block, x)

    by_hand(run, run.dataset.train.images[:examples], note)
    return lambda block, x: seen[block]


def test_each_mode_is_batch_normalization_with_its_statistics(trained: MakeRun) -> None:
    run = trained(data=VAL)
    images, labels = run.dataset.val.images, run.dataset.val.labels
    running = {block: run.items[f"{block}.bn"] for block in BLOCKS}
    logits = {
        "running": by_hand(run, images, lambda block, x: (running[block].running_mean, running[block].running_var)),
        "batch": torch.cat([by_hand(run, images[:16], of_batch), by_hand(run, images[16:], of_batch)]),
        "recomputed": by_hand(run, images, of_training(run, 45)),
        "single": by_hand(run, images, of_one),
    }
    found = measured(run, over=45)
    losses = {mode: functional.cross_entropy(values, labels).item() for mode, values in logits.items()}
    for mode, values in logits.items():
        assert found[f"loss_by_mode/{mode}"] == pytest.approx(losses[mode], rel=1e-4)
        accuracy = (values.argmax(dim=1) == labels).double().mean().item()
        assert found[f"accuracy_by_mode/{mode}"] == pytest.approx(accuracy)
        if mode != "running":
            assert found[f"loss_gap/{mode}"] == pytest.approx(losses[mode] - losses["running"], abs=1e-4)
            assert abs(found[f"loss_gap/{mode}"]) > 1e-3
    names = {f"{quantity}_by_mode/{mode}" for mode in MODES for quantity in ("loss", "accuracy")}
    assert found.keys() == names | {f"loss_gap/{mode}" for mode in MODES if mode != "running"}


def test_a_vector_alone_is_beta_and_every_answer_is_the_same_class(trained: MakeRun) -> None:
    run = trained(data=VAL)
    labels = run.dataset.val.labels
    beta = run.items["block2.bn"].bias.relu()
    logits = run.items["head"](beta)
    expected = functional.cross_entropy(logits.expand(len(labels), -1), labels).item()
    found = measured(run)
    assert found["loss_by_mode/single"] == pytest.approx(expected, rel=1e-3)
    assert found["accuracy_by_mode/single"] == pytest.approx((labels == logits.argmax()).double().mean().item())


RENORM = "batch_renorm(warmup_steps=1)"  # its bounds have risen when it is looked at


def alone(norm: nn.Module, x: Tensor) -> Tensor:
    """Return what a norm over the batch leaves of vectors (B, F), each with the mean x and the variance 0."""
    root = norm.eps**0.5
    if isinstance(norm, VarianceNorm):
        y = x / root
    elif isinstance(norm, EvoNormB0):
        y = x / (norm.v * x + root).clamp_min(root)
    elif isinstance(norm, BatchRenorm):
        _, dmax = norm.bounds()
        y = ((x - norm.running_mean) / norm.running_std).clamp(-dmax, dmax)
    else:
        y = torch.zeros_like(x)
    return norm.weight * y + norm.bias


@pytest.mark.parametrize("norm", ["bn", "ghost_bn(size=4)", "noisy_bn", "sync_bn", "vn", "evonorm_b0", RENORM])
def test_what_each_norm_leaves_of_a_vector_alone(trained: MakeRun, norm: str) -> None:
    run = trained(data=VAL, model={"norm": norm, "block": "linear -> norm", "activation": None})
    x = run.dataset.inputs(run.dataset.val.images).flatten(1)
    for block in BLOCKS:
        x = alone(run.network.get_submodule(block)[1], run.items[f"{block}.linear"](x))
    expected = functional.cross_entropy(run.items["head"](x), run.dataset.val.labels).item()
    assert measured(run)["loss_by_mode/single"] == pytest.approx(expected, rel=1e-3)


def test_an_image_alone_is_normalized_over_its_positions(trained: MakeRun) -> None:
    """Batch normalization of one image is instance normalization."""
    cnn = {"arch": "cnn", "hidden": None, "stages": [4]}
    run, other = (
        trained(data=VAL, model={**cnn, "block": "conv -> norm -> act", "norm": norm}) for norm in ("bn", "in")
    )
    for mine, theirs in zip(other.network.parameters(), run.network.parameters(), strict=True):
        mine.data.copy_(theirs)
    assert measured(run)["loss_by_mode/single"] == pytest.approx(measured(other)["loss_by_mode/running"], rel=1e-4)


def test_running_is_what_evaluation_finds(trained: MakeRun) -> None:
    run = trained(data={**VAL, "eval_batch_size": 7})
    score = evaluate(run.network, run.dataset, run.dataset.val, 7, run.precision)
    found = measured(run)
    assert found["loss_by_mode/running"] == pytest.approx(score.loss, rel=1e-6)
    assert found["accuracy_by_mode/running"] == pytest.approx(score.accuracy)


@pytest.mark.parametrize("norm", ["ln", "gn(groups=2)", "none"])
def test_without_statistics_of_the_batch_the_modes_are_one(trained: MakeRun, norm: str) -> None:
    found = measured(trained(model={"norm": norm}))
    assert all(found[f"loss_gap/{mode}"] == 0 for mode in MODES[1:])
    assert len({found[f"accuracy_by_mode/{mode}"] for mode in MODES}) == 1
    assert len({found[f"loss_by_mode/{mode}"] for mode in MODES}) == 1


@pytest.mark.parametrize(
    ("norm", "examples", "scored"),
    [
        ("bn", 32, 32),
        ("bn", 33, 32),  # a second batch of 1
        ("bn", 18, 18),
        ("bn", 1, 0),
        ("ghost_bn(size=4)", 21, 20),  # a second batch of 4 + 1
        ("ghost_bn(size=4)", 17, 16),
        ("ghost_bn(size=8)", 27, 27),
        ("ln", 33, 33),
        ("ln", 1, 1),
    ],
)
def test_no_batch_of_one_is_scored(trained: MakeRun, norm: str, examples: int, scored: int) -> None:
    run = trained(data={"val_fraction": 0.4}, model={"norm": norm})
    assert without_a_batch_of_one(run.subject, examples, batch_size=16) == scored
    found = measured(run, examples)
    assert bool(found) == (scored > 0)
    assert all(math.isfinite(value) for value in found.values())


def test_all_modes_score_the_same_examples(trained: MakeRun) -> None:
    """One of 17 examples would be a batch of its own: none of the modes scores it."""
    run = trained(data=VAL)
    assert measured(run, 17) == measured(run, 16)


def test_weights_that_are_not_finite_have_no_accuracy(trained: MakeRun) -> None:
    run = trained(data=VAL)
    run.items["head"].weight.data.fill_(torch.nan)
    found = measured(run)
    assert all(math.isnan(value) for value in found.values())
