"""Arms: which combinations there are, what they are called, and how all mistakes are told at once."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnexp.config.loading import load_config
from bnexp.config.naming import is_device
from bnexp.config.sweep_loading import dump_sweep, load_sweep, sweep_of_options
from bnexp.errors import ConfigError
from bnexp.sweep.arms import expand, told_together
from bnexp.sweep.naming import label_of, unique_names
from effort import calls_of

BASE = """\
data: {dataset: mnist5k, batch_size: 64}
model: {arch: mlp, hidden: [32, 32], block: linear -> norm -> act, norm: bn, activation: relu}
optimizer: {name: sgd, lr: 0.1}
training: {epochs: 2}
"""
NORMS = ["none", "bn", "ln"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the base, into which each test writes its sweep."""
    folder = tmp_path_factory.mktemp("sweeps")
    (folder / "base.yaml").write_text(BASE)
    return folder


def sweep(folder, text, **options):
    path = folder / "study.yaml"
    path.write_text(f"base: base.yaml\n{text}")
    return load_sweep(path, **options)


def names(folder, text, **options):
    return [arm.name for arm in expand(sweep(folder, text, **options))]


def refusal(folder, text):
    with pytest.raises(ConfigError) as caught:
        expand(sweep(folder, text))
    return str(caught.value).replace(f"{folder}/", "")


def test_every_combination_is_an_arm_and_its_config_is_what_set_would_give(folder):
    arms = expand(sweep(folder, "axes: {optimizer.lr: [0.1, 1e-3], model.norm: [none, bn, ln]}"))
    assert [arm.name for arm in arms] == [f"norm={norm},lr={lr}" for norm, lr in product(NORMS, ["0.1", "0.001"])]
    for arm in arms:
        settings = [f"{key}={value}" for key, value in arm.values.items()]
        assert arm.config == load_config(folder / "base.yaml", settings, name=arm.name)


def test_bundles_move_together_and_stand_first(folder):
    text = "arms:\n  small: {model.hidden: [8], data.batch_size: 32}\n  large: {model: {hidden: [64, 64]}}\n"
    arms = expand(sweep(folder, text + "axes: {model.norm: [bn, ln]}"))
    assert [arm.name for arm in arms] == ["small,norm=bn", "small,norm=ln", "large,norm=bn", "large,norm=ln"]
    assert [(arm.config.model.hidden, arm.config.data.batch_size) for arm in arms[1:3]] == [((8,), 32), ((64, 64), 64)]


def test_a_change_of_kind_leaves_behind_what_belonged_to_the_other_and_says_so(folder):
    sgd, adam = expand(sweep(folder, "axes: {optimizer.name: [sgd, Adam]}"))
    assert (sgd.name, adam.name) == ("optimizer=sgd", "optimizer=adam")
    assert (sgd.config.optimizer.lr, adam.config.optimizer.lr) == (0.1, 1e-3)
    assert not sgd.notes
    assert "left out optimizer.lr 0.1 (adam takes 0.001)" in adam.notes[0]


def test_without_axes_the_one_arm_is_called_as_its_config(folder):
    assert names(folder, "seeds: 3") == ["base"]
    (folder / "tuning.yaml").write_text(BASE)
    assert [arm.name for arm in expand(sweep_of_options(folder / "tuning.yaml", seeds="2"))] == ["tuning-arm"]


def test_rules_leave_out_the_arms_that_have_all_they_say(folder):
    text = "axes: {model.norm: [none, bn, ln], optimizer.lr: [0.1, 0.2]}\nexclude:\n"
    rule = "- {model.norm: [NoNorm, LayerNorm], optimizer.lr: 0.20}"
    assert names(folder, text + rule) == ["norm=none,lr=0.1", "norm=bn,lr=0.1", "norm=bn,lr=0.2", "norm=ln,lr=0.1"]
    of_bundle = "arms: {a: {model.hidden: [8, 8]}, b: {model.norm: ln}}\nexclude: [{model.hidden: [8, 8]}]"
    assert names(folder, of_bundle) == ["b"]


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("[{optimizer.lr: 3}]", "study.yaml:3: exclude: no arm has optimizer.lr: 3; expected 0.1 or 0.2"),
        ("[{optimizer.lr: [0.1, 0.2]}]", "study.yaml:3: exclude: the rules leave out all 2 arms"),
        (
            "[{training.epochs: 2}]",
            "training.epochs is the same in every arm; expected a key that varies: opt",
        ),
        ("[{optimizer.rl: 2}]", 'study.yaml:3: unknown key optimizer.rl. Did you mean "optimizer.lr"?'),
    ],
)
def test_a_rule_that_does_nothing_or_all_is_refused(folder, rules, said):
    assert said in refusal(folder, f"axes: {{optimizer.lr: [0.1, 0.2]}}\nexclude: {rules}")


