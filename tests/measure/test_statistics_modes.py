"""Passes with statistics from elsewhere: each norm's own, and nothing left behind."""

import copy
from collections.abc import Callable
from dataclasses import replace
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
from bnexp.norms.statistics import batch_moments, pooled, statistics_from
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
    assert ghost_sizes(replace(subject, layout=replace(subject.layout, parts=tuple(shortcuts_alone)))) == {4}


@pytest.mark.parametrize("norm", NORMS)
def test_a_batch_s_statistics_are_those_that_its_norm_moves_toward(trained: MakeRun, norm: str) -> None:
    module = norm_of(trained(model={"norm": norm}), "block1")
    for x in (torch.randn(5, 12) + 3, torch.randn(4, 12, 1, 1) * 2):
        if isinstance(module, nn.BatchNorm1d) and x.ndim > 2:
            continue
        expected = moved_toward(module, x)
        found = statistics_from(module, batch_moments(x))
        assert found.keys() == expected.keys()
        for name, value in found.items():
            torch.testing.assert_close(value, expected[name])


@pytest.mark.parametrize("shape", [(12,), (12, 3, 2)])
def test_pooled_moments_are_those_of_all_the_values(shape: tuple[int, ...]) -> None:
    """Of batches of unequal sizes whose means differ far more than their values do."""
    batches = [torch.randn(size, *shape) + 10 * torch.randn(12).view(12, *[1] * (len(shape) - 1)) for size in (1, 7, 2)]
    everything = torch.cat(batches).double().transpose(0, 1).flatten(1)  # (F, values)
    mean, var, count = pooled([batch_moments(batch) for batch in batches])
    assert count == everything.shape[1]
    torch.testing.assert_close(mean.double(), everything.mean(1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(var.double(), everything.var(1, correction=0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("batch_size", [2, 16])
def test_recomputed_statistics_are_the_moments_of_so_many_examples(
    trained: MakeRun, norm: str, batch_size: int
) -> None:
    """In float64, for the first layer, whose inputs depend on no other norm; whatever the size of the batches."""
    norm = norm.replace("size=8", "size=2")
    run = trained(model={"norm": norm}, data={"batch_size": batch_size, "eval_batch_size": batch_size})
    linear, module = copy.deepcopy(run.items["block1.linear"]).double(), norm_of(run, "block1")
    stale, train = floats(module), run.dataset.train.images
    for asked, taken in ((33, 33), (5000, len(train))):
        x = linear(run.dataset.inputs(train[:taken]).flatten(1).double()).detach()
        expected = {
            "running_mean": x.mean(0),
            "running_var": x.var(0, correction=0 if norm in ("vn", "evonorm_b0") else 1),
            "running_std": (x.var(0, correction=0) + 1e-5).sqrt(),
        }
        with torch.no_grad(), using_recomputed_statistics(run.subject, asked):
            found = floats(module)
        for name, value in found.items():
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-4, atol=1e-5)
            assert not torch.allclose(value, stale[name], rtol=1e-3)


def test_small_batches_and_ghost_batches_do_not_show_in_the_layers_above(trained: MakeRun) -> None:
    """All examples at once, in float64: what the second norm takes in is normalized by the first as at inference."""
    for norm in ("bn", "ghost_bn(size=2)"):
        run = trained(model={"norm": norm}, data={"batch_size": 2, "eval_batch_size": 1000})
        first, second = norm_of(run, "block1"), norm_of(run, "block2")
        x = (
            run.dataset.inputs(run.dataset.train.images).flatten(1).double()
            @ run.items["block1.linear"].weight.double().T
        )
        x = (x - x.mean(0)) / torch.sqrt(x.var(0, correction=0) + first.eps) * first.weight + first.bias
        x = x.relu() @ run.items["block2.linear"].weight.double().T
        with torch.no_grad(), using_recomputed_statistics(run.subject):
            torch.testing.assert_close(second.running_mean.double(), x.mean(0), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(second.running_var.double(), x.var(0), rtol=1e-4, atol=1e-5)


def test_outdated_statistics_do_not_enter_the_recomputed_ones(trained: MakeRun) -> None:
    """`batch_renorm` corrects toward its running statistics; with wild ones the second layer would see wild inputs."""
    run = trained(model={"norm": "batch_renorm(warmup_steps=0)"})
    found: list[dict[str, Tensor]] = []
    for _ in range(2):
        with torch.no_grad(), using_recomputed_statistics(run.subject, 48):
            found.append(floats(run.items["block2.batch_renorm"]))
        run.items["block1.batch_renorm"].running_mean.fill_(7.0)
        run.items["block1.batch_renorm"].running_std.fill_(30.0)
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value)


def test_recomputed_statistics_replace_what_is_not_finite(trained: MakeRun) -> None:
    run = trained()
    run.items["block1.bn"].running_mean.fill_(torch.nan)
    with torch.no_grad(), using_recomputed_statistics(run.subject, 48) as forward:
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
    attributes = ("training", "momentum", "corrects", "noisy", "splits", "_forward_pre_hooks")
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
    contexts = (lambda: using_batch_statistics(run.subject), lambda: using_recomputed_statistics(run.subject, 40))
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


def test_a_single_value_has_no_unbiased_variance() -> None:
    with pytest.raises(ValueError, match="found moments of 1 value; expected 2 or more"):
        statistics_from(nn.BatchNorm1d(3), batch_moments(torch.ones(1, 3)))
