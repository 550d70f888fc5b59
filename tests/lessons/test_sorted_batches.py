"""Batches of one class: what told the classes apart is subtracted."""

import pytest
import torch
from torch import nn

from bnexp.lessons.sorted_batches import batches_of_one_class, normalized


def test_each_batch_is_normalized_by_itself() -> None:
    batches = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 4 + 1
    for batch, y in zip(batches, normalized(batches), strict=True):
        expected = nn.BatchNorm1d(1, dtype=torch.float64)(batch[:, None]).detach().flatten()
        torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("seed", range(4))
def test_classes_are_apart_in_mixed_batches_only(seed: int) -> None:
    numbers = {
        key: value
        for part in batches_of_one_class(torch.Generator().manual_seed(seed))
        for key, value in part.numbers.items()
    }
    mixed, of_one_class = numbers["sorted_batches"]  # type: ignore[misc]
    assert mixed["told apart by the sign"] > 0.999
    assert mixed["mean of B"] == pytest.approx(-mixed["mean of A"])
    # Of the variance, 2^2 is between the classes and 0.5^2 within them.
    assert mixed["mean of B"] == pytest.approx(2 / (2**2 + 0.5**2) ** 0.5, abs=0.01)
    assert of_one_class["told apart by the sign"] == pytest.approx(0.5, abs=0.03)
    assert of_one_class["mean of A"] == pytest.approx(0, abs=1e-12)
    assert numbers["variance_within"] == pytest.approx(0.5**2, rel=0.1)
    assert numbers["variance_mixed"] == pytest.approx((2**2 + 0.5**2) * 32 / 31, rel=0.1)
    assert numbers["means_at_inference"] == pytest.approx([-4, 4], rel=0.1)
