"""Folded networks compute what the unfolded ones do at inference, in float64, and what cannot be folded says why."""

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from bnexp.config.layout import Layout, layout_of
from bnexp.config.model import ModelConfig
from bnexp.config.schema import PlainInit
from bnexp.inspection.folding import affine_at_inference, fold_norms, folds_of
from bnexp.measure.restore import copy_of_weights
from bnexp.models.build import build_model
from bnexp.norms.batch_norm import batch_norm

SHAPE, CLASSES = (2, 8, 8), 3
MLP = {"arch": "mlp", "hidden": [12, 8], "block": "linear -> norm -> act", "norm": "bn", "activation": "relu"}
CNN = {"arch": "cnn", "stages": [4, 6], "block": "conv -> norm -> act", "norm": "bn", "activation": "tanh"}
RESNET = {
    "arch": "resnet",
    "stages": [1, 1],
    "width": 4,
    "shortcut": "projection",
    "block": "conv -> norm -> act -> conv -> norm -> add -> act",
    "norm": "bn",
    "activation": "relu",
}


def layout(model: dict[str, Any]) -> Layout:
    return layout_of(TypeAdapter(ModelConfig).validate_python(model), SHAPE, CLASSES)


def images(seed: int, count: int = 16) -> Tensor:
    return 3 + 2 * torch.randn(count, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def network(model: dict[str, Any]) -> nn.Module:
    """Return a network in float64 whose norms have seen batches, and have learned a gamma and beta."""
    made = build_model(layout(model), PlainInit(scheme="torch"), 0).double()
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape, dtype=torch.float64, generator=generator) / 2)
        for seed in range(3):
            made(images(seed))
    return made


@pytest.mark.parametrize(
    "model",
    [
        MLP,
        {**MLP, "bias": True},
        {**MLP, "block": "linear(weight_norm=true) -> norm -> act"},
        {**MLP, "block": "linear -> dropout -> norm -> act"},
        CNN,
        {**CNN, "pool": "stride", "block": "conv -> act -> conv(weight_std=true) -> norm -> bn"},
        {**CNN, "pool": "stride", "block": "norm -> act -> conv"},
        RESNET,
        {**RESNET, "skip_gain": True},
        {**RESNET, "block": "norm -> act -> conv -> norm -> act -> conv -> add"},
        *({**CNN, "norm": norm} for norm in ("ghost_bn(size=8)", "sync_bn", "noisy_bn", "batch_renorm", "vn")),
        *({**CNN, "norm": norm} for norm in ("bn(affine=false)", "bn(frozen=both)", "bn(eps=0.1)")),
    ],
    ids=lambda model: f"{model['arch']}: {model['block']}, {model['norm']}",
)
def test_the_same_function_without_the_norms(model: dict[str, Any]) -> None:
    whole = network(model)
    before = copy_of_weights(whole)
    result = fold_norms(whole, layout(model))
    folds = [fold for fold in folds_of(layout(model)) if fold.layer]
    assert folds
    assert all(isinstance(result.get_submodule(fold.norm), nn.Identity) for fold in folds)
    assert whole.training
    assert all(torch.equal(before[name], tensor) for name, tensor in copy_of_weights(whole).items())
    x = images(7, 5)
    with torch.no_grad():
        torch.testing.assert_close(result(x), whole.eval()(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("model", [MLP, CNN, RESNET])
def test_a_network_of_the_same_config_without_norms_takes_the_folded_weights(model: dict[str, Any]) -> None:
    whole = network(model)
    plain = build_model(layout({**model, "norm": "none", "bias": True}), PlainInit(scheme="torch"), 1).double()
    plain.load_state_dict(fold_norms(whole, layout(model)).state_dict())
    with torch.no_grad():
        torch.testing.assert_close(plain.eval()(images(8)), whole.eval()(images(8)), rtol=1e-10, atol=1e-10)


def test_weights_and_bias_follow_the_formula() -> None:
    whole = network({**MLP, "bias": True})
    linear, bn = whole.get_submodule("block1.linear"), whole.get_submodule("block1.bn")
    result = fold_norms(whole, layout({**MLP, "bias": True})).get_submodule("block1.linear")
    for unit in range(12):
        factor = bn.weight[unit].item() / (bn.running_var[unit].item() + 1e-5) ** 0.5
        expected = bn.bias[unit].item() + (linear.bias[unit].item() - bn.running_mean[unit].item()) * factor
        assert result.bias[unit].item() == pytest.approx(expected, rel=1e-12)
        assert result.weight[unit, 0].item() == pytest.approx(factor * linear.weight[unit, 0].item(), rel=1e-12)


def test_a_fresh_norm_has_almost_the_scale_1() -> None:
    options = TypeAdapter(ModelConfig).validate_python(MLP).items[1].options
    scale, shift = affine_at_inference(batch_norm((2,), options))
    assert scale.tolist() == pytest.approx([1 / 1.00001**0.5] * 2, rel=1e-12)
    assert shift.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("model", "norm", "reason"),
    [
        ({**MLP, "block": "linear -> act -> norm"}, "block1.bn", "comes after relu, which is not linear"),
        ({**MLP, "block": "norm -> linear -> act"}, "block1.bn", "takes the input of the network"),
        ({**MLP, "norm": "ln"}, "block1.ln", "takes the statistics of each example"),
        ({**MLP, "block": "linear -> dyt -> act", "norm": None}, "block1.dyt", "is not linear at inference either"),
        ({**MLP, "norm": "ln", "block": "linear -> norm -> bn -> act"}, "block1.bn", "comes after block1.ln"),
        ({**CNN, "block": "norm -> act -> conv"}, "stage2.block1.bn", "comes after stage1.pool"),
        ({**RESNET, "block": "norm -> act -> conv -> add"}, "stage1.block1.bn", "takes what the shortcut takes, too"),
        ({**RESNET, "block": "conv -> add -> norm -> act"}, "stage1.block1.bn", "takes the sum of branch and shortcut"),
        ({**RESNET, "block": "norm -> act -> conv -> add"}, "final.bn", "takes the sum of branch and shortcut"),
    ],
)
def test_what_stays_says_why(model: dict[str, Any], norm: str, reason: str) -> None:
    (fold,) = [fold for fold in folds_of(layout(model)) if fold.norm == norm]
    assert fold.layer is None
    assert reason in fold.reason
    assert not isinstance(fold_norms(network(model), layout(model)).get_submodule(norm), nn.Identity)
