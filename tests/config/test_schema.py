import pytest
from pydantic import ValidationError

from bnexp.config.block import BlockError
from bnexp.config.keys import SECTIONS, spots_at
from bnexp.config.loading import check_values
from bnexp.config.model import MlpConfig
from bnexp.config.probes_section import ProbeSchedule, ProbesConfig
from bnexp.config.schema import INIT_SCHEMES, Config
from bnexp.config.section import Section
from bnexp.errors import ConfigError


@pytest.fixture
def model(values):
    return values["model"]


def made(values):
    return check_values(values, {}, "made")


@pytest.mark.parametrize("place", SECTIONS)
def test_every_section_is_closed_frozen_and_described(place):
    spot = SECTIONS[place]
    assert issubclass(spot.section, Section)
    assert spot.section.model_config["extra"] == "forbid"
    assert spot.section.model_config["frozen"]
    assert spot.section.__doc__
    for key, field in spot.section.model_fields.items():
        assert field.description or key == spot.discriminator, f"{spot.key(key)} has no description"


def test_the_described_names_are_the_ones_that_can_be_chosen():
    assert {spot.variant for spot in spots_at(("init",))} == set(INIT_SCHEMES)


def test_a_config_cannot_be_changed(values):
    with pytest.raises(ValidationError, match="frozen"):
        made(values).seed = 1


def test_equal_configs_are_equal_and_hashable(values):
    assert made(values) == made(values)
    assert hash(made(values)) == hash(made(values))
    values["seed"] = 1
    assert made(values).seed == 1


@pytest.mark.parametrize("value", [5e4, 50_000])
def test_a_whole_number_may_be_written_with_an_exponent(values, value):
    values["training"] = {"steps": value}
    steps = made(values).training.steps
    assert steps == 50_000
    assert isinstance(steps, int)


@pytest.mark.parametrize("value", ["64", True, 64.5, None, [64]])
def test_a_whole_number_is_nothing_else(values, value):
    values["data"]["batch_size"] = value
    if value is None:
        assert made(values).data.batch_size == 128
    else:
        with pytest.raises(ConfigError, match="expected a whole number"):
            made(values)


@pytest.mark.parametrize("value", ["0.1", True, float("nan"), float("inf"), -float("inf"), 10**400])
def test_a_number_is_finite_and_no_word(values, value):
    values["optimizer"]["lr"] = value
    with pytest.raises(ConfigError, match=r"optimizer\.lr: expected a"):
        made(values)


@pytest.mark.parametrize("value", ["yes", "false", 0, 1, 1.0])
def test_true_and_false_are_the_only_booleans(values, value):
    for section, key in (("data", "drop_last"), ("data", "download"), ("optimizer", "nesterov")):
        changed = values | {section: values[section] | {key: value}}
        with pytest.raises(ConfigError, match=f"{key}: expected true or false"):
            made(changed)


@pytest.mark.parametrize("word", ["off", "no", "none", False])
@pytest.mark.parametrize("probe", ProbesConfig.model_fields)
def test_a_probe_can_be_turned_off_by_a_word(values, probe, word):
    values["probes"] = {probe: word}
    config = made(values)
    assert getattr(config.probes, probe).off
    assert config.model_dump(mode="json")["probes"][probe] == "off"


def looked_at(schedule, steps_per_epoch=10, steps=1000):
    return [step for step in range(1, steps + 1) if ProbeSchedule(**schedule).looks_at(step, steps_per_epoch)]


def test_a_probe_looks_at_the_steps_that_its_schedule_names():
    assert looked_at({"every": 250}) == [1, 250, 500, 750, 1000]
    assert looked_at({"at": [7, 3, 7]}) == [3, 7]
    assert looked_at({"every_epochs": 0.7}, steps=30) == [7, 14, 21, 28]
    assert looked_at({"every_epochs": 0.01}, steps=5) == [1, 2, 3, 4, 5]
    assert looked_at({"per_decade": 1}) == [1, 10, 100, 1000]
    assert looked_at({"per_decade": 3}) == [1, 2, 5, 10, 22, 46, 100, 215, 464, 1000]
    assert looked_at({"at": [5], "every": 400, "per_decade": 1}) == [1, 5, 10, 100, 400, 800, 1000]
    assert looked_at({"every": 0}) == looked_at({}) == []


@pytest.mark.parametrize("per_decade", [1, 2, 7, 50])
def test_log_spaced_looks_are_the_rounded_powers(per_decade):
    expected = {round(10 ** (power / per_decade)) for power in range(3 * per_decade + 1)}
    assert looked_at({"per_decade": per_decade}) == sorted(expected)


def test_options_of_a_probe_that_never_looks_are_refused(values):
    values["probes"] = {"coupling": {"draws": 3}}
    with pytest.raises(ConfigError, match=r"probes.coupling: draws without a time to look.*every_epochs: 1"):
        made(values)
    values["probes"] = {"coupling": {"draws": 3, "at": [1]}}
    assert made(values).probes.coupling.draws == 3


def test_items_are_the_block_with_its_placeholders_filled(values, model):
    model |= {"block": "linear -> norm -> act", "norm": "none", "activation": "tanh"}
    assert [item.name for item in made(values).model.items] == ["linear", "tanh"]
    model["norm"] = " ln "
    assert [item.name for item in made(values).model.items] == ["linear", "ln", "tanh"]


@pytest.mark.parametrize(
    "change",
    [
        {"block": "linear -> norm"},
        {"block": "linear -> act"},
        {"norm": "bn"},
        {"activation": "relu"},
        {"block": "bn -> relu"},
        {"block": "norm", "norm": "none"},
        {"block": "linear -> norm", "norm": "relu"},
        {"block": "linear -> nonsense"},
        {"hidden": [0]},
        {"bias": "no"},
    ],
)
def test_a_model_that_does_not_fit_together_is_refused(values, model, change):
    model |= change
    with pytest.raises(ConfigError, match=r"model\."):
        made(values)


def test_a_validator_can_rely_on_the_block_being_read(model):
    assert issubclass(BlockError, ValueError)
    with pytest.raises(ValidationError):
        MlpConfig.model_validate(model | {"block": "->"})


def test_a_config_of_only_the_required_keys_is_complete(values):
    config = Config.model_validate(values)
    assert (config.seed, config.schedule.name, config.init.scheme) == (0, "constant", "torch")


def test_zeros_are_refused_where_weights_are_divided_by_their_length(values):
    values["init"], values["model"]["block"] = {"scheme": "zeros"}, "linear(weight_std=true) -> bn -> relu"
    assert made(values).init.scheme == "zeros"
    values["model"]["block"] = "linear(weight_norm=true) -> relu"
    with pytest.raises(ConfigError, match=r"init\.scheme zeros with linear\(weight_norm=true\).*length, 0; expected"):
        made(values)
