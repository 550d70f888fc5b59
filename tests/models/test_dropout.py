"""Dropout: its formula, and a stream of random numbers that nothing else moves."""

import copy
import io

import pytest
import torch
from torch import nn

from bnexp.config.block import parse_block
from bnexp.config.layout import place_block
from bnexp.models.dropout import Dropout
from bnexp.models.network import build_block


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_units_are_dropped_or_divided_by_what_is_kept(p):
    x = torch.linspace(1, 2, 1000, dtype=torch.float64).view(10, 100)
    y = Dropout(p, seed=0)(x)
    dropped = y == 0
    torch.testing.assert_close(y[~dropped], x[~dropped] / (1 - p))
    assert 0 < dropped.sum() < x.numel()


@pytest.mark.parametrize("p", [0.1, 0.3, 0.9])
def test_in_bf16_what_is_kept_is_the_formula_rounded_once(p):
    x = torch.linspace(1, 2, 1000, dtype=torch.bfloat16)
    y = Dropout(p, seed=0)(x)
    kept = y != 0
    assert 0 < kept.sum() < 1000
    assert torch.equal(y[kept], (x[kept].double() / (1 - p)).bfloat16())


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_share_dropped_is_p_and_the_mean_is_kept(p):
    count = 200_000
    y = Dropout(p, seed=3)(torch.ones(count, dtype=torch.float64))
    # Five standard deviations of a mean of `count` Bernoulli variables.
    tolerance = 5 * (p * (1 - p) / count) ** 0.5
    assert (y == 0).double().mean().item() == pytest.approx(p, abs=tolerance)
    assert y.mean().item() == pytest.approx(1, abs=tolerance / (1 - p))


def test_units_are_dropped_independently_and_anew_each_time():
    dropout = Dropout(0.5, seed=0)
    first, second = (dropout(torch.ones(400, 50)) == 0 for _ in range(2))
    for one, other in ((first, second), (first[:, :25], first[:, 25:]), (first[:200], first[200:])):
        assert (one == other).double().mean().item() == pytest.approx(0.5, abs=0.04)


def test_the_gradient_goes_through_the_units_that_are_kept():
    x = torch.ones(100, requires_grad=True)
    y = Dropout(0.25, seed=0)(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())


@pytest.mark.parametrize(("p", "training"), [(0.5, False), (0.0, True)])
def test_at_inference_and_without_p_the_input_goes_through_and_nothing_is_drawn(p, training):
    dropout = Dropout(p, seed=0).train(training)
    x = torch.randn(4, 5)
    assert torch.equal(dropout(x), x)
    assert dropout.get_extra_state() is None


def test_its_stream_and_torchs_do_not_move_each_other():
    ones, undisturbed = torch.ones(50), Dropout(0.5, seed=7)
    expected = [undisturbed(ones) for _ in range(3)]
    disturbed = Dropout(0.5, seed=7)
    state = torch.get_rng_state()
    found = [disturbed(ones)]
    assert torch.equal(torch.get_rng_state(), state)
    torch.randn(17)
    found.append(disturbed(ones))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        found.append(disturbed(ones))
    assert torch.equal(torch.stack(found), torch.stack(expected))


def test_another_seed_is_another_stream():
    ones = torch.ones(200)
    assert not torch.equal(Dropout(0.5, seed=1)(ones), Dropout(0.5, seed=2)(ones))


def masks(norm, seed=0, place="block1"):
    """Return which units the dropout of a block drops in three batches, when the block has this norm."""
    items = parse_block("linear -> norm -> relu -> dropout -> identity -> dropout", norm, None)
    block = build_block(place_block(items, place, (6,), 8), seed)
    dropouts = [module for module in block if isinstance(module, Dropout)]
    return torch.stack([torch.stack([dropout(torch.ones(5, 8)) for dropout in dropouts]) for _ in range(3)])


def test_arms_that_differ_in_norm_drop_the_same_units():
    without = masks("none")
    assert torch.equal(masks("bn"), without)
    assert torch.equal(masks("ln"), without)


def test_two_places_and_two_seeds_drop_different_units():
    first = masks("none")
    assert not torch.equal(first[:, 0], first[:, 1])
    assert not torch.equal(masks("none", place="block2"), first)
    assert not torch.equal(masks("none", seed=1), first)


@pytest.mark.parametrize("drawn_before", [0, 1, 5])
def test_a_state_dict_takes_the_stream_along(drawn_before):
    ones = torch.ones(64)
    original = nn.Sequential(nn.Identity(), Dropout(0.5, seed=7))
    for _ in range(drawn_before):
        original(ones)
    file = io.BytesIO()
    torch.save(original.state_dict(), file)
    file.seek(0)
    resumed = nn.Sequential(nn.Identity(), Dropout(0.5, seed=7))
    resumed(ones)  # draws of its own are forgotten
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(3):
        assert torch.equal(resumed(ones), original(ones))


def test_a_loaded_stream_is_saved_where_it_stands_even_before_the_next_draw():
    ones, original = torch.ones(64), Dropout(0.5, seed=7)
    original(ones)
    halfway, resumed = Dropout(0.5, seed=7), Dropout(0.5, seed=7)
    halfway.set_extra_state(original.get_extra_state())
    resumed.set_extra_state(halfway.get_extra_state())
    assert torch.equal(resumed(ones), original(ones))


def test_a_saved_state_is_a_copy_that_later_draws_do_not_change():
    ones, dropout = torch.ones(64), Dropout(0.5, seed=7)
    dropout(ones)
    saved = dropout.get_extra_state()
    after = [dropout(ones) for _ in range(2)]
    dropout.set_extra_state(saved)
    assert torch.equal(torch.stack([dropout(ones) for _ in range(2)]), torch.stack(after))


def test_a_copy_of_the_module_has_a_stream_of_its_own():
    ones, original = torch.ones(64), Dropout(0.5, seed=7)
    original(ones)
    twin = copy.deepcopy(original)
    ahead = [twin(ones) for _ in range(3)]
    assert torch.equal(torch.stack([original(ones) for _ in range(3)]), torch.stack(ahead))


def test_p_is_shown():
    assert repr(Dropout(0.25, seed=7)) == "Dropout(p=0.25)"
