"""Which parameters are decayed, and that the steps are torch's."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from bnexp.config.layout import layout_of
from bnexp.config.schema import AdamConfig, AdamWConfig, Config, SgdConfig
from bnexp.models.build import build_model
from bnexp.training import optimizer as optimizers
from bnexp.training.optimizer import (
    OptimizerConfig,
    build_optimizer,
    load_optimizer_state,
    optimizer_state,
    parameter_groups,
    set_learning_rate,
)


def network_of(config: Config) -> nn.Module:
    return build_model(layout_of(config.model, (1, 4, 4), 4), config.init, 0)


def test_norms_and_biases_are_decayed_only_if_asked(make_config: Callable[..., Config]) -> None:
    network = network_of(make_config(model={"norm": "ln"}))
    weights = {id(m.weight) for m in network.modules() if isinstance(m, nn.Linear)}
    everything = {id(parameter) for parameter in network.parameters()}
    decayed, spared = parameter_groups(network, 0.5, decay_norm_and_bias=False)
    assert {id(p) for p in decayed["params"]} == weights
    assert {id(p) for p in spared["params"]} == everything - weights
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.5, 0.0)
    (all_of_them,) = parameter_groups(network, 0.5, decay_norm_and_bias=True)
    assert {id(p) for p in all_of_them["params"]} == everything


def test_the_gamma_of_ln_on_feature_maps_is_no_weight_whatever_its_dimensions() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.LayerNorm([2, 2, 2]), nn.Flatten(), nn.Linear(8, 3))
    decayed, spared = parameter_groups(network, 0.5, decay_norm_and_bias=False)
    assert [tuple(p.shape) for p in decayed["params"]] == [(2, 1, 3, 3), (3, 8)]
    assert len(spared["params"]) == 4


OPTIMIZERS: list[tuple[OptimizerConfig, Callable[..., torch.optim.Optimizer], dict[str, Any]]] = [
    (SgdConfig(name="sgd", lr=0.05, momentum=0.0), torch.optim.SGD, {"momentum": 0.0}),
    (SgdConfig(name="sgd", lr=0.05, momentum=0.8, nesterov=True), torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
    (AdamConfig(name="adam", lr=0.05, betas=(0.8, 0.95)), torch.optim.Adam, {"betas": (0.8, 0.95)}),
    (AdamWConfig(name="adamw", lr=0.05, eps=1e-5), torch.optim.AdamW, {"eps": 1e-5}),
]


@pytest.mark.parametrize(("config", "reference", "options"), OPTIMIZERS, ids=lambda value: getattr(value, "name", ""))
def test_steps_are_those_of_torchs_plain_optimizer(
    make_config: Callable[..., Config],
    config: OptimizerConfig,
    reference: Callable[..., torch.optim.Optimizer],
    options: dict[str, Any],
) -> None:
    config = config.model_copy(update={"weight_decay": 0.1})
    ours, theirs = (network_of(make_config()).double() for _ in range(2))
    optimizer = build_optimizer(config, ours)
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in theirs.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    plain = reference(groups, lr=config.lr, foreach=False, **options)
    x = torch.randn(8, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        for network, step in ((ours, optimizer), (theirs, plain)):
            step.zero_grad()
            network(x).square().sum().backward()
            step.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


def test_without_decay_all_parameters_are_one_group_in_the_same_order(make_config: Callable[..., Config]) -> None:
    network = network_of(make_config())
    decayed, spared = parameter_groups(network, 0.5, decay_norm_and_bias=False)
    (together,) = parameter_groups(network, 0.0, decay_norm_and_bias=False)
    in_order = [*decayed["params"], *spared["params"]]
    assert all(one is other for one, other in zip(together["params"], in_order, strict=True))
    assert together["weight_decay"] == 0.0


def test_the_learning_rate_reaches_every_group(make_config: Callable[..., Config]) -> None:
    optimizer = build_optimizer(SgdConfig(name="sgd", weight_decay=0.1), network_of(make_config()))
    set_learning_rate(optimizer, 0.0123)
    assert [group["lr"] for group in optimizer.param_groups] == [0.0123, 0.0123]


@pytest.mark.parametrize(("config", "torchs", "options"), OPTIMIZERS, ids=lambda value: getattr(value, "name", ""))
def test_an_optimizer_without_its_wrappers_is_torchs_to_the_bit_and_each_takes_the_state_of_the_other(
    make_config: Callable[..., Config],
    config: OptimizerConfig,
    torchs: Callable[..., torch.optim.Optimizer],
    options: dict[str, Any],
) -> None:
    networks = [network_of(make_config()) for _ in range(2)]
    groups = parameter_groups(networks[1], config.weight_decay, decay_norm_and_bias=False)
    ours, theirs = build_optimizer(config, networks[0]), torchs(groups, lr=config.lr, fused=True, **options)
    assert isinstance(ours, type(theirs))
    x = torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    for exchanged in (False, True):
        if exchanged:
            states = [copy.deepcopy(optimizer.state_dict()) for optimizer in (ours, theirs)]
            for optimizer, state in zip((theirs, ours), states, strict=True):
                optimizer.load_state_dict(state)
        for network, optimizer in zip(networks, (ours, theirs), strict=True):
            for _ in range(3):
                optimizer.zero_grad()
                network(x).square().sum().backward()
                optimizer.step()
        assert all(map(torch.equal, networks[0].parameters(), networks[1].parameters()))


def test_a_step_of_sgd_goes_straight_to_a_kernel_that_torch_may_rename_and_without_it_is_torchs(
    make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A torch that no longer has the kernel, or the mark by which it leaves `step` as it is, fails here."""
    networks, direct = [network_of(make_config()) for _ in range(2)], list[bool]()
    x = torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    for network in networks:
        optimizer = build_optimizer(OPTIMIZERS[1][0], network)
        assert not hasattr(type(optimizer).step, "__wrapped__"), "torch wrapped it in a hook for profilers"
        assert not optimizers._is_profiled(), "nobody listens, or torch cannot say so any more"
        for _ in range(2):
            network(x).square().sum().backward()
            optimizer.step()
        direct.append(optimizers._stepped_on_cpu(optimizer))
        monkeypatch.setattr(optimizers, "_SGD_KERNEL", None)
    assert direct == [True, False]
    optimizer.step()
    assert all(map(torch.equal, networks[0].parameters(), networks[1].parameters()))