def test_candidates_are_arms_of_their_own_and_checked_with_the_others(folder):
    text = "axes: {model.norm: [bn, ln]}\ntune: {optimizer.lr: [0.1, 1], optimizer.momentum: [0, 0.9]}"
    bn, _ = expand(sweep(folder, text))
    labels = [f"norm=bn,lr={lr},momentum={momentum}" for lr, momentum in product(["0.1", "1"], ["0", "0.9"])]
    assert [candidate.name for candidate in bn.candidates] == labels
    assert [candidate.config.optimizer.lr for candidate in bn.candidates] == [0.1, 0.1, 1, 1]
    said = refusal(folder, text.replace("0.9]", "1.5]"))
    assert said.startswith("study.yaml:3: optimizer.momentum: expected a number below 1, found 1.5\n")
    assert said.endswith("    (4 of 10 arms, such as norm=bn,lr=0.1,momentum=1.5)")


def test_the_mistakes_of_all_arms_are_told_together_each_once(folder):
    text = "axes:\n  model.norm: [bn, bm]\n  optimizer.lr: [0.1, -1]\n  training.epochs: [1, 2]"
    rate, whose, unknown, which = refusal(folder, text).split("\n")
    assert unknown.startswith('study.yaml:3: model.norm: unknown norm "bm". Did you mean "bn"? Known: none, bn')
    assert which == "    (4 of 8 arms, such as norm=bm,lr=0.1,epochs=1)"
    assert rate == "study.yaml:4: optimizer.lr: expected a number above 0, found -1"
    assert whose == "    (4 of 8 arms, such as norm=bn,lr=-1,epochs=1)"


def test_many_mistakes_stay_on_one_screen_and_marked_lines_stay_together():
    marked = "block: what\n    linear -> x\n              ^"
    mistakes = {f"arm{index}": f"mistake {index}\n{marked}" for index in range(40)}
    lines = told_together(mistakes, 40).split("\n")
    assert lines[2:6] == [*marked.split("\n"), "    (all 40 arms)"]
    assert lines[-1] == "(and 35 more mistakes)"
    assert len(lines) < 24


def test_two_arms_that_train_alike_are_refused_with_the_rule_that_leaves_one_out(folder):
    blocks = "[linear -> norm -> act, linear -> act -> norm]"
    text = f"axes: {{model.norm: [none, bn], model.block: {blocks}, optimizer.lr: [0.1, 1]}}\n"
    said = refusal(folder, text)
    assert "block=linear-norm-act,norm=none,lr=0.1 and block=linear-act-norm,norm=none,lr=0.1, and 1 more" in said
    rule = said.split("Leave out in the sweep file: ")[1]
    assert rule == "exclude: [{model.block: linear -> act -> norm, model.norm: none}]"
    assert len(expand(sweep(folder, text + rule))) == 6


@pytest.mark.parametrize(
    "arms",
    [
        "{a: {optimizer.lr: 1}, b: {optimizer.lr: 1.0}}",
        "{a: {model.bias: auto}, b: {model.bias: false}}",  # bn cancels the bias, which auto leaves out
        "{a: {model.norm: bn}, b: {model.block: linear -> bn -> relu, model.norm: null, model.activation: null}}",
        "{a: {probes.activations: off}, b: {checkpoints.every_epochs: 2}}",
    ],
)
def test_arms_that_are_one_by_another_way_to_write_them_are_refused(folder, arms):
    assert "two arms are one: a and b (trained alike" in refusal(folder, f"arms: {arms}")


def test_arms_of_equal_items_may_differ_in_shape_and_bias(folder):
    assert names(folder, "axes: {model.hidden: [[8], [8, 8]], model.bias: [true, false]}") == [
        "bias=true,hidden=8",
        "bias=true,hidden=8-8",
        "bias=false,hidden=8",
        "bias=false,hidden=8-8",
    ]


def test_too_many_runs_are_refused_before_anything_is_combined(folder):
    rates, epochs = ",".join(map(str, range(1, 101))), ",".join(map(str, range(1, 51)))
    asked = sweep_of_options(folder / "base.yaml", [f"optimizer.lr={rates}", f"training.epochs={epochs}"], "20")
    caught = []

    def refuse():
        with pytest.raises(ConfigError) as refused:
            expand(asked)
        caught.append(refused.value)

    assert calls_of(refuse) < 1000  # 65, and of each run it would be some
    assert "100 x 50 x 20 = 100,000 runs (optimizer.lr x training.epochs x seeds)" in str(caught[0])
    assert "budget: {runs: 100000}" in str(caught[0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "axes: {optimizer.lr: [1, 2, 3]}\nbudget: {runs: 14}",
            "3 x 5 = 15 runs (optimizer.lr x seeds); budget",
        ),
        ("seeds: 1000000", "1,000,000 runs (seeds); 10,000 are the most"),
        ("tune: {optimizer.lr: [1, 2, 3]}\nseeds: 4\nbudget: {runs: 9}", "(4 + 3 x 2) = 10 runs ((seeds + candidates"),
        (
            "axes: {optimizer.lr: [1, 2, 3]}\nexclude: [{optimizer.lr: 3}]\nbudget: {runs: 9}",
            "2 x 5 = 10 runs (arms x seeds); budget.runs allows 9",
        ),
    ],
)
def test_a_budget_of_runs_counts_all_of_them(folder, text, said):
    assert said in refusal(folder, text)
    allowed = text.replace("9}", "10}").replace("14}", "15}").replace("1000000", "10000")
    expand(sweep(folder, allowed))


