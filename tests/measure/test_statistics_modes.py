"""Passes with statistics from elsewhere: each norm's own, and nothing left behind."""

import copy
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bnexp.config.items import ITEMS, NORM_NAMES
from bnexp.measure.statistics_modes import (
    batch_statistics_norms,
    ghost_sizes,
    using_batch_statistics,
    using_recomputed_statistics,
)
from bnexp.norms.statistics import statistics_of
from bnexp.training.build import TrainingRun

MakeRun = Callable[..., TrainingRun]
NORMS = ["bn", "ghost_bn(size=8)", "batch_renorm(warmup_steps=2)", "sync_bn", "noisy_bn", "vn", "evonorm_b0"]
RESNET = {
    **{"arch": "resnet", "stages": [1, 1], "width": 4, "shortcut": "projection", "hidden": None, "activation": None},
    "block": "conv -> norm -> relu -> dropout(p=0.3) -> conv -> norm -> add -> relu",
}
IMAGES = {"batch_size": 16, "synthetic": {"classes": 4, "shape": [3, 8, 8], "size": 60}}


def norm_of(run: TrainingRun, block: str) -> nn.Module:
    return run.network.get_submodule(block)[1]


def floats(norm: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in norm.named_buffers() if buffer.is_floating_point()}


def moved_toward(norm: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return where the norm's own training forward takes the running statistics if the new batch is all that counts."""
    norm = copy.deepcopy(norm).train()
    if hasattr(norm, "options"):
        norm.options = norm.options.model_copy(update={"momentum": 1.0})
    else:
        norm.momentum = 1.0
    norm(x)
    return floats(norm)


def test_every_norm_over_the_batch_is_tested_here() -> None:
    expected = {name for name in NORM_NAMES if ITEMS[name].batch_statistics}
    assert {text.split("(")[0] for text in NORMS} == expected


def test_norms_are_found_in_branches_shortcuts_and_the_stem(trained: MakeRun) -> None:
    run = trained(data=IMAGES, model={**RESNET, "norm": "ghost_bn(size=4)"})
    expected = [module for name, module in run.items.items() if "ghost_bn" in name]
    found = batch_statistics_norms(run.subject)
    assert set(found) == set(expected)
    assert len(found) == len(expected) == 1 + 2 + 3
    assert ghost_sizes(run.subject) == {4}
    assert batch_statistics_norms(trained(model={"norm": "ln"}).subject) == []


def test_ghost_batches_of_shortcuts_count(trained: MakeRun) -> None:
    subject = trained(data=IMAGES, model={**RESNET, "norm": "ghost_bn(size=4)"}).subject
    shortcuts_alone = [replace(block, items=()) for block in subject.layout.blocks]
    assert ghost_sizes(replace(subject, layout=SimpleNamespace(blocks=shortcuts_alone))) == {4}


@pytest.mark.parametrize("norm", [text for text in NORMS if "ghost" not in text])
def test_a_batch_s_statistics_are_those_that_its_norm_moves_toward(trained: MakeRun, norm: str) -> None:
    module = norm_of(trained(model={"norm": norm}), "block1")
    for x in (torch.randn(5, 12) + 3, torch.randn(4, 12, 1, 1) * 2):
        if isinstance(module, nn.BatchNorm1d) and x.ndim > 2:
            continue
        expected = moved_toward(module, x)
        found = statistics_of(module, x)
        assert found.keys() == expected.keys()
        for name, value in found.items():
            torch.testing.assert_close(value, expected[name])


def test_ghost_batches_count_with_their_average(trained: MakeRun) -> None:
    module = norm_of(trained(model={"norm": "ghost_bn(size=8)"}), "block1")
    x = torch.randn(20, 12)
    found = statistics_of(module, x)
    ghosts = (x[:8], x[8:16], x[16:])
    torch.testing.assert_close(found["running_mean"], sum(ghost.mean(0) for ghost in ghosts) / 3)
    torch.testing.assert_close(found["running_var"], sum(ghost.var(0) for ghost in ghosts) / 3)


@pytest.mark.parametrize("norm", NORMS)
def test_recomputed_statistics_are_the_average_over_full_batches_in_order(trained: MakeRun, norm: str) -> None:
    """The first layer's inputs depend on no other norm."""
    run = trained(model={"norm": norm})
    linear, module = run.items["block1.linear"], norm_of(run, "block1")
    stale = floats(module)
    for asked, full in ((2, 2), (50, 5)):  # 90 examples are 5 batches of 16, and 10 examples that are left out
        batches = run.dataset.inputs(run.dataset.train.images[: full * 16]).flatten(1).split(16)
        with torch.no_grad():
            each = [statistics_of(module, linear(batch)) for batch in batches]
        with torch.no_grad(), using_recomputed_statistics(run.subject, asked):
            found = floats(module)
        for name, value in found.items():
            torch.testing.assert_close(value, sum(statistics[name] for statistics in each) / full)
            assert not torch.allclose(value, stale[name], rtol=1e-3)


def test_outdated_statistics_do_not_enter_the_recomputed_ones(trained: MakeRun) -> None:
    """`batch_renorm` corrects toward its running statistics; with wild ones the second layer would see wild inputs."""
    run = trained(model={"norm": "batch_renorm(warmup_steps=0)"})
    found: list[dict[str, Tensor]] = []
    for _ in range(2):
        with torch.no_grad(), using_recomputed_statistics(run.subject, 3):
            found.append(floats(run.items["block2.batch_renorm"]))
        run.items["block1.batch_renorm"].running_mean.fill_(7.0)
        run.items["block1.batch_renorm"].running_std.fill_(30.0)
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value)


