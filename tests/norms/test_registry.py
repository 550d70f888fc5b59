"""What the norms of the block notation build: torch's modules, with the options that were written."""

import pytest
import torch
from torch import nn

from bnexp.config.block import parse_item
from bnexp.config.items import NORM_NAMES
from bnexp.norms import reference
from bnexp.norms.registry import NORMS, build_norm


def test_the_registry_has_exactly_the_declared_names():
    assert set(NORMS) == set(NORM_NAMES)


def test_bn_without_options_is_torchs_batch_norm_with_torchs_defaults():
    built, default = build_norm(parse_item("bn"), (6,)), nn.BatchNorm1d(6)
    assert type(built) is nn.BatchNorm1d
    assert built.extra_repr() == default.extra_repr()


def test_ln_without_options_is_torchs_layer_norm_with_torchs_defaults():
    built, default = build_norm(parse_item("ln"), (6,)), nn.LayerNorm(6)
    assert isinstance(built, nn.LayerNorm)
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(built(x), default(x))
    assert built.extra_repr() == default.extra_repr()


def test_feature_maps_get_the_modules_of_feature_maps():
    bn, ln = build_norm(parse_item("bn"), (6, 4, 3)), build_norm(parse_item("ln"), (6, 4, 3))
    assert type(bn) is nn.BatchNorm2d
    assert bn.num_features == 6
    assert ln.normalized_shape == (6, 4, 3)


@pytest.mark.parametrize("affine", ["true", "false"])
def test_the_options_of_bn_reach_the_module(affine):
    built = build_norm(parse_item(f"bn(momentum=0.01, eps=1e-3, affine={affine})"), (6,))
    assert (built.num_features, built.momentum, built.eps, built.affine) == (6, 0.01, 1e-3, affine == "true")
    assert sum(parameter.numel() for parameter in built.parameters()) == (12 if affine == "true" else 0)


@pytest.mark.parametrize("affine", ["true", "false"])
def test_the_options_of_ln_reach_the_module(affine):
    built = build_norm(parse_item(f"ln(eps=1e-3, affine={affine})"), (6,))
    assert (built.normalized_shape, built.eps, built.elementwise_affine) == ((6,), 1e-3, affine == "true")
    assert sum(parameter.numel() for parameter in built.parameters()) == (12 if affine == "true" else 0)


def test_a_built_norm_computes_the_formula_of_the_reference():
    x = torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    one, zero = torch.ones(6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
    bn = build_norm(parse_item("bn(momentum=0.3, eps=0.5)"), (6,)).double()
    batch = reference.batch_norm_train(x, one, zero, eps=0.5)
    torch.testing.assert_close(bn(x).detach(), batch.y)
    mean, var = reference.batch_norm_running(zero, one, batch, batch_size=8, momentum=0.3)
    torch.testing.assert_close((bn.running_mean, bn.running_var), (mean, var))
    ln = build_norm(parse_item("ln(eps=0.5)"), (6,)).double()
    torch.testing.assert_close(ln(x).detach(), reference.layer_norm(x, one, zero, eps=0.5).y)
