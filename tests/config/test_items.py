from typing import get_args

import pytest
from pydantic import ValidationError

from bnexp.config.items import (
    ACTIVATION_NAMES,
    ITEMS,
    NORM_NAMES,
    ActivationName,
    ItemName,
    LayerName,
    NormName,
)

OPTIONS = [(name, option) for name, kind in ITEMS.items() for option in kind.options.model_fields]


def test_every_declared_name_has_an_entry_and_every_entry_a_declared_name():
    # A Literal of Literals is flattened by get_args.
    assert set(get_args(ItemName)) == set(ITEMS)


@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("layer", get_args(LayerName)),
        ("norm", get_args(NormName)),
        ("activation", get_args(ActivationName)),
        ("dropout", ("dropout",)),
    ],
)
def test_the_role_is_the_list_in_which_the_name_is_declared(role, names):
    assert {name for name, kind in ITEMS.items() if kind.role == role} == set(names)


def test_the_names_to_choose_from_are_the_declared_ones():
    assert get_args(NormName) == NORM_NAMES
    assert get_args(ActivationName) == ACTIVATION_NAMES


def test_only_a_norm_can_cancel_a_bias_or_use_batch_statistics():
    assert {kind.role for kind in ITEMS.values() if kind.cancels_bias or kind.batch_statistics} == {"norm"}


def test_layer_norm_does_not_cancel_a_bias():
    # It subtracts the mean over features, which leaves a difference between the biases of two features.
    assert not ITEMS["ln"].cancels_bias
    assert ITEMS["bn"].cancels_bias


def test_which_norms_cancel_a_bias_use_batch_statistics_or_bend():
    # tests/norms holds the first two against what the modules compute.
    assert {name for name, kind in ITEMS.items() if kind.cancels_bias} == {
        *("bn", "ghost_bn", "sync_bn", "noisy_bn", "in")
    }
    assert {name for name, kind in ITEMS.items() if kind.batch_statistics} == {
        *("bn", "ghost_bn", "batch_renorm", "sync_bn", "noisy_bn", "vn", "evonorm_b0")
    }
    assert {name for name, kind in ITEMS.items() if kind.nonlinear} == {"evonorm_b0", "evonorm_s0", "dyt"}


@pytest.mark.parametrize("name", ITEMS)
def test_every_item_says_what_it_is_and_works_without_options(name):
    assert len(ITEMS[name].summary) <= 100
    assert ITEMS[name].options().model_dump() == ITEMS[name].options.model_validate({}).model_dump()


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_option_has_a_meaning_and_refuses_nonsense(name, option):
    options = ITEMS[name].options
    assert options.model_fields[option].description
    with pytest.raises(ValidationError):
        options.model_validate({option: "nonsense"})


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_no_option_takes_nan(name, option):
    with pytest.raises(ValidationError):
        ITEMS[name].options.model_validate({option: "nan"})


@pytest.mark.parametrize("name", ITEMS)
def test_options_are_frozen_and_closed(name):
    with pytest.raises(ValidationError, match="extra"):
        ITEMS[name].options.model_validate({"nonsense": 1})
    for option in ITEMS[name].options.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(ITEMS[name].options(), option, 1)


@pytest.mark.parametrize("word", ["off", "yes", "1", "True", 1])
def test_only_true_and_false_switch_an_option(word):
    with pytest.raises(ValidationError, match="valid boolean"):
        ITEMS["bn"].options.model_validate({"affine": word})
    for true in ("true", True):
        assert ITEMS["bn"].options.model_validate({"affine": true}).affine is True


def test_the_items_that_draw_are_known():
    assert {name for name, kind in ITEMS.items() if kind.draws} == {"noisy_bn", "dropout"}
