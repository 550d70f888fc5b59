"""The thresholded linear unit against max(x, tau)."""

import pytest
import torch

from bnexp.models.activations import thresholded_linear_unit


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(6,), (6, 3, 2)], ids=str)
def test_each_feature_has_a_threshold_of_its_own(shape):
    unit, x = thresholded_linear_unit(shape).double(), draw(5, *shape)
    torch.testing.assert_close(unit(x).detach(), x.clamp_min(0))
    with torch.no_grad():
        unit.tau.copy_(draw(6, seed=1))
    for feature in range(6):
        expected = x[:, feature].clamp_min(unit.tau[feature].item())
        assert torch.equal(unit(x)[:, feature].detach(), expected)


def test_the_threshold_learns_from_what_it_cuts_off():
    unit, x = thresholded_linear_unit((2,)).double(), torch.tensor([[1.0, -1.0], [-2.0, -3.0]]).double()
    unit(x).sum().backward()
    assert unit.tau.grad.tolist() == [1, 2]
    assert torch.autograd.gradcheck(unit, (draw(4, 2).requires_grad_(),))
