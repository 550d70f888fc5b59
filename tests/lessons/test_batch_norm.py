"""`batchnorm`: one's own matrix against torch, features without variance, and large matrices."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from bnexp.document.lesson_text import to_text
from bnexp.lessons.asking import Words, request_of
from bnexp.lessons.batch_norm import lesson


def taught(**words: object) -> dict:
    return lesson(request_of("batchnorm", Words(**words))).numbers


@pytest.mark.parametrize("examples", [2, 3, 40])
def test_ones_own_matrix_is_what_torch_makes_of_it(examples: int, write_matrix: Callable) -> None:
    x = 5 * torch.randn(examples, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(examples)) + 2
    numbers = taught(input=write_matrix(x.tolist()), gamma="1.5,1,0.5", beta="0.5,0,-0.5", eps=1e-3, momentum=0.25)

    module = nn.BatchNorm1d(3, eps=1e-3, momentum=0.25, dtype=torch.float64)
    parameters = {"weight": torch.tensor([1.5, 1, 0.5]), "bias": torch.tensor([0.5, 0, -0.5])}
    module.load_state_dict(parameters, strict=False)
    leaf = x.clone().requires_grad_()
    y = module(leaf)
    y[0].sum().backward()
    expected = {
        "x": x,
        "mean": x.mean(0),
        "var_biased": x.var(0, unbiased=False),
        "var_unbiased": x.var(0),
        "y": y,
        "grad_x": leaf.grad,
        "grad_gamma": module.weight.grad,
        "grad_beta": module.bias.grad,
        "running_mean": module.running_mean,
        "running_var": module.running_var,
        "y_inference": module.eval()(x),
    }
    for key, value in expected.items():
        assert value is not None
        found = torch.tensor(numbers[key], dtype=torch.float64)
        torch.testing.assert_close(found, value.detach(), rtol=1e-9, atol=1e-12, msg=lambda text, key=key: key + text)
    assert numbers["difference_to_torch"] < 1e-12


def test_a_feature_that_does_not_vary_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("width,height\n3,1\n3,2\n3,4\n")
    text = to_text(lesson(request_of("batchnorm", Words(input=path))))
    assert "Without any variance: width." in text
    assert "height" in text


def test_of_many_rows_and_columns_the_first_are_shown_and_all_are_in_the_json(write_matrix: Callable) -> None:
    path = write_matrix([[(row * column) % 7 + row for column in range(40)] for row in range(50)])
    one = lesson(request_of("batchnorm", Words(input=path)))
    text = to_text(one)
    assert "39 more rows" in text
    assert "24 more columns" in text
    assert max(map(len, text.split("\n"))) <= 100
    assert torch.tensor(one.numbers["y"]).shape == (50, 40)
