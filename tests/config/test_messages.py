import re

import pytest

from bnexp.config.keys import SECTIONS, is_known, keys_of, spots_at
from bnexp.config.loading import check_values, load_config
from bnexp.config.messages import MAX_SHOWN
from bnexp.config.schema import Config
from bnexp.errors import ConfigError


def answer(path, *overrides):
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return str(caught.value)


# One table of the answers as a person sees them. Each begins with the origin, which is left out here.
@pytest.mark.parametrize(
    ("override", "expected"),
    [
        # unknown keys: a near one, one that lives elsewhere, one of a sibling, or the list
        ("dta.batch_size=3", 'unknown key dta. Did you mean "data"?'),
        ("data.batchsize=3", 'unknown key data.batchsize. Did you mean "batch_size"?'),
        ("probes.activatons=off", 'unknown key probes.activatons. Did you mean "activations"?'),
        ("probes.activations.evry=1", 'unknown key probes.activations.evry. Did you mean "every"?'),
        ("optimizer.momentm=0.5", 'unknown key optimizer.momentm. Did you mean "momentum"?'),
        ("batch_size=3", 'unknown key batch_size. Did you mean "data.batch_size"?'),
        ("model.epochs=3", 'unknown key model.epochs. Did you mean "training.epochs"?'),
        (
            "optimizer.betas=[0.9, 0.99]",
            "unknown key optimizer.betas. It belongs to optimizer.name: adam or adamw, and this is sgd; null takes it "
            "back.",
        ),
        ("init.xyz=1", "unknown key init.xyz. Known in init: scheme, gain"),
        # missing keys say what they mean
        ("data=null", "data is missing: what is learned from"),
        ("training=null", "--set training=null: training is missing: how long"),
        ("optimizer.lr=", "--set optimizer.lr=: no value after the =; optimizer.lr=null takes the key back"),
        ("model.hidden=null", "model.hidden is missing: width of each hidden layer"),
        ("schedule.name=step", "schedule.milestones is missing: epochs after which"),
        ("optimizer.name=null", "optimizer.name is missing; expected sgd, adam or adamw"),
        ("schedule.warmup_epochs=1", "schedule.name is missing; expected constant, step, cosine or onecycle"),
        # names
        ("data.dataset=mnist6k", 'unknown "mnist6k". Did you mean "mnist5k"? Expected mnist, fashion_mnist, kmnist'),
        ("optimizer.name=sdg", 'unknown "sdg". Did you mean "sgd"? Expected sgd, adam or adamw'),
        ("optimizer.name=3", "unknown 3. Expected sgd, adam or adamw"),
        ("optimizer.name=[sgd]", 'unknown ["sgd"]. Expected sgd, adam or adamw'),
        ("training.precision=true", "unknown true. Expected fp32, tf32, bf16 or fp16"),
        # values of the wrong kind
        ("data.batch_size=many", 'expected a whole number, found "many"'),
        ("data.batch_size=true", "expected a whole number, found true"),
        ("data.batch_size=1.5", "expected a whole number, found 1.5"),
        ("data.batch_size={a: 1}", "expected a whole number, found keys and values"),
        ("optimizer.lr=fast", 'expected a number, found "fast"'),
        ("optimizer.nesterov=yes", 'expected true or false, found "yes"'),
        ("model.bias=no", 'expected auto, true or false, found "no"'),
        ("name=3", 'expected text, found 3; in quotes, "3", it is text'),
        ("model.hidden=64", "expected a list, such as [64], found 64"),
        ("model.hidden={a: 1}", "expected a list, found keys and values"),
        ("model.hidden=[64, x]", 'model.hidden.1: expected a whole number, found "x"'),
        ("data=3", "expected keys and values, such as {dataset: mnist}, found 3"),
        ("optimizer=adam", 'expected keys and values, such as {name: adam}, found "adam"'),
        ("schedule=off", 'expected keys and values, such as {name: constant}, found "off"'),
        ("probes.gradients=10", "expected keys and values, such as {every: 10}, found 10"),
        # nearly right
        ("optimizer.lr='0.1'", 'found "0.1"; without the quotes it is a number, 0.1'),
        ("optimizer.lr=10%", 'found "10%"; 10% is written 0.1'),
        ("optimizer.lr=0,1", 'found "0,1"; a decimal comma is written as a point, 0.1'),
        ("training.epochs=1,000", "without marks between thousands it is 1000"),
        ("optimizer.lr=1,000", "it may be 1 or 1000: write one of these"),
        ("optimizer.lr='1.000,5'", "with a decimal point, and no marks between thousands, it is 1000.5"),
        ("data.batch_size=1.000.000", "without marks between thousands it is 1000000"),
        ("data.batch_size=8,16", 'found "8,16"; one value at a time'),
        ("optimizer.lr=0.1,0.2", "; one value at a time. Several values are a sweep: bnexp sweep "),
        ("optimizer.name=sgd,adam", "--axis optimizer.name=sgd,adam"),
        ("training.epochs=[2, 3]", "--axis 'training.epochs=[2, 3]'"),
        ("data.batch_size=1k", "written out it is 1000"),
        ("data.batch_size=0x10", "in decimal digits it is 16"),
        ("optimizer.lr=017", "without the zero in front it is a number, 17"),
        ("data.batch_size=1_0", "without the _ it is a number, 10"),
        ("optimizer.lr=\u22120.1", "in the signs of a plain keyboard it is -0.1"),
        ("optimizer.lr=\u0660.\u0661", "in the signs of a plain keyboard it is 0.1"),
        ("optimizer.lr=1/8", "nothing is computed here, it is written 0.125"),
        ("optimizer.lr=10^-2", "nothing is computed here: write the number itself"),
        ("data.download=yes", "a switch is written true, without quotes"),
        ("optimizer={lr: 0,1}", "A decimal comma? In a number it is a point, such as 0.1"),
        ("training.epochs=5 epochs", 'found "5 epochs"; a number has no unit here, 5'),
        ("training.epochs=1.5", "found 1.5; training.steps can end within an epoch"),
        ("model.hidden=['${WIDTH}']", "nothing is filled in here, --set takes it from the shell"),
        ("model.hidden='[32, 32]'", 'such as [32, 32] without quotes, found "[32, 32]"'),
        ("model.hidden=[32] * 3", "a product; YAML computes nothing, a list is written out, such as [32, 32, 32]"),
        ("seed=1,2", "several seeds belong to the command: bnexp train FILE --seed 1,2"),
        ("seed=[1, 2]", "several seeds belong to the command"),
        # bounds
        ("data.batch_size=0", "expected at least 1, found 0"),
        ("optimizer.lr=0", "expected a number above 0, found 0"),
        ("optimizer.lr=.inf", "expected a finite number, found Infinity"),
        ("optimizer.momentum=1", "expected a number below 1, found 1"),
        ("seed=3e9", "expected a number below 2147483648, found 3000000000"),
        ("model.hidden=[]", "expected a list of at least 1, found []"),
        ("name=" + "x" * 101, "expected at most 100 letters, found"),
        ("name=a/b", 'expected letters, digits and any of . _ - = , with a letter or digit first, found "a/b"'),
        ("name=con.1", '"con.1" is a device name on some systems'),
        # what belongs together
        (
            "init.std=1",
            "unknown key init.std. It belongs to init.scheme: normal, and this is torch; null takes it back.",
        ),
        ("data.synthetic={}", "It belongs to data.dataset: synthetic, and this is mnist5k; null takes it back."),
        ("data.path=x", "It belongs to data.dataset: image_folder or npz, and this is mnist5k; null takes it back."),
        (
            "data.imagesize=[1, 1]",
            'Did you mean "image_size"? It belongs to data.dataset: image_folder, and this is mn',
        ),
        ("data.skip_broken=true", "data.skip_broken goes with data.dataset: image_folder, found mnist5k"),
        ("model.norm=bn", "model.norm is bn, but model.block has no item `norm`"),
        ("model.block=bn -> relu", "model.block of arch mlp needs a layer with weights, linear; found: bn -> relu"),
        ("model.block=linear -> bm", 'item 2: unknown item "bm". Did you mean "bn"?'),
    ],
)
def test_the_answer_names_what_was_found_and_what_was_expected(clean_file, override, expected):
    said = answer(clean_file, override)
    assert expected in said
    assert said.startswith((f"--set {override}: ", f"{clean_file}:"))
    assert override.split("=")[0].rsplit(".", maxsplit=1)[0] in said
    assert "\n" not in said or "model.block" in override or "*" in override  # a line is shown with a mark below it


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["optimizer.name=adam", "optimizer.betas=[0.9]"], "expected a list of 2, found [0.9]"),
        (["optimizer.name=adam", "optimizer.betas=[1, 2, 3]"], "optimizer.betas"),
        (["data.dataset=synthetic", "data.synthetic.shape=[]"], "expected a list of 3, found []"),
        (["data.dataset=synthetic", "data.synthetic.shape=[0, 1, 1]"], "channels, height and width must each be"),
        (["optimizer.momentum=0", "optimizer.nesterov=true"], "optimizer.nesterov needs a momentum above 0"),
        (["data={dataset: image_folder, path: x, image_size: 224}"], "expected a list, such as [224, 224], found 224"),
        (["data.dataset=npz"], "--set data.dataset=npz: data.path is missing: the file"),
        (["data.dataset=npz", "data.path=null"], "--set data.path=null: data.path is missing: the file"),
        (["schedule={name: onecycle, warmup_epochs: 1}"], "belongs to schedule.name: constant, step or cosine"),
    ],
)
def test_one_mistake_is_one_line(clean_file, overrides, expected):
    said = answer(clean_file, *overrides)
    assert expected in said
    assert "\n" not in said


