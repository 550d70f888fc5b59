"""`layernorm`: one's own matrix against torch, and the claims as properties."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from bnexp.document.terminal import to_text
from bnexp.errors import ConfigError
from bnexp.lessons.layer_norm import lesson
from bnexp.lessons.request import LessonOptions, request_of


def taught(**words: object) -> dict:
    return lesson(request_of("layernorm", LessonOptions(**words))).numbers


@pytest.mark.parametrize("examples", [2, 3, 40])
def test_ones_own_matrix_is_what_torch_makes_of_it(examples: int, near: Callable, write_matrix: Callable) -> None:
    x = 5 * torch.randn(examples, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(examples)) + 2
    path = write_matrix(x.tolist())
    numbers = taught(input=path, gamma="1.5,1,0.5", beta="0.5,0,-0.5", eps=1e-3)

    module = nn.LayerNorm(3, eps=1e-3, dtype=torch.float64)
    module.load_state_dict({"weight": torch.tensor([1.5, 1, 0.5]), "bias": torch.tensor([0.5, 0, -0.5])})
    leaf = x.clone().requires_grad_()
    y = module(leaf)
    y[0, 0].backward()
    near(numbers["statistics"]["mean"], x.mean(1))
    near(numbers["statistics"]["var"], x.var(1, unbiased=False))
    near(numbers["y"], y)
    assert leaf.grad is not None
    near(numbers["grad_x"], leaf.grad)
    near(numbers["grad_gamma"], module.weight.grad)
    near(numbers["grad_beta"], module.bias.grad)
    assert numbers["difference_to_torch"] < 1e-12


@pytest.mark.parametrize("example", ["000", "002"])
def test_examples_that_differ_in_mean_alone_come_out_the_same_and_that_is_said(example: str, near: Callable) -> None:
    one = lesson(request_of("layernorm", LessonOptions(example=example)))
    rows = torch.tensor(one.numbers["x_hat"], dtype=torch.float64)
    near(one.numbers["x_hat"], rows[:1].expand_as(rows))
    assert "All rows are the same now" in to_text(one)


def test_rows_that_stay_apart_are_not_called_the_same(write_matrix: Callable) -> None:
    one = lesson(request_of("layernorm", LessonOptions(input=write_matrix([[1, 2, 3], [3, 2, 2]]))))
    assert "All rows are the same" not in to_text(one)
    assert one.numbers["rows_apart"]["layer_norm"] > 1


def test_companions_and_the_size_of_the_batch_change_nothing() -> None:
    numbers = taught()
    assert numbers["change_by_companions"]["layer_norm"] == 0
    assert numbers["change_by_companions"]["batch_norm"] > 0.01
    assert numbers["alone_against_in_the_batch"] == 0


def test_shift_and_scale_are_forgotten_but_for_eps_and_a_large_feature_stays_large(near: Callable) -> None:
    fine, coarse = taught(eps=1e-12), taught(eps=0.1)
    assert fine["difference_by_shift_and_scale"] < 1e-10 < coarse["difference_by_shift_and_scale"]
    of_input, by_batch, by_layer = torch.tensor(taught()["mean_of_each_feature"], dtype=torch.float64)
    near(by_batch.tolist(), torch.zeros(4, dtype=torch.float64))
    assert torch.equal(by_layer.argsort(), of_input.argsort())


def test_the_gradient_reaches_the_first_example_alone_and_sums_to_0(near: Callable) -> None:
    numbers = taught()
    grad_x = torch.tensor(numbers["grad_x"], dtype=torch.float64)
    assert torch.count_nonzero(grad_x[1:]) == 0
    assert grad_x[0].abs().max() > 0.05
    near(grad_x.sum(dim=1).tolist(), torch.zeros(len(grad_x), dtype=torch.float64))
    assert all(one["batch norm"] > 0 for one in numbers["reached_by_the_gradient"])


def test_the_sum_of_the_outputs_has_a_gradient_only_where_gammas_differ() -> None:
    assert taught()["largest_gradient_of_the_sum"] < 1e-12
    assert "largest_gradient_of_the_sum" not in taught(gamma="1,2,3,4")


def test_an_example_without_variance_is_named(write_matrix: Callable) -> None:
    path = write_matrix([[1, 2, 3], [4, 4, 4]])
    assert "All features alike: example 2." in to_text(lesson(request_of("layernorm", LessonOptions(input=path))))
    path = write_matrix([[1, 1, 1], [4, 4, 4]])
    assert "No example has any variance" in to_text(lesson(request_of("layernorm", LessonOptions(input=path))))


def test_a_single_column_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("height\n1\n2\n")
    with pytest.raises(
        ConfigError,
        match=r"\(line 1 names the columns\): one column, height: .* beta, whatever .* at least 2 col",
    ):
        taught(input=path)
