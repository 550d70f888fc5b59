"""What lessons draw, begin with and compare: against torch, and as properties."""

import pytest
import torch
from torch import nn

from bnexp.lessons.tensors import (
    against_torch,
    first_output,
    initial_parameters,
    largest_difference,
    names_in_words,
    standard_normal,
    symmetric_uniform,
    torch_results,
)


def test_what_is_drawn_has_the_moments_that_are_said() -> None:
    generator = torch.Generator().manual_seed(0)
    normal, uniform = standard_normal(generator, 100, 1000), symmetric_uniform(generator, 100, 1000)
    assert (normal.shape, normal.dtype, uniform.dtype) == ((100, 1000), torch.float64, torch.float64)
    assert (normal.mean().item(), normal.var().item()) == pytest.approx((0, 1), abs=0.02)
    assert uniform.mean().item() == pytest.approx(0, abs=0.01)
    assert -1 <= uniform.min() < -0.99 < 0.99 < uniform.max() < 1


@pytest.mark.parametrize("module", [nn.BatchNorm1d(3), nn.LayerNorm(3), nn.RMSNorm(3)])
def test_parameters_begin_as_those_of_torch(module: nn.Module) -> None:
    for ours, theirs in zip(initial_parameters(3), module.parameters(), strict=False):
        torch.testing.assert_close(ours, theirs.detach().double(), rtol=0, atol=0)


def test_the_gradients_of_a_first_output_are_those_of_autograd() -> None:
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    module = nn.LayerNorm(3, dtype=torch.float64)
    y, grad_x, grad_gamma, grad_beta = torch_results(module, x)
    leaf = x.clone().requires_grad_()
    expected = torch.autograd.grad((module(leaf) * first_output(x)).sum(), [leaf, *module.parameters()])
    for found, other in zip((y, grad_x, grad_gamma, grad_beta), (module(x), *expected), strict=True):
        assert found is not None
        torch.testing.assert_close(found, other)
    assert first_output(x).flatten().tolist() == [1] + [0] * 11


def test_differences_are_relative_to_large_numbers_and_absolute_beside_small_ones() -> None:
    one, hundred = torch.tensor([0.5, 0.0]), torch.tensor([100.0, 1.0])
    assert largest_difference([one], [one + 0.1]) == pytest.approx(0.1)
    assert largest_difference([one, hundred], [one, hundred + 1]) == pytest.approx(0.01)
    assert against_torch("torch.nn.X", [hundred], [hundred]).numbers == {"difference_to_torch": 0}


def test_a_gradient_that_was_not_taken_is_not_overlooked() -> None:
    with pytest.raises(ValueError, match="nothing to compare result 2 with"):
        largest_difference([torch.ones(2)] * 2, [torch.ones(2), None])


def test_of_many_names_the_first_are_said() -> None:
    assert names_in_words("abcdef") == "a, b, c, d, e, f"
    assert names_in_words("abcdefgh") == "a, b, c, d, e, f and 2 more"