def test_the_place_is_the_line_of_the_file(clean_file, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(clean_file.read_text().replace("batch_size: 64", "batch_size: 0").replace("lr: 0.1", "lrr: 0.1"))
    assert answer(path).split("\n") == [
        f"{path}:3: data.batch_size: expected at least 1, found 0",
        f'{path}:8: unknown key optimizer.lrr. Did you mean "lr"?',
    ]


def test_a_block_in_a_file_is_shown_with_a_mark_under_the_place(clean_file, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(clean_file.read_text().replace("linear -> bn -> relu", "linear -> btchnorm -> relu"))
    first, block, mark = answer(path).split("\n")
    assert first.startswith(f'{path}:7: model.block: item 2: unknown item "btchnorm".')
    assert block == "    linear -> btchnorm -> relu"
    assert block[mark.index("^") : len(mark)] == "btchnorm"


@pytest.mark.parametrize(
    ("overrides", "found"), [(["training.steps=3"], "both; take one back"), (["training.epochs=null"], "neither")]
)
def test_a_training_has_one_length(clean_file, overrides, found):
    assert f"{clean_file}:9: training needs epochs or steps, found {found}" in answer(clean_file, *overrides)


def test_all_mistakes_are_told_at_once_up_to_a_limit(values):
    values["data"] |= {f"wrong{number}": 1 for number in range(MAX_SHOWN + 3)}
    with pytest.raises(ConfigError) as caught:
        check_values(values, {}, "made")
    *shown, more = str(caught.value).split("\n")
    assert len(shown) == MAX_SHOWN
    assert more == "(and 3 more)"


def test_a_long_value_is_cut(clean_file):
    assert len(answer(clean_file, "data.batch_size=" + "x" * 500).split(": expected")[1]) < 120


def test_control_characters_in_a_value_do_not_reach_the_terminal(values):
    values["data"]["dataset"] = "\x1b[31mmnist"
    values["model"]["block"] = "linear -> \x1b[31mbn"
    with pytest.raises(ConfigError) as caught:
        check_values(values, {}, "made")
    assert "\x1b" not in str(caught.value)


REQUIRED = {
    "step": {"milestones": [1]},
    "mlp": {"hidden": [4], "block": "linear"},
    "cnn": {"stages": [4], "block": "conv"},
    "resnet": {"depth": 8, "block": "conv -> add"},
    "image_folder": {"path": "x"},
    "npz": {"path": "x"},
}


@pytest.mark.parametrize("place", SECTIONS)
def test_an_unknown_key_is_answered_in_every_section(values, place):
    spot = SECTIONS[place]
    if spot.variant:
        values[spot.keys[0]] = {spot.discriminator: spot.variant, **REQUIRED.get(spot.variant, {})}
    target = values
    for key in spot.keys:
        target = target.setdefault(key, {})
    if "synthetic" in spot.keys:
        values["data"]["dataset"] = "synthetic"
    target["qqqq"] = 1
    with pytest.raises(ConfigError, match=rf"^made: unknown key {re.escape(spot.key('qqqq'))}\. Known.*: "):
        check_values(values, {}, "made")


# The map of the schema that the answers are made from


def test_keys_of_a_place_leave_out_the_variants():
    assert keys_of(("optimizer", "sgd", "lr")) == ("optimizer", "lr")
    assert keys_of(("schedule", "step", "milestones", 0)) == ("schedule", "milestones", 0)
    assert keys_of(("data", "npz", "batch_size")) == ("data", "batch_size")
    assert keys_of(("training", "steps")) == ("training", "steps")
    assert keys_of(("optimizer",)) == ("optimizer",)
    assert keys_of(("nonsense", "sgd")) == ("nonsense", "sgd")
    assert keys_of(()) == ()


def test_every_key_of_the_schema_is_on_the_map():
    assert {key for spot in spots_at(()) for key in spot.section.model_fields} == set(Config.model_fields)
    assert {spot.variant for spot in spots_at(("optimizer",))} == {"sgd", "adam", "adamw"}
    assert is_known(("optimizer", "betas"))
    assert is_known(("data", "synthetic", "shape"))
    assert not is_known(("optimizer", "nonsense"))
    assert not is_known(("nonsense", "lr"))