def test_arms_are_made_in_work_that_grows_with_their_number(folder):
    rates = [str(index / 1000) for index in range(1, 101)]
    text = "axes: {{model.norm: [none, bn, ln], optimizer.lr: [{}]}}"
    sweeps = [sweep(folder, text.format(", ".join(some))) for some in (rates[:10], rates)]
    expand(sweeps[0])  # what is worked out once
    few, many = (calls_of(lambda asked=asked: expand(asked)) for asked in sweeps)
    assert many < 12 * few
    assert many < 2000 * 300  # 800 an arm


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
def test_the_order_of_keys_in_the_file_changes_nothing(folder, order):
    values = {
        "model.norm": "[bn, ln]",
        "optimizer.lr": "[0.1, 1]",
        "model.hidden": "[[8], [8, 8]]",
        "schedule.name": "[constant]",
    }
    text = "axes: {" + ", ".join(f"{key}: {values[key]}" for key in [list(values)[index] for index in order]) + "}"
    assert names(folder, text)[:2] == [
        "norm=bn,hidden=8,lr=0.1,schedule=constant",
        "norm=bn,hidden=8,lr=1,schedule=constant",
    ]


@pytest.mark.parametrize(
    ("key", "value", "label"),
    [
        ("optimizer.lr", 0.001, "lr=0.001"),
        ("optimizer.lr", 1e-5, "lr=1e-05"),
        ("optimizer.lr", 1e20, "lr=1e20"),
        ("training.steps", 5e4, "steps=50000"),
        ("optimizer.nesterov", True, "nesterov=true"),
        ("data.limit", None, "limit=default"),
        ("optimizer.name", "adam", "optimizer=adam"),
        ("schedule.name", "cosine", "schedule=cosine"),
        ("schedule", {"name": "cosine", "warmup_epochs": 1}, "schedule=cosine-warmup_epochs1"),
        ("model.hidden", [256, 256], "hidden=256-256"),
        ("model.stages", [[64, 64], [128]], "stages=64-64_128"),
        ("model.norm", "gn(groups=8)", "norm=gn-groups8"),
        ("model.block", "conv -> bn(momentum=0.1) -> relu", "block=conv-bn-momentum0.1-relu"),
        ("data.path", "/home/Jürgen/Bilder: neu", "path=home-Jurgen-Bilder-neu"),
        ("probes.activations.every", 5, "activations.every=5"),
        ("model.hidden", [], "hidden=none"),
    ],
)
def test_a_label_is_short_and_safe(key, value, label):
    assert label_of(key, value) == label


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=8,
)


@given(
    values=st.lists(VALUES, min_size=1, max_size=6, unique_by=repr),
    key=st.sampled_from(["model.block", "optimizer.lr"]),
)
def test_every_name_is_a_folder_everywhere_and_no_two_are_alike(values, key):
    made = unique_names([label_of(key, value) for value in values], [{key: repr(value)} for value in values])
    assert len({name.lower() for name in made}) == len(values)
    for name in made:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._=,-")
        assert len(name) <= 100
        assert not is_device(name)
        assert name[-1] != "."


def test_names_that_differ_in_case_alone_end_with_a_digest(folder):
    made = names(folder, "arms: {Small: {optimizer.lr: 1}, small: {optimizer.lr: 2}}")
    assert [name[:6] for name in made] == ["Small-", "small-"]
    assert len({name.lower() for name in made}) == 2


def test_what_save_writes_loads_to_the_same_arms(folder, tmp_path):
    asked = sweep_of_options(
        folder / "base.yaml",
        [
            "model.norm=bn,gn(groups=4)",
            "model.hidden=[8],[8,16]",
            "model.block=linear -> norm -> act,linear → act → norm",
        ],
        "1,3",
        ["training.epochs=1", "data.limit=null"],
    )
    path = tmp_path / "deep" / "saved.yaml"
    path.parent.mkdir()
    path.write_text(dump_sweep(asked, path))
    saved = load_sweep(path)
    assert (saved.name, asked.name) == ("saved", "base-sweep")
    assert list(saved.seeds) == list(asked.seeds) == [1, 3]
    assert expand(saved) == expand(asked)
