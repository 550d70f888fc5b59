"""`instancenorm`: two images against torch, and what is forgotten as properties."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from bnexp.lessons.instance_norm import BETA, GAMMA, lesson
from bnexp.lessons.request import LessonOptions, request_of


def taught(**words: object) -> dict:
    return lesson(request_of("instancenorm", LessonOptions(**words))).numbers


@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_the_images_are_what_torch_makes_of_them(eps: float, near: Callable) -> None:
    numbers = taught(eps=eps)
    x = torch.tensor(numbers["images"], dtype=torch.float64).requires_grad_()
    module = nn.InstanceNorm2d(4, eps=eps, affine=True, dtype=torch.float64)
    module.load_state_dict({"weight": torch.tensor(GAMMA), "bias": torch.tensor(BETA)})
    y = module(x)
    y[0, 0, 0, 0].backward()
    near(numbers["mean"], x.mean(dim=(2, 3)))
    near(numbers["var"], x.var(dim=(2, 3), unbiased=False))
    near(numbers["y"], y)
    assert x.grad is not None
    near(numbers["grad_x"], x.grad)
    assert numbers["difference_to_torch"] < 1e-12


def test_brightness_and_contrast_of_each_channel_are_forgotten_but_for_eps() -> None:
    whole, one = taught(eps=1e-12)["change_of_image_1"]
    assert max(whole["instance norm"], one["instance norm"]) < 1e-10
    assert max(whole["layer norm"], whole["group norm"]) < 1e-10 < 0.1 < min(one["layer norm"], one["group norm"])
    assert min(whole["batch norm"], one["batch norm"]) > 0.1


@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_pooled_it_is_beta_for_every_image_and_under_batch_norm_it_is_not(eps: float, near: Callable) -> None:
    numbers = taught(eps=eps)
    beta = torch.tensor(BETA, dtype=torch.float64)
    rows = torch.tensor(numbers["pooled"], dtype=torch.float64)
    near(rows[2:5].tolist(), beta.expand(3, -1))
    assert numbers["pooled_apart"]["instance_norm"] < 1e-12
    assert numbers["pooled_apart"]["batch_norm"] > 0.1
    assert numbers["pooled_apart"]["instance_norm_relu"] > 0.01
    assert numbers["largest_gradient_of_pooled"] < 1e-12


def test_companions_and_a_bias_change_nothing() -> None:
    numbers = taught()
    assert numbers["alone_against_in_the_batch"] == 0
    assert numbers["change_by_a_bias"] < 1e-12


def test_torchs_module_for_sequences_normalizes_the_rows_of_a_matrix() -> None:
    x = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 9], [9, 1, 1, 2]])
    torch.testing.assert_close(nn.InstanceNorm1d(3)(x), nn.LayerNorm(4, elementwise_affine=False)(x))
