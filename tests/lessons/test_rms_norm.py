"""`rmsnorm`: one's own matrix against torch, and the claims as properties."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from bnexp.document.terminal import to_text
from bnexp.errors import ConfigError
from bnexp.lessons.request import LessonOptions, request_of
from bnexp.lessons.rms_norm import lesson


def taught(**words: object) -> dict:
    return lesson(request_of("rmsnorm", LessonOptions(**words))).numbers


@pytest.mark.parametrize("examples", [2, 3, 40])
def test_ones_own_matrix_is_what_torch_makes_of_it(examples: int, near: Callable, write_matrix: Callable) -> None:
    x = 5 * torch.randn(examples, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(examples)) + 2
    path = write_matrix(x.tolist())
    numbers = taught(input=path, gamma="1.5,1,0.5", eps=1e-3)

    module = nn.RMSNorm(3, eps=1e-3, dtype=torch.float64)
    module.load_state_dict({"weight": torch.tensor([1.5, 1, 0.5])})
    leaf = x.clone().requires_grad_()
    y = module(leaf)
    y[0, 0].backward()
    near(numbers["statistics"]["ms"], (x**2).mean(1))
    near(numbers["y"], y)
    assert leaf.grad is not None
    near(numbers["grad_x"], leaf.grad)
    near(numbers["grad_gamma"], module.weight.grad)
    assert numbers["difference_to_torch"] < 1e-12


def test_the_mean_square_is_the_squared_mean_and_the_variance(near: Callable) -> None:
    statistics = {name: torch.tensor(one, dtype=torch.float64) for name, one in taught()["statistics"].items()}
    near(statistics["ms"].tolist(), statistics["mean^2"] + statistics["var"])


def test_it_agrees_with_layer_norm_on_rows_of_mean_0_and_only_there(near: Callable, write_matrix: Callable) -> None:
    assert taught()["difference_on_rows_of_mean_0"] < 1e-12
    numbers = taught(input=write_matrix([[-1, 0, 1], [1, 2, 3]]))
    by_layer, by_rms = torch.tensor(numbers["x_hat_of_both"], dtype=torch.float64).view(2, 2, 3).unbind(1)
    near(by_rms[0].tolist(), by_layer[0])
    assert (by_rms[1] - by_layer[1]).abs().max() > 0.1


def test_a_scale_is_forgotten_by_both_and_a_shift_by_layer_norm_alone() -> None:
    changes = {one["norm"]: list(one.values())[1:] for one in taught(eps=1e-12)["changed_by"]}
    assert max(*changes["layer norm"], changes["RMS norm"][0]) < 1e-10
    assert changes["RMS norm"][1] > 0.1


def test_companions_change_nothing() -> None:
    assert taught()["change_by_companions"]["rms_norm"] == 0 < taught()["change_by_companions"]["batch_norm"]


def test_the_gradient_has_no_part_along_x_but_a_sum() -> None:
    by_layer, by_rms = taught(eps=1e-12)["gradient_of_example_1"]
    assert abs(by_layer["its sum"]) < 1e-12 < 0.1 < abs(by_rms["its sum"])
    assert max(abs(by_layer["along x_hat"]), abs(by_rms["along x_hat"])) < 1e-10


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[0, 0, 0], [1, 2, 3]], "A row of zeros stays one"),
        ([[0, 0, 0], [0, 0, 0]], "A row of zeros stays one"),
        ([[-1, 0, 1], [-2, 0, 2]], "Each row has the mean square"),
    ],
)
def test_what_is_said_of_the_mean_square_holds(rows: list, expected: str, write_matrix: Callable) -> None:
    text = to_text(lesson(request_of("rmsnorm", LessonOptions(input=write_matrix(rows)))))
    assert expected in text
    assert ("Its mean is not 0" in text) == any(sum(row) for row in rows)


def test_beta_is_refused_and_a_single_column_too(write_matrix: Callable) -> None:
    with pytest.raises(ConfigError, match="--beta: the lesson rmsnorm does not take it"):
        taught(beta="1,2,3,4")
    with pytest.raises(ConfigError, match=r"own.csv: one column, x1: .* sign, whatever the input"):
        taught(input=write_matrix([[1], [2]]))
