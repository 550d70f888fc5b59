"""A sweep file, or the command line in its place: read rightly, or refused with its place and what to type."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnexp.config.claims import ClaimSection
from bnexp.config.loading import load_config
from bnexp.config.sweep_file import seeds_of
from bnexp.config.sweep_loading import load_sweep, sweep_of_options
from bnexp.config.sweep_reference import sweep_reference
from bnexp.config.yaml_text import dump_yaml
from bnexp.errors import ConfigError
from bnexp.sweep.arms import expand

DOCS = Path(__file__).parents[2] / "docs" / "sweep.md"


@pytest.fixture
def write(tmp_path, clean_file):
    """Write a sweep file beside a clean config, which is its base."""

    def write_into(text, file="study.yaml", base="base: clean.yaml\n"):
        path = tmp_path / file
        path.write_text(base + text, encoding="utf-8")
        return path

    return write_into


def refusal(read, *arguments, **options):
    with pytest.raises(ConfigError) as caught:
        read(*arguments, **options)
    return str(caught.value)


def of_options(config, *axes, **options):
    return sweep_of_options(config, axes, **options)


def test_the_reference_is_current():
    current = DOCS.read_text(encoding="utf-8") == sweep_reference()
    assert current, "the schema has changed; run: python -m bnexp schema --sweep --markdown > docs/sweep.md"


def test_keys_in_sections_are_keys_with_dots_and_values_have_our_names(write):
    path = write(
        "axes: {model: {norm: [BatchNorm1d, no, 'gn(num_groups=4)']}}\nfixed: {training: {epochs: 1e1}, data.limit: ~}"
    )
    sweep = load_sweep(path)
    assert sweep.file.axes == {"model.norm": ("bn", "none", "gn(groups=4)")}
    assert sweep.file.fixed == {"training.epochs": 10.0, "data.limit": None}
    assert sweep.at(("axes", "model.norm", 1)) == f"{path}:2"


def test_set_is_laid_over_what_is_fixed(write):
    sweep = load_sweep(write("fixed: {training.epochs: 3, data.limit: 5}"), overrides=["training.epochs=4"])
    assert sweep.file.fixed == {"training.epochs": 4, "data.limit": 5}


def test_the_sweep_is_called_as_its_file_or_by_name(write, clean_file):
    path = write("seeds: 2", file="Größe 2.yaml")
    assert load_sweep(path).name == "Grosse_2"
    assert load_sweep(path, name="mine").name == "mine"
    assert sweep_of_options(clean_file).name == "clean-sweep"
    assert "expected such as a_b" in refusal(load_sweep, path, name="a/b")
    assert "expected such as run_con" in refusal(load_sweep, path, name="con")


def test_a_path_is_relative_to_the_sweep_file(write, tmp_path):
    (tmp_path / "mine.npz").touch()
    sweep = load_sweep(write("fixed: {data.dataset: npz, data.path: mine.npz}"))
    assert sweep.file.fixed["data.path"] == str(tmp_path / "mine.npz")


def claims(rest):
    return f"claims:\n  -\n    {{claim: c, metric: accuracy/val, {rest}}}\nseeds: 1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("axes: {model.nrom: [bn]}", 'study.yaml:2: unknown key model.nrom. Did you mean "model.norm"?'),
        ("axes: {lr: [1]}", 'study.yaml:2: unknown key lr. Did you mean "optimizer.lr"?'),
        ("axes:\n  optimizer.lr: []", "study.yaml:3: axes: optimizer.lr has no values; expected a list"),
        ("axes: {model.norm: 'bn, ln'}", "expected a list of values, such as model.norm: [bn, ln]"),
        ("axes: {optimizer.lr: 0.1}", "expected a list of values, such as optimizer.lr: [0.1], found 0.1"),
        ("axes: {optimizer.lr: [1, 2, 1.0]}", "axes: optimizer.lr has 1.0 twice"),
        ("axes: {model.norm: [bn, BatchNorm]}", 'axes: model.norm has "bn" twice'),
        ("axes: {model.hidden: [64, 128]}", "model.hidden takes a list; expected brackets around each value"),
        ("axes: {seed: [1, 2]}", "study.yaml:2: seed: expected seeds: 5"),
        ("arms: {a: {base: other.yaml}}", "study.yaml:2: base: a sweep has one, at the top of its file"),
        ("axes: {name: [a, b]}", "study.yaml:2: name: an arm is named after what varies"),
        ("axes:", "axes: expected keys of a config and values, such as {model.norm: [A, B]}, found nothing"),
        ("axes: {optimizer.lr: [1], optimizer: {lr: [2]}}", "axes: optimizer.lr stands twice"),
        ("axis: {optimizer.lr: [1]}\nseeds: 1", 'study.yaml:2: unknown key axis. Did you mean "axes"?'),
        ("seed: 3\nseeds: 1", "study.yaml:2: seed: expected seeds"),
        ("name: x\nseeds: 1", "study.yaml:2: name: a sweep is named after its file; --name gives another name"),
        ("optimizer: {lr: 1}\nseeds: 1", "expected fixed: {optimizer.lr: A} for every arm alike, or axes:"),
        ("optimizer.lr: 1\nseeds: 1", "study.yaml:2: optimizer.lr is a key of a config, and this is a sweep file"),
        ("seeds: 0", "study.yaml:2: seeds: expected at least 1, the number of seeds, found 0"),
        ("seeds: -2", "seeds: expected at least 1"),
        ("seeds: [1, 1]", "seeds: expected each seed once; 1 stands twice"),
        ("seeds: [0, -1]", "seeds: expected seeds of at least 0"),
        ("seeds: many", "seeds: expected how many, such as 5, a list, such as [0, 1, 2], or a range, such as 0-4"),
        ("seeds: true", "seeds: expected how many"),
        ("seeds: [1.5]", "seeds: expected whole numbers"),
        ("seeds: 4-0", "seeds: expected a range whose first seed is below its last"),
        ("seeds: [2147483648]", "seeds: expected seeds below 2,147,483,648"),
        ("seeds: [10000, 0]\ntune: {optimizer.lr: [1, 2]}", "expected seeds below 10,000, where those of tune begin"),
        ("seeds: 2\ntune_seeds: 3", "study.yaml:3: tune_seeds without tune; expected cand"),
        ("tune: {optimizer.lr: [1]}", "tune: optimizer.lr has one value, and nothing is to be chosen"),
        ("axes: {optimizer.lr: [1]}\ntune: {optimizer.lr: [1, 2]}", "optimizer.lr stands in axes and in tune"),
        ("axes: {optimizer.lr: [1]}\narms: {a: {optimizer.lr: 2}}", "optimizer.lr stands in axes and in arms"),
        ("axes: {optimizer: [{lr: 1}]}\nfixed: {optimizer.lr: 2}", "optimizer.lr stands in axes and in fixed"),
        ("arms: {a/b: {optimizer.lr: 1}}", 'arms: "a/b": expected a name of a folder everywhere, such as a_b'),
        ("arms: {con: {optimizer.lr: 1}}", "such as run_con"),
        ("arms: {Tuning: {optimizer.lr: 1}}", "expected another name; tuning holds the runs that choose"),
        ("arms: {a: 3}", "arms.a: expected keys of a config and values, such as {model.norm: VALUE}, found 3"),
        ("arms: {a: {}}", "arms.a: expected keys of a config and values"),
        ("arms: [1]", "arms: expected named bundles of keys, such as {small: {model.hidden: [64]}}, found [1]"),
        ("exclude: {optimizer.lr: 1}\nseeds: 1", "exclude: expected a list of rules"),
        (
            "tune: {optimizer.lr: [1, 2]}\nexclude: [{optimizer.lr: 1}]",
            "exclude: optimizer.lr is tuned, and every arm has the same candidates",
        ),
        ("exclude: [{}]\nseeds: 1", "exclude: expected keys of a config and values"),
        (
            "exclude: [3]\nseeds: 1",
            "exclude: expected keys of a config and values, such as {model.norm: VALUE}, found 3",
        ),
        ("seeds: 1\nbudget: {run: 3}", 'study.yaml:3: unknown key budget.run. Did you mean "runs"?'),
        ("seeds: 1\nbudget: {runs: 0}", "study.yaml:3: budget.runs: expected at least 1, found 0"),
        ("seeds: 1\nbudget: {minutes: 5min}", "a number has no unit here, 5"),
        ("seeds: 1\nclaims: 3", "study.yaml:3: claims: expected a list, such as [{claim: bn is ahead"),
        ("seeds: 1\nclaims: [3]", "study.yaml:3: claims[0]: expected such as {claim: bn is ahead"),
        ("seeds: 1\nclaims: [{claim: a}]", "claims[0]: at_least is missing: the smallest effect that matters"),
        (claims("at_last: 1"), 'study.yaml:4: claims[0]: unknown key at_last. Did you mean "at_least"?'),
        (claims("at_least: 2%"), 'claims[0]: at_least: expected a number, found "2%"; 2% is written 0.02'),
        (claims("at_least: -1"), "claims[0]: at_least: expected at least 0, found -1"),
        (claims("at_least: 1"), "claims[0]: says nothing of arms; expected better and than for two arms"),
        (claims("at_least: 1, better: a"), "claims[0]: better without than; expected both"),
        (claims("at_least: 1, better: a, than: a"), "better and than are both a"),
        (claims("at_least: 1, better: a, than: b, over: optimizer.lr"), "better and over stand together"),
        (claims("at_least: 1, order: [a, b]"), "order: expected three arms or more, each once"),
        (claims("at_least: 1, over: optimizer.lr"), "over without direction"),
        (claims("at_least: 1, better: a, than: b, where: {optimizer.lr: 1}"), "where without over"),
        ("seeds: 1\nresources: 3", "study.yaml:3: resources: expected keys and values, found 3"),
    ],
)
def test_a_mistake_is_told_with_its_place(write, text, said):
    assert said in refusal(load_sweep, write(text))


def test_all_mistakes_are_told_at_once_and_not_more_than_a_screen(write):
    keys = ", ".join(f"optimizer.k{index}: [1]" for index in range(20))
    lines = refusal(load_sweep, write(f"axes: {{{keys}}}\nseeds: 0")).split("\n")
    assert len(lines) == 9
    assert lines[-1] == "(and 13 more)"


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("", "study.yaml:1: base is missing: the config that every arm changes"),
        ("base: claen.yaml\n", 'claen.yaml: no such file. Did you mean "'),
        ("base: study.yaml\n", "base goes round in a circle: study.yaml -> study.yaml"),
        ("base: one.yaml\n", "base goes round in a circle: one.yaml -> two.yaml -> one.yaml"),
        ("base: other.yaml\n", "other.yaml: a sweep file, and no config; expected a config here, or: bnexp sweep "),
        ("base: [clean.yaml]\n", 'study.yaml:1: base: expected text, found ["clean.yaml"]'),
    ],
)
def test_a_base_that_is_no_config_is_refused(write, tmp_path, base, said):
    (tmp_path / "one.yaml").write_text("base: two.yaml")
    (tmp_path / "two.yaml").write_text("base: one.yaml")
    write("axes: {optimizer.lr: [1]}", file="other.yaml")
    assert said in refusal(load_sweep, write("axes: {optimizer.lr: [1]}", base=base))


def test_a_folder_is_answered_with_the_line_that_takes_its_files(tmp_path):
    for read in (load_sweep, sweep_of_options):
        with pytest.raises(ConfigError, match=r"a folder; expected .*/\*\.yaml; do bnexp sweep"):
            read(tmp_path)


def test_a_sweep_file_and_a_config_do_not_stand_for_each_other(write, clean_file, tmp_path):
    path = write("axes: {optimizer.lr: [1]}")
    assert refusal(load_config, path).endswith(f"expected a config here, or: bnexp sweep {path}")
    assert refusal(load_config, write("seeds: 5")).endswith(f"bnexp sweep {path}")
    assert refusal(sweep_of_options, path, ["optimizer.lr=1"]).endswith(f"bnexp sweep {path}")
    line = f"bnexp sweep {clean_file} --axis model.norm=none,bn,ln --seeds 5"
    assert refusal(load_sweep, clean_file).endswith(
        f"a config, and nothing in it varies; say what does, such as: {line}"
    )
    child = tmp_path / "child.yaml"
    child.write_text(f"base: {path.name}")
    assert "a sweep file, and no config" in refusal(load_config, child)
    for text in ("", "- 1", "text"):
        assert "expected a sweep file, with base: and axes:" in refusal(load_sweep, write(text, base=""))


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("model.norm=none,bn,gn(groups=4)", ("none", "bn", "gn(groups=4)")),
        ("model.norm=bn(momentum=0.1, eps=1e-3) , LayerNorm", ("bn(momentum=0.1, eps=1e-3)", "ln")),
        ("model.block=linear -> norm -> act,linear→act→norm", ("linear -> norm -> act", "linear -> act -> norm")),
        ("model.block='linear -> bn(eps=1e-3)'", ("linear -> bn(eps=1e-3)",)),
        ("model.hidden=[64],[64,64]", ([64], [64, 64])),
        ("model.hidden=[64,64]", ([64, 64],)),
        ("optimizer.lr=[0.1, 1e-3]", (0.1, 1e-3)),
        ("optimizer.lr = 0.1, 1", (0.1, 1)),
        ("schedule={name: cosine, warmup_epochs: 1},null", ({"name": "cosine", "warmup_epochs": 1}, None)),
        ("optimizer.name=SGD,adam", ("sgd", "adam")),
        ("data.limit=1_000,no", (1000, "no")),
    ],
)
def test_commas_within_brackets_and_quotes_divide_nothing(clean_file, axis, values):
    (found,) = of_options(clean_file, axis).file.axes.values()
    assert found == values


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        (["model.norm"], "--axis model.norm: expected key=value,value, such as --axis model.norm=none,bn,ln"),
        (["model.norm="], "--axis model.norm=: no values after the ="),
        (["model.norm=bn,,ln"], "an empty value beside a comma"),
        (["norm=bn,ln"], '--axis norm=bn,ln: unknown key norm. Did you mean "model.norm"?'),
        (["optimizer.lr=1", "optimizer.lr=2"], "--axis optimizer.lr is given twice"),
        (["optimizer.lr=0,01"], "a decimal has a point; expected such as 0.01"),
        (["optimizer.lr=0,1;0,2"], "a decimal has a point; expected such as 0.1,0.2"),
        (["optimizer.lr=1.000,2"], "1.000 may be 1 or 1000"),
        (["optimizer.lr=1,1"], "--axis optimizer.lr=1,1: axes: optimizer.lr has 1 twice"),
        (["seed=1,2"], "--axis seed=1,2: seed: expected seeds: 5 (--seeds 5)"),
        (["optimizer.lr=[1"], "--axis optimizer.lr=[1: not YAML"),
    ],
)
def test_a_mistake_in_an_axis_is_told_with_its_words(clean_file, axes, said):
    assert said in refusal(of_options, clean_file, *axes)


def test_what_both_set_and_axis_say_is_refused(clean_file):
    said = refusal(of_options, clean_file, "optimizer.lr=1,2", overrides=["optimizer={lr: 3}"])
    assert said.startswith("--set optimizer={lr: 3}: optimizer.lr stands in axes and in fixed")
    twice = ["training.epochs=3", "training.epochs=4"]
    assert "has another value in --set training.epochs=3" in refusal(of_options, clean_file, overrides=twice)
    assert "--set seed=3: seed: expected seeds" in refusal(of_options, clean_file, overrides=["seed=3"])
    assert 'Did you mean "optimizer.lr"?' in refusal(of_options, clean_file, overrides=["optimizer.rl=3"])


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        (3, [0, 1, 2]),
        ("3", [0, 1, 2]),
        ("3,", [3]),
        ("1,5", [1, 5]),
        ("2-4", [2, 3, 4]),
        ("2-4,", [2, 3, 4]),
        ("0-2,7", [0, 1, 2, 7]),
        ([7, 3], [7, 3]),
        ("[1, 2]", [1, 2]),
    ],
)
def test_seeds_are_how_many_or_which(seeds, expected):
    assert list(seeds_of(seeds)) == expected


def test_tuning_seeds_are_none_of_the_final_ones(write):
    sweep = load_sweep(write("tune: {optimizer.lr: [1, 2]}\nseeds: 3"))
    assert list(sweep.seeds) == [0, 1, 2]
    assert list(sweep.tuning_seeds) == [10_000, 10_001]
    assert not load_sweep(write("seeds: 3")).tuning_seeds


KEYS = [
    "model.norm",
    "model",
    "optimizer.lr",
    "optimizer",
    "schedule.name",
    "model.hidden",
    "data.path",
    "seed",
    "nope",
]
WORDS = ["", "bn", "none", "adam", "1,2", "0-4", "a/b", "con", "linear -> norm", "\x1b[31m", "∞", "x" * 120]
SCALARS = st.none() | st.booleans() | st.integers(-2, 10**20) | st.floats() | st.sampled_from(WORDS)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=2)
)
BUNDLES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=2)
AXES = st.dictionaries(st.sampled_from(KEYS), st.lists(VALUES, max_size=3) | VALUES, max_size=2)
PARTS = {
    **dict.fromkeys(["axes", "tune"], AXES | VALUES),
    **dict.fromkeys(["question", "seeds", "tune_seeds", "budget", "resources", "seed", "optimizer.lr"], VALUES),
    "fixed": BUNDLES | VALUES,
    "arms": st.dictionaries(st.sampled_from(["a", "A", "con", "tuning", "x y"]), BUNDLES, max_size=2) | VALUES,
    "exclude": st.lists(BUNDLES, max_size=2) | VALUES,
    "claims": st.lists(st.dictionaries(st.sampled_from(list(ClaimSection.model_fields)), VALUES), max_size=2) | VALUES,
}


@settings(max_examples=15)
@given(st.fixed_dictionaries({"base": st.just("clean.yaml")}, optional=PARTS))
def test_whatever_a_file_holds_it_becomes_arms_or_a_sentence(shared_clean_file, values):
    path = shared_clean_file.with_name("drawn_sweep.yaml")
    path.write_text(dump_yaml(values), encoding="utf-8")
    said, names = "", []
    try:
        names = [arm.name.lower() for arm in expand(load_sweep(path))]
    except ConfigError as error:
        said = str(error)
    assert bool(said) != bool(names)
    assert len(said.split("\n")) <= 24
    assert len(set(names)) == len(names)


def test_a_mistyped_axes_over_a_base_alone_is_told_as_one_of_a_sweep(write):
    assert 'Did you mean "axes"?' in refusal(load_sweep, write("axis: {model.norm: [bn, ln]}"))


def test_an_axis_in_brackets_is_its_values_also_where_each_is_a_list(clean_file):
    sweep = sweep_of_options(clean_file, ["model.hidden=[[64],[64, 64]]"])
    assert sweep.file.axes["model.hidden"] == ([64], [64, 64])
