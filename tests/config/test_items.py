import pytest
from pydantic import ValidationError

from bnexp.config.items import (
    ACTIVATION_NAMES,
    ITEMS,
    NORM_NAMES,
    GroupedOptions,
    ItemKind,
    names_of,
)

OPTIONS = [(name, option) for name, kind in ITEMS.items() for option in kind.options.model_fields]


def test_every_item_has_a_role_and_is_listed_under_it():
    roles = ("layer", "norm", "activation", "dropout", "shortcut")
    assert sorted(name for role in roles for name in names_of(role)) == sorted(ITEMS)
    assert names_of("layer") == ("linear", "conv")
    assert names_of("norm") == NORM_NAMES
    assert names_of("activation") == ACTIVATION_NAMES


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
    assert {name for name, kind in ITEMS.items() if kind.nonlinear} == {"evonorm_b0", "evonorm_s0", "dyt", "derf"}


def test_only_a_norm_has_facts_about_norms():
    plain = ItemKind("layer", "")
    facts = ("over", "subtracts_mean", "corrects", "scale_invariant", "takes_lone_values", "has_activation")
    for name, kind in ITEMS.items():
        if kind.role != "norm":
            assert [getattr(kind, fact) for fact in facts] == [getattr(plain, fact) for fact in facts], name


@pytest.mark.parametrize(
    ("name", "divided", "lone_value"),
    [
        ("bn", None, None),
        ("ln", "each example by its own standard deviation", "give beta, whatever the input"),
        ("ln_c", "each position of each example by its own standard deviation", "give beta, whatever the input"),
        ("gn", "each group of channels of each example by its own standard deviation", "give beta, whatever the input"),
        ("in", "each channel of each example by its own standard deviation", "give beta, whatever the input"),
        ("rms", "each example by its own root mean square", "give gamma times its sign"),
        ("frn", "each channel of each example by its own root mean square", None),
        ("dyt", None, None),
        ("derf", None, None),
    ],
)
def test_the_sentences_follow_from_the_facts(name, divided, lone_value):
    assert (ITEMS[name].divided, ITEMS[name].lone_value) == (divided, lone_value)


def test_exactly_the_norms_over_groups_have_groups():
    names = {name for name, kind in ITEMS.items() if issubclass(kind.options, GroupedOptions)}
    assert names == {name for name, kind in ITEMS.items() if kind.over == "group"} == {"gn", "evonorm_s0"}


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
