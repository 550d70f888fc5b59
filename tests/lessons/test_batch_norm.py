"""`batchnorm`: one's own matrix against torch, features without variance, large matrices, and two articles' numbers."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from bnexp.document.terminal import to_text
from bnexp.lessons.batch_norm import judge, lesson
from bnexp.lessons.request import LessonOptions, request_of


def taught(**words: object) -> dict:
    return lesson(request_of("batchnorm", LessonOptions(**words))).numbers


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
    text = to_text(lesson(request_of("batchnorm", LessonOptions(input=path))))
    assert "Without any variance: width." in text
    assert "height" in text


def test_of_many_rows_and_columns_the_first_are_shown_and_all_are_in_the_json(write_matrix: Callable) -> None:
    path = write_matrix([[(row * column) % 7 + row for column in range(40)] for row in range(50)])
    one = lesson(request_of("batchnorm", LessonOptions(input=path)))
    text = to_text(one)
    assert "39 more rows" in text
    assert "24 more columns" in text
    assert max(map(len, text.split("\n"))) <= 100
    assert torch.tensor(one.numbers["y"]).shape == (50, 40)


def rounded(values: list, digits: int) -> list:
    return [rounded(one, digits) if isinstance(one, list) else f"{one + 0.0:.{digits}f}" for one in values]


def without_negative_zero(values: list) -> list:
    return [
        without_negative_zero(one) if isinstance(one, list) else re.sub(r"^-(0\.0*)$", r"\1", one) for one in values
    ]


def test_of_the_built_in_matrix_something_is_seen_and_no_article_is_judged() -> None:
    numbers = taught()
    x, x_hat = (torch.tensor(numbers[key], dtype=torch.float64) for key in ("x", "x_hat"))
    assert len(x.unique(dim=0)) == len(x_hat.round(decimals=3).unique(dim=0)) == 5  # no two rows alike
    assert not torch.equal(x[:, 0], x[:, 1])
    torch.testing.assert_close(x_hat[:, 0].sort().values, x_hat[:, 1].sort().values, rtol=1e-4, atol=1e-4)
    assert numbers["farthest"] == x_hat.abs().max()
    assert numbers["farthest_possible"] == 2
    assert torch.tensor(numbers["grad_x"]).abs().min() > 2e-4  # it reaches all examples, as is said
    assert "printed" not in numbers


def test_article_000_is_reproduced_to_its_digits() -> None:
    numbers = taught(example="000")
    assert rounded(numbers["mean"], 1) == ["5.0", "6.0", "7.0", "8.0"]
    assert rounded(numbers["var_biased"], 4) == ["10.6667"] * 4
    assert without_negative_zero(rounded(numbers["y"], 4)) == [["-1.2247"] * 4, ["0.0000"] * 4, ["1.2247"] * 4]
    assert {one["verdict"] for one in numbers["printed"]} == {"right"}
    assert len(numbers["printed"]) == 4 + 4 + 12
    assert numbers["minutes_from_mean"] == [-3, 0, 3]


def test_what_the_code_of_article_000_prints_is_named() -> None:
    x = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]], dtype=torch.float64)
    written = (x - x.mean(dim=0, keepdim=True)) / torch.sqrt(x.var(dim=0, keepdim=True) + 1e-5)
    numbers = taught(example="000")
    torch.testing.assert_close(torch.tensor(numbers["y_in_code"], dtype=torch.float64), written, rtol=0, atol=1e-12)
    assert numbers["var_in_code"] == [16.0] * 4
    assert without_negative_zero(rounded(numbers["y_in_code"], 4)) == [
        ["-1.0000"] * 4,
        ["0.0000"] * 4,
        ["1.0000"] * 4,
    ]


def test_article_002_number_by_number() -> None:
    numbers = taught(example="002")
    verdicts = {(one["quantity"], one["feature"]): (one["printed"], one["verdict"]) for one in numbers["printed"]}
    right = {"0.0", "0.5", "-0.5", "-1.112", "0.112"}
    for printed, verdict in verdicts.values():
        assert (verdict == "right") == (printed in right)
    cut = {printed: verdict for printed, verdict in verdicts.values() if verdict.startswith("cut")}
    assert cut == {"-1.224": "cut: -1.225", "1.224": "cut: 1.225"}
    wrong = {printed: verdict for printed, verdict in verdicts.values() if verdict.startswith("wrong")}
    assert wrong == {"-1.336": "wrong: -1.337", "2.336": "wrong: 2.337"}
    # With the digits that the article cut off, its outputs follow: that is what went wrong there.
    assert rounded(numbers["carried_on"], 3) == ["2.336", "1.224", "0.112"]
    assert len(numbers["printed"]) == 18
    assert numbers["gamma"] == [1.5, 1.0, 0.5]
    assert numbers["beta"] == [0.5, 0.0, -0.5]


@pytest.mark.parametrize("words", [{"gamma": "1,1,1"}, {"beta": "0,0,0"}, {"eps": 0.1}])
def test_an_article_is_only_judged_by_its_own_numbers(words: dict) -> None:
    assert "printed" in taught(example="002")
    assert "printed" not in taught(example="002", **words)


@pytest.mark.parametrize(
    ("printed", "computed", "verdict"),
    [
        ("1.2247", 1.22474, "right"),
        ("0.0", -1e-9, "right"),
        ("-1.225", -1.22474, "right"),
        ("1.224", 1.22474, "cut: 1.225"),
        ("-1.224", -1.22474, "cut: -1.225"),
        ("1.226", 1.22474, "wrong: 1.225"),
        ("1.22", 1.2351, "wrong: 1.24"),
        ("-1.2247", 1.22474, "wrong: 1.2247"),
        ("6", 5.4, "wrong: 5"),
    ],
)
def test_a_printed_number_is_right_cut_or_wrong_to_its_own_digits(printed: str, computed: float, verdict: str) -> None:
    assert judge(printed, computed) == verdict
