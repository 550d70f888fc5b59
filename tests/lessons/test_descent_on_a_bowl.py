"""Gradient descent on a bowl: as many steps as the curvatures say, and the bowl that of least squares."""

import pytest
import torch

from bnexp.lessons.descent_on_a_bowl import TARGET, bound_on_steps, hessian_of, steps_of_descent
from bnexp.lessons.whitening import draw_images, prepared


@pytest.mark.parametrize("curvatures", [(1.0, 1.0, 1.0), (1.0, 3.0, 3.0), (0.01, 0.5, 2.0)])
def test_descent_takes_no_more_steps_than_the_bound_and_nearly_as_many(curvatures: tuple) -> None:
    hessian = torch.diag(torch.tensor(curvatures, dtype=torch.float64))
    condition = max(curvatures) / min(curvatures)
    most, taken = bound_on_steps(condition), steps_of_descent(hessian)
    assert taken <= most
    assert taken >= 0.8 * most
    factor = (condition - 1) / (condition + 1)
    assert factor**most <= TARGET * (1 + 1e-9)
    assert most == 1 or factor ** (most - 1) > TARGET


def test_the_bowl_is_that_of_least_squares() -> None:
    points = prepared(draw_images(3), "none")
    parameters = torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def loss(wb: torch.Tensor) -> torch.Tensor:
        return ((points @ wb[:2] + wb[2] - 0.7) ** 2).mean() / 2

    found = torch.autograd.functional.hessian(loss, parameters)
    torch.testing.assert_close(hessian_of(points), found, rtol=1e-9, atol=1e-12)