def test_a_parameter_that_no_loss_depends_on_has_no_state(make_config: Callable[..., Config]) -> None:
    """Such as one of a norm of one's own: nothing is kept of it, in steps of torch or in those of its kernel."""
    network = network_of(make_config())
    network.register_parameter("idle", nn.Parameter(torch.ones(3)))
    optimizer = build_optimizer(SgdConfig(name="sgd", momentum=0.9, weight_decay=0.1), network)
    for _ in range(3):
        network(torch.ones(5, 1, 4, 4)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    others = [parameter for name, parameter in network.named_parameters() if name != "idle"]
    assert set(optimizer.state) == set(others)
    assert torch.equal(network.idle, torch.ones(3))


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_learning_rate_on_the_device_is_a_number_in_a_checkpoint(
    make_config: Callable[..., Config], name: str
) -> None:
    """As on CUDA: one tensor for all groups, before and after a resume, on which the steps are those of a number."""
    config = make_config(optimizer={"name": name, "lr": 0.1, "weight_decay": 0.01})
    ends, stored = [], {}
    for on_device in (False, True):
        network = network_of(config)
        optimizer = build_optimizer(config.optimizer, network)
        rate: Any = torch.tensor(0.0) if on_device else 0.0
        for group in optimizer.param_groups:
            group["lr"] = rate
        for step in range(4):
            set_learning_rate(optimizer, 2.0**-step)
            network(torch.ones(5, 1, 4, 4)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            if step == 1:
                stored[on_device] = optimizer_state(optimizer)
                load_optimizer_state(optimizer, stored[on_device])
        assert len({id(group["lr"]) for group in optimizer.param_groups if on_device}) <= 1
        ends.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
    assert torch.equal(*ends)
    assert [group["lr"] for group in stored[True]["param_groups"]] == [0.5, 0.5]
    assert repr(stored[True]) == repr(stored[False])
