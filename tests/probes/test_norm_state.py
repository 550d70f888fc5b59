"""The state of the norms against direct computation."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bnexp.blueprint import draw
from bnexp.config.items import NORM_NAMES
from bnexp.config.probes_section import ProbeSchedule
from bnexp.config.schema import Config
from bnexp.measure.subject import Look, Subject
from bnexp.norms.shapes import moments
from bnexp.norms.statistics import example_variances, running_moments
from bnexp.probes.norm_state import NEAR_ZERO, NormState
from bnexp.training.build import build
from kernels import kernels_of

MakeConfig = Callable[..., Config]
SIZES = {"gn": "(groups=2)", "ghost_bn": "(size=4)", "evonorm_s0": "(groups=2)"}


def run_with(make_config: MakeConfig, norm: str):
    return build(draw(make_config(model={"norm": norm}), Path("unused")), data_dir=Path("unused"), device="cpu")


def looked_at(run, x: Tensor) -> dict[str, float]:
    probe = NormState(ProbeSchedule(every=1))
    look = Look(run.subject, 1, 0.1, x, torch.zeros(len(x), dtype=torch.int64))
    probe.before(look)
    run.network(x)
    return {name: value.item() for name, value in probe.after_backward(look).scalars.items()}


def test_running_statistics_are_compared_with_those_of_a_batch_they_have_not_seen(make_config: MakeConfig) -> None:
    run = run_with(make_config, "bn")
    norm, x = run.items["block1.bn"], run.batches.at(0)[0]
    with torch.no_grad():
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
        before = norm.running_mean.clone(), norm.running_var.sqrt()
        z = run.items["block1.linear"](x.flatten(1))
    found = looked_at(run, x)
    std = z.std(dim=0, correction=1)
    assert found["running_mean_distance/block1.bn"] == pytest.approx(
        ((before[0] - z.mean(dim=0)).abs() / std).mean().item(), rel=1e-4
    )
    assert found["running_std_distance/block1.bn"] == pytest.approx(
        ((before[1] - std).abs() / std).mean().item(), rel=1e-4
    )
    assert norm.num_batches_tracked == 1


def test_gamma_and_beta_are_summed_up_over_the_features(make_config: MakeConfig) -> None:
    run = run_with(make_config, "bn")
    norm = run.items["block2.bn"]
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.009, -0.009, 0.011, 1.0, 2.0, -3.0, 0.5, 0.5]))
        norm.bias.copy_(torch.arange(8) - 2.0)
    found = looked_at(run, run.batches.at(0)[0])
    assert found["gamma_near_zero/block2.bn"] == 0.25
    assert (found["gamma_min/block2.bn"], found["gamma_max/block2.bn"]) == (-3, 2)
    assert found["gamma_mean/block2.bn"] == pytest.approx(norm.weight.mean().item())
    assert [found[f"beta_{what}/block2.bn"] for what in ("min", "mean", "max")] == [-2, 1.5, 5]


@pytest.mark.parametrize(
    ("norm", "expected"),
    [("bn", 3 / 12), ("ln", 0.0), ("gn(groups=4)", 1 / 4)],
)
def test_eps_dominates_where_a_variance_is_below_it(make_config: MakeConfig, norm: str, expected: float) -> None:
    """Three features hardly vary: they are a quarter of the features, and one of the four groups of each example."""
    run = run_with(make_config, norm)
    with torch.no_grad():
        run.items["block1.linear"].weight[:3] *= 1e-6
        if run.items["block1.linear"].bias is not None:
            run.items["block1.linear"].bias[:3] = 0
    name = f"eps_dominates/block1.{norm.split('(')[0]}"
    assert looked_at(run, run.batches.at(0)[0])[name] == pytest.approx(expected)


def test_channels_of_images_are_taken_over_batch_and_positions() -> None:
    x = torch.randn(5, 3, 4, 4, dtype=torch.float64)
    mean, var = moments(x, [0, 2, 3])
    torch.testing.assert_close(mean, x.transpose(0, 1).flatten(1).mean(dim=1))
    torch.testing.assert_close(var, x.transpose(0, 1).flatten(1).var(dim=1, correction=0))


@pytest.mark.parametrize("norm", [name for name in NORM_NAMES if name != "in"])
def test_every_norm_says_what_it_has(make_config: MakeConfig, norm: str) -> None:
    run = run_with(make_config, norm + SIZES.get(norm, ""))
    found = looked_at(run, run.batches.at(0)[0])
    module = run.items[f"block1.{norm}"]
    quantities = {name.split("/")[0] for name in found}
    assert ("gamma_mean" in quantities) == (getattr(module, "weight", None) is not None)
    assert ("running_std_distance" in quantities) == any(
        name.startswith("running") for name, _ in module.named_buffers()
    )
    assert all(abs(value) < 1e6 for value in found.values())


def test_a_feature_that_does_not_vary_has_no_distance_and_counts_for_nothing(make_config: MakeConfig) -> None:
    run = run_with(make_config, "bn")
    with torch.no_grad():
        run.items["block1.linear"].weight[4:] = 0  # what comes into the norm is 0 for every example
        z = run.items["block1.linear"](run.batches.at(0)[0].flatten(1))[:, :4]
    found = looked_at(run, run.batches.at(0)[0])
    std = z.std(dim=0, correction=1)
    assert found["running_mean_distance/block1.bn"] == pytest.approx(
        (z.mean(dim=0).abs() / std).mean().item(), rel=1e-4
    )
    assert found["running_std_distance/block1.bn"] == pytest.approx(((1 - std).abs() / std).mean().item(), rel=1e-4)
    assert found["eps_dominates/block1.bn"] == pytest.approx(8 / 12)


CNN = {"arch": "cnn", "stages": [[6], [6]], "block": "conv -> norm -> act", "hidden": None}


@pytest.mark.parametrize(
    ("norm", "dims"), [("bn", (0, 2, 3)), ("ln", (1, 2, 3)), ("ln_c", (1,)), ("in", (2, 3)), ("gn(groups=2)", None)]
)
def test_on_feature_maps_each_norm_takes_the_variances_that_it_normalizes(
    make_config: MakeConfig, norm: str, dims: tuple[int, ...] | None
) -> None:
    config = make_config(
        model={**CNN, "norm": norm}, data={"synthetic": {"shape": [2, 6, 6], "classes": 4, "size": 100}}
    )
    run = build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")
    module = run.items[f"stage1.block1.{norm.split('(')[0]}"]
    with torch.no_grad():
        z = run.items["stage1.block1.conv"](run.batches.at(0)[0])
    variances = z.view(len(z), 2, -1).var(dim=2, correction=0) if dims is None else z.var(dim=dims, correction=0)
    module.eps = variances.median().item()  # half of them lie below
    found = looked_at(run, run.batches.at(0)[0])[f"eps_dominates/stage1.block1.{norm.split('(')[0]}"]
    assert found == pytest.approx((variances < module.eps).float().mean().item(), abs=2 / variances.numel())
    assert 0 < found < 1


UNLIKE = (
    "linear -> bn -> rms -> ln(affine=false) -> gn(groups=2) -> bn(eps=0.1) -> bn(frozen=statistics) -> evonorm_b0 "
    "-> ghost_bn(size=4) -> batch_renorm -> frn -> dyt"
)


def one_by_one(subject: Subject, inputs: dict[str, Tensor], running: dict[str, dict[str, Tensor]]) -> dict[str, float]:
    """Return the figures of each norm by itself, in float64, from its input and the running statistics before it."""
    figures = dict[str, float]()
    for name, x in inputs.items():
        norm, kind = subject.items[name], subject.placed[name].item.kind
        for parameter, what in (("weight", "gamma"), ("bias", "beta")):
            values = getattr(norm, parameter, None)
            if values is not None:
                summed_up = {"mean": values.double().mean(), "min": values.min(), "max": values.max()}
                figures |= {f"{what}_{quantity}/{name}": value.item() for quantity, value in summed_up.items()}
                if what == "gamma":
                    figures[f"gamma_near_zero/{name}"] = (values.abs() < NEAR_ZERO).double().mean().item()
        of_batch = kind.batch_statistics or running[name]
        var = x.var(dim=0, correction=0) if of_batch else example_variances(subject.placed[name].item, x)
        if var is not None and kind.over != "none":
            figures[f"eps_dominates/{name}"] = (var < norm.eps).double().mean().item()
        mean, std = x.mean(dim=0), x.std(dim=0)
        for quantity, batch in (("mean", mean), ("std", std)):
            if quantity in running[name]:
                distance = ((running[name][quantity] - batch).abs() / std)[std > 1e-5 * mean.abs()].mean()
                figures[f"running_{quantity}_distance/{name}"] = distance.item()
    return figures


def test_norms_that_are_measured_together_have_the_figures_of_each_by_itself(make_config: MakeConfig) -> None:
    config = make_config(model={"hidden": [12, 8, 8], "block": UNLIKE, "norm": None, "activation": None})
    run = build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")
    norms = {name: run.items[name] for name, placed in run.subject.placed.items() if placed.item.kind.role == "norm"}
    drawn = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for norm in norms.values():
            for values in [*norm.parameters(), *norm.buffers()]:
                some = torch.rand(values.shape, generator=drawn)
                values.copy_(some.where(some > 0.2, 0.005))
    inputs, running = dict[str, Tensor](), {name: running_moments(norm) for name, norm in norms.items()}
    for name, norm in norms.items():
        norm.register_forward_pre_hook(lambda _, given, name=name: inputs.update({name: given[0].detach().double()}))
    found = looked_at(run, run.batches.at(0)[0])
    expected = one_by_one(run.subject, inputs, running)
    assert list(found) == list(expected)
    assert found == pytest.approx(expected, rel=1e-4)
    assert len(found) > 3 * 60


def kernels_of_a_look(make_config: MakeConfig, blocks: int) -> int:
    """Return how many operations a look at a network of so many blocks has."""
    config = make_config(model={"hidden": [8] * blocks})
    run = build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")
    probe, look = NormState(ProbeSchedule(every=1)), Look(run.subject, 1, 0.1, *run.batches.at(0))
    before = kernels_of(lambda: probe.before(look))
    run.network(look.x)
    return before + kernels_of(lambda: probe.after_backward(look))


def test_a_norm_more_of_the_same_width_costs_its_moments_and_copies_alone(make_config: MakeConfig) -> None:
    few, many = (kernels_of_a_look(make_config, blocks) for blocks in (4, 8))
    assert few <= 60
    assert many - few == 4 * 6