def test_recomputed_statistics_replace_what_is_not_finite(trained: MakeRun) -> None:
    run = trained()
    run.items["block1.bn"].running_mean.fill_(torch.nan)
    with torch.no_grad(), using_recomputed_statistics(run.subject, 3) as forward:
        assert forward(run.dataset.val_inputs(4)).isfinite().all()
    assert run.items["block1.bn"].running_mean.isnan().all()


def test_noise_stays_out_of_batch_statistics(trained: MakeRun) -> None:
    """With the weights of a network with bn, the one with noise computes the same."""
    noisy, plain = trained(model={"norm": "noisy_bn"}), trained(model={"norm": "bn"})
    for mine, theirs in zip(noisy.network.parameters(), plain.network.parameters(), strict=True):
        mine.data.copy_(theirs)
    x = noisy.dataset.val_inputs(8)
    with torch.no_grad(), using_batch_statistics(noisy.subject) as one, using_batch_statistics(plain.subject) as other:
        assert torch.equal(one(x), other(x))


@pytest.mark.parametrize("norm", NORMS)
def test_every_pass_with_batch_statistics_finds_the_same_network(trained: MakeRun, norm: str) -> None:
    run = trained(data=IMAGES, model={**RESNET, "norm": norm})
    x, other = run.dataset.inputs(run.dataset.train.images[:32]).split(16)
    with torch.no_grad(), using_batch_statistics(run.subject) as forward:
        first = forward(x)
        forward(other + 5)
        assert torch.equal(forward(x), first)


def state_of(run: TrainingRun) -> dict[str, Any]:
    """Return everything that a probe must leave as it is."""
    modules = run.network.named_modules()
    attributes = ("training", "momentum", "corrects", "noisy", "_forward_pre_hooks")
    state = {f"{name}.{key}": copy.copy(getattr(m, key, None)) for name, m in modules for key in attributes}
    streams = {name: module.stream.get_state() for name, module in run.items.items() if hasattr(module, "stream")}
    return {**run.network.state_dict(), **state, **streams, "torch": torch.get_rng_state()}


def same(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if torch.is_tensor(one) and torch.is_tensor(other) else bool(one == other)


@pytest.mark.parametrize("norm", [*NORMS, "none"])
@pytest.mark.parametrize("fails", [False, True])
def test_all_is_as_it_was_when_the_context_ends(trained: MakeRun, norm: str, fails: bool) -> None:
    run = trained(data=IMAGES, model={**RESNET, "norm": norm})
    run.network.train()
    run.items["stem.relu"].eval()  # whatever the mode of each module is
    for parameter in run.network.parameters():
        parameter.grad = torch.ones_like(parameter)
    x = run.dataset.val_inputs(6)[:, : 2 if fails else 3]
    before = copy.deepcopy(state_of(run))
    contexts = (lambda: using_batch_statistics(run.subject), lambda: using_recomputed_statistics(run.subject, 2))
    for context in contexts:
        try:
            with torch.no_grad(), context() as forward:
                forward(x)
        except RuntimeError:
            assert fails
        after = state_of(run)
        assert before.keys() == after.keys()
        assert [name for name in before if not same(before[name], after[name])] == []
    assert all(bool((parameter.grad == 1).all()) for parameter in run.network.parameters())
