"""What several tests of lessons need: a matrix of one's own, in a file."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch


@pytest.fixture
def write_matrix(tmp_path: Path) -> Callable[[Sequence[Sequence[float]]], Path]:
    """Return what writes rows of numbers to `own.csv`, to their last digit, and returns its path."""

    def write(rows: Sequence[Sequence[float]]) -> Path:
        path = tmp_path / "own.csv"
        path.write_text("".join(",".join(map(repr, row)) + "\n" for row in rows))
        return path

    return write


@pytest.fixture
def near() -> Callable[[object, torch.Tensor], None]:
    """Return what asserts that numbers of a lesson are those of a tensor, but for rounding."""

    def assert_near(found: object, expected: torch.Tensor) -> None:
        torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), expected.detach(), rtol=1e-9, atol=1e-12)

    return assert_near
