"""Coupling against batch normalization written out for the batches that the probe passes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bnexp.config.probes_section import CouplingSchedule
from bnexp.measure.subject import Look
from bnexp.probes.coupling import Coupling, figures_of, random_companions, sorted_companions
from bnexp.training.build import TrainingRun

MakeRun = Callable[..., TrainingRun]
FIGURES = ("coupling_spread", "coupling_relative", "coupling_flip_rate")


def measured(run: TrainingRun, examples: int = 3, draws: int = 4, step: int = 1) -> dict[str, float]:
    probe = Coupling(CouplingSchedule(every=1, examples=examples, draws=draws))
    reading = probe.after_step(Look(run.subject, step, 0.1, torch.zeros(0), torch.zeros(0)))
    assert all(value.shape == () for value in reading.scalars.values())
    return {name: value.item() for name, value in reading.scalars.items()}


def watched(run: TrainingRun, **options: Any) -> tuple[dict[str, float], list[Tensor]]:
    """Return the figures, and every batch that the network saw for them."""
    batches: list[Tensor] = []
    handle = run.network.register_forward_pre_hook(lambda network, inputs: batches.append(inputs[0]))
    found = measured(run, **options)
    handle.remove()
    return found, batches


@torch.no_grad()
def first_logits(run: TrainingRun, batch: Tensor, ghost: int) -> np.ndarray:
    """Return the first example's logits of an MLP with one batch normalization over the first `ghost` examples."""
    norm = run.network.get_submodule("block1")[1]
    h = batch.flatten(1).double()[:ghost] @ run.items["block1.linear"].weight.double().T
    y = (h - h.mean(dim=0)) / torch.sqrt(h.var(dim=0, correction=0) + norm.eps) * norm.weight + norm.bias
    return (y.relu()[0] @ run.items["head"].weight.double().T + run.items["head"].bias).numpy()


@pytest.mark.parametrize(("norm", "ghost"), [("bn", 16), ("ghost_bn(size=4)", 4), ("ghost_bn(size=2)", 2)])
def test_one_batch_normalization_in_closed_form(trained: MakeRun, norm: str, ghost: int) -> None:
    run = trained(model={"norm": norm, "hidden": [12]})
    found, batches = watched(run, examples=3, draws=5)
    assert len(batches) == 2 * 3 * 5
    logits = np.stack([first_logits(run, batch, ghost) for batch in batches]).reshape(2, 3, 5, 4)
    for kind, values in zip(("random", "sorted"), logits, strict=True):  # (anchors, draws, classes)
        spread = math.sqrt(np.var(values, axis=1, ddof=1).mean())
        flips = 0
        for anchor in values.argmax(axis=2):
            flips += len(anchor) - np.bincount(anchor).max()
        assert found[f"coupling_spread/{kind}"] == pytest.approx(spread, rel=1e-3)
        assert found[f"coupling_relative/{kind}"] == pytest.approx(spread / values.mean(axis=1).std(), rel=1e-3)
        assert found[f"coupling_flip_rate/{kind}"] == pytest.approx(flips / 15)
        assert spread > 0.01


@pytest.mark.parametrize(
    ("norm", "couples"),
    [
        *[(norm, False) for norm in ("none", "ln", "ln_c", "gn(groups=2)", "in", "rms", "evonorm_s0(groups=2)", "dyt")],
        *[(norm, True) for norm in ("bn", "ghost_bn(size=4)", "batch_renorm", "sync_bn")],
        *[(norm, True) for norm in ("noisy_bn", "vn", "evonorm_b0")],
    ],
)
def test_companions_matter_only_to_norms_over_the_batch(trained: MakeRun, norm: str, couples: bool) -> None:
    block = "conv -> norm -> act -> dropout(p=0.3)"
    run = trained(model={"arch": "cnn", "hidden": None, "stages": [4], "block": block, "norm": norm})
    found = measured(run)
    assert found.keys() == {f"{figure}/{kind}" for figure in FIGURES for kind in ("random", "sorted")}
    for name, value in found.items():
        assert value >= 0 if couples else value == 0, name
    if couples:
        assert all(found[f"coupling_spread/{kind}"] > 1e-4 for kind in ("random", "sorted"))


def test_batch_renorm_within_its_bounds_does_not_couple(trained: MakeRun) -> None:
    """There its output is that of inference, whatever the batch; in the warm-up it is bn."""
    wide = "batch_renorm(warmup_steps=0, rmax=1e6, dmax=1e6)"
    within, warming, bn = (measured(trained(model={"norm": norm})) for norm in (wide, "batch_renorm", "bn"))
    for kind in ("random", "sorted"):
        assert within[f"coupling_spread/{kind}"] < 1e-5
        assert warming[f"coupling_spread/{kind}"] == pytest.approx(bn[f"coupling_spread/{kind}"], rel=1e-3)


def test_an_anchor_is_first_in_its_batches_and_only_its_companions_change(trained: MakeRun) -> None:
    run = trained()
    _, batches = watched(run, examples=3, draws=4)
    images = run.dataset.inputs(run.dataset.train.images)
    for number, batch in enumerate(batches):
        assert batch.shape == (16, 1, 4, 4)
        assert torch.equal(batch[0], images[number // 4 % 3])
    assert len({batch[1:].sum().item() for batch in batches}) == len(batches)


def test_random_companions_are_others_and_each_once() -> None:
    labels, generator = torch.zeros(20, dtype=torch.int64), torch.Generator().manual_seed(0)
    for anchor in (0, 7, 19):
        drawn = random_companions(labels, anchor, 50, 9, generator)
        assert drawn.shape == (50, 9)
        assert all(len(set(row)) == 9 for row in drawn.tolist())
        assert set(drawn.flatten().tolist()) == set(range(20)) - {anchor}
        whole = random_companions(labels, anchor, 2, 19, generator)  # a batch of the whole training part
        assert all(sorted(row) == sorted(set(range(20)) - {anchor}) for row in whole.tolist())


def test_sorted_companions_are_of_one_class_and_the_draws_go_through_the_classes() -> None:
    labels = torch.tensor([3, 0, 3, 1, 0, 3, 1, 0, 1, 3, 0, 1])  # four of each of three classes, none of class 2
    generator = torch.Generator().manual_seed(0)
    drawn = labels[sorted_companions(labels, 0, 3, 30, generator)]
    assert drawn.tolist() == [[0] * 30, [1] * 30, [3] * 30]
    assert set(sorted_companions(labels, 0, 3, 200, generator)[1].tolist()) == {3, 6, 8, 11}
    assert labels[sorted_companions(labels, 0, 6, 1, generator)].flatten().tolist() == [0, 0, 1, 1, 3, 3]


def test_a_larger_class_comes_more_often_and_a_class_of_one_example_is_enough() -> None:
    labels, generator = torch.tensor([1, 1, 1, 0, 1, 1, 1, 1]), torch.Generator().manual_seed(0)
    drawn = sorted_companions(labels, 0, 8, 5, generator)
    assert labels[drawn][:, 0].tolist() == [0, 1, 1, 1, 1, 1, 1, 1]
    assert drawn[0].tolist() == [3] * 5


def test_draws_are_those_of_the_seed_and_the_step(trained: MakeRun) -> None:
    run = trained()
    torch.manual_seed(1)
    first, state = measured(run), torch.get_rng_state()
    torch.manual_seed(2)
    assert measured(run) == first
    assert measured(run, step=2) != first
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_tiny_datasets_and_more_anchors_than_examples(trained: MakeRun) -> None:
    data = {"batch_size": 9, "synthetic": {"classes": 4, "shape": [1, 4, 4], "size": 10}}
    found = measured(trained(data=data), examples=1000, draws=2)
    assert all(math.isfinite(value) for value in found.values())
    assert found["coupling_spread/random"] < 1e-5  # the companions are all the others, in another order


def test_figures_of_given_logits() -> None:
    logits = torch.tensor([[[2.0, 0.0], [0.0, 2.0], [4.0, 0.0]], [[1.0, 3.0], [1.0, 3.0], [1.0, 3.0]]])
    found = figures_of(logits)
    spread = math.sqrt((4 + 4 / 3 + 0 + 0) / 4)  # variances of (2, 0, 4), (0, 2, 0), and of equal values
    scale = np.std([2, 2 / 3, 1, 3])
    assert found["coupling_spread"].item() == pytest.approx(spread)
    assert found["coupling_relative"].item() == pytest.approx(spread / scale)
    assert found["coupling_flip_rate"].item() == pytest.approx(1 / 6)


def test_equal_logits_spread_by_exactly_nothing_and_nan_is_no_flip_rate() -> None:
    equal = figures_of(torch.full((3, 7, 5), 0.1))
    assert [value.item() for value in equal.values()] == [0, 0, 0]
    assert all(value.isnan() for value in figures_of(torch.full((3, 7, 5), torch.nan)).values())
