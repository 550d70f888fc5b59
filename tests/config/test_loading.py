import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnexp.blueprint import draw
from bnexp.config.loading import check_values, dump_config, load_config
from bnexp.config.loading import load as load_with_notes
from bnexp.config.naming import run_name_of
from bnexp.config.yaml_text import read_yaml
from bnexp.errors import ConfigError

KEYS = [
    "name",
    "seed",
    "data",
    "batch_size",
    "model",
    "hidden",
    "block",
    "optimizer",
    "schedule",
    "probes",
    "every",
    "nope",
    "0",
]
MINIMAL = {
    "data": {"dataset": "mnist5k"},
    "model": {"arch": "mlp", "hidden": [8], "block": "linear -> relu"},
    "optimizer": {"name": "sgd"},
    "training": {"epochs": 1},
}
ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**30, -(10**400), 10**400, 1e308, float("inf"), float("nan"), 1e-300, 0.0]),
    st.sampled_from(
        ["", "no", "off", "sgd", "adam", "step", "bn", "none", "linear -> bn", "->", "mnist5k", "synthetic", "\x1b[31m"]
    ),
    st.lists(st.integers(0, 2) | st.text(max_size=2), max_size=3),
    st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), st.integers(0, 5), max_size=2),
)


def load(path, *overrides, **options):
    return load_config(path, overrides, **options)


def refusal(path, *overrides):
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return str(caught.value)


@pytest.fixture
def write(tmp_path):
    """Write a file into one folder."""

    def write_into(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write_into


def test_the_name_defaults_to_the_files(clean_file):
    assert load(clean_file).name == "clean"
    assert load(clean_file, "name=other").name == "other"
    assert load(clean_file, "name=null").name == "clean"
    assert load(clean_file, name="third", seed=7).name == "third"
    assert load(clean_file, "seed=7", seed=7).seed == 7


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("my run", "my_run"),
        ("Größe", "Grosse"),
        ("naïve Ærø", "naive_AEro"),
        ("lr=0.1, bn (v2)", "lr=0.1,_bn_v2"),
        ("con", "run_con"),
        ("aux.v2", "run_aux.v2"),
        (".hidden", "hidden"),
        ("--dashes", "dashes"),
        ("ends.", "ends"),
        ("実験", "u5b9fu9a13"),
        ("опыт-2", "u043eu043fu044bu0442-2"),
        ("😀", "run"),
        ("x" * 150, "x" * 91 + "-"),
    ],
)
def test_any_name_of_a_file_makes_a_safe_name_of_runs_and_says_so(write, clean_file, file, name):
    path = write(f"{file}.yaml", clean_file.read_text())
    config, notes = load_with_notes(path)
    assert config.name[: len(name)] == name
    assert notes == (f"{path}: its runs are named {config.name}; --name gives another name",)
    assert load_with_notes(path, name="mine").notes == ()
    assert load_with_notes(write("plain.yaml", dump_config(config))).notes == ()


def test_files_without_a_letter_of_a_name_have_names_of_their_own(clean_file):
    names = [run_name_of(stem) for stem in ("\U0001f680", "\U0001f389", ".")]
    assert len(set(names)) == 3
    assert all(name.startswith("run-") for name in names)
    assert "such a name is a_b" in refusal(clean_file, "name=a b")


@given(st.text(max_size=120))
def test_every_name_that_is_made_is_one_that_a_run_can_have(stem):
    name = run_name_of(stem)
    assert run_name_of(name) == name
    assert check_values({**MINIMAL, "name": name}, {}, "made").name == name


@given(st.data())
def test_a_dumped_config_loads_as_the_same(shared_clean_file, valid_values, data):
    config = check_values({"name": "x", **data.draw(valid_values)}, {}, "drawn")
    path = shared_clean_file.with_name("dumped.yaml")
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(path) == config


@pytest.mark.parametrize("name", ["no", "1e-4", "null", "on", "true", "010", "1_000", "2024-01-01", "1.5", "0x1f"])
def test_names_that_look_like_something_else_survive_the_dump(write, clean_file, name):
    config = load(clean_file, name=name)
    assert load(write("dumped.yaml", dump_config(config))).name == name


# The file and its bases


def test_a_config_says_only_its_difference(write, clean_file):
    child = write("child.yaml", "base: clean.yaml\noptimizer: {lr: 0.5}\n")
    expected = load(clean_file).model_dump() | {"name": "child"}
    expected["optimizer"] |= {"lr": 0.5}
    assert load(child).model_dump() == expected


def test_a_base_is_relative_to_its_file_and_chains(write, clean_file):
    write("one/middle.yaml", "base: ../clean.yaml\nseed: 1\ntraining: {epochs: 5}\n")
    child = write("two/deep/child.yaml", "base: ../../one/middle.yaml\ntraining: {log_every: 7}\n")
    config = load(child)
    assert (config.seed, config.training.epochs, config.training.log_every) == (1, 5, 7)


def test_a_name_is_not_inherited(write, clean_file):
    write("named.yaml", f"name: famous\n{clean_file.read_text()}")
    child = write("child.yaml", "base: named.yaml\n")
    assert load(child).name == "child"


def test_lists_are_replaced_whole(write, clean_file):
    assert load(write("child.yaml", "base: clean.yaml\nmodel: {hidden: [8]}\n")).model.hidden == (8,)


def test_null_takes_back_what_a_base_says(write, clean_file):
    write(
        "scheduled.yaml", "base: clean.yaml\nschedule: {name: cosine, warmup_epochs: 1}\noptimizer: {momentum: 0.5}\n"
    )
    child = write("child.yaml", "base: scheduled.yaml\nschedule: null\noptimizer: {momentum: null}\n")
    assert load(child).schedule.name == "constant"
    assert load(child).optimizer.momentum == load(clean_file).optimizer.momentum


def test_null_takes_back_a_key_that_the_new_variant_does_not_know(write, clean_file):
    write("sgd.yaml", "base: clean.yaml\noptimizer: {momentum: 0.5}\n")
    said = refusal(write("child.yaml", "base: sgd.yaml\noptimizer: {name: adam, momentum: 0.5}\n"))
    assert "child.yaml:2: unknown key optimizer.momentum. It belongs to optimizer.name: sgd, and this is adam" in said
    config = load(write("mended.yaml", "base: sgd.yaml\noptimizer: {name: adam, momentum: null}\n"))
    assert config.optimizer.name == "adam"


def test_null_does_not_hide_an_unknown_key(write, clean_file):
    said = refusal(write("child.yaml", "base: clean.yaml\ndata:\n  batchsize: null\n"))
    assert 'child.yaml:3: unknown key data.batchsize. Did you mean "batch_size"?' in said
    assert "unknown key nope" in refusal(clean_file, "nope=null")
    assert "unknown key nope.deep" in refusal(clean_file, "nope.deep=null")


def test_a_mistake_in_a_base_is_reported_at_its_own_line(write, clean_file):
    write("wrong.yaml", "base: clean.yaml\nseed: 1\ndata:\n  batch_size: many\n")
    child = write("child.yaml", "base: wrong.yaml\nseed: 2\n")
    assert re.search(r"wrong\.yaml:4: data\.batch_size: expected a whole number, found \"many\"", refusal(child))


@pytest.mark.parametrize("files", [1, 2, 3])
def test_a_circle_of_bases_is_named(write, files):
    for number in range(files):
        path = write(f"c{number}.yaml", f"seed: 1\nbase: c{(number + 1) % files}.yaml\n")
    path = path.with_name("c0.yaml")
    circle = " -> ".join(f"c{number % files}.yaml" for number in range(files + 1))
    said = refusal(path)
    assert f"c{files - 1}.yaml:2: base goes round in a circle: {circle}" in said


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("claen.yaml", 'no such file. Did you mean "{folder}/clean.yaml"?'),
        ("[clean.yaml]", 'base must name one YAML file, found ["clean.yaml"]'),
        ("3", "base must name one YAML file, found 3"),
        ('"a\\0b"', "base must name one YAML file"),
        ("a" * 5000, "no such file"),
        (".", "a folder; expected a YAML file"),
    ],
)
def test_a_base_that_is_no_file_is_refused_where_it_is_named(write, clean_file, tmp_path, base, said):
    child = write("child.yaml", f"seed: 1\nbase: {base}\n")
    assert said.format(folder=tmp_path) in refusal(child)
    assert f"{child}:2: base" in refusal(child)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty; expected a config"),
        ("# nothing yet\n", "empty; expected a config"),
        ("just words\n", 'expected keys and values, such as seed: 0, found "just words"'),
        ("- a\n- b\n", 'expected keys and values, such as seed: 0, found ["a", "b"]'),
    ],
)
def test_a_file_that_is_no_config_is_refused(write, text, said):
    assert refusal(write("x.yaml", text)).endswith(said) or said in refusal(write("x.yaml", text))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("optimizer.lr=0.1", "A key is set with --set optimizer.lr=0.1"),
        ("3", "Several seeds are one word, such as --seed 1,2"),
        ("x=3", "x=3: no such file"),
        ("-", "standard input is not read"),
        ("+training.epochs=1", "A key is set with --set training.epochs=1"),
        ("++training.epochs=1", "A key is set with --set training.epochs=1"),
        ("epochs=3", "A key is set with --set training.epochs=3"),
        ("optimizer=adam", "A key is set with --set optimizer.name=adam"),
        ("~model.norm", "A key is taken back with --set model.norm=null"),
        ("last", "--resume takes no value"),
    ],
)
def test_what_was_meant_for_an_option_is_told_as_that(word, said):
    assert said in refusal(Path(word))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_of_unicode_is_read_in_any_encoding_that_says_so(write, clean_file, encoding):
    text = f"# für große Netze\n{clean_file.read_text()}"
    path = clean_file.with_name("other.yaml")
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    path.write_bytes((mark + text).replace("\n", "\r\n").encode(encoding))
    assert load(path).model_dump() == load(clean_file).model_dump() | {"name": "other"}


def test_a_file_of_an_older_encoding_is_told_how_to_become_utf_8(write, clean_file):
    path = clean_file.with_name("older one.yaml")
    path.write_bytes(f"seed: 3\n# für große Netze\n{clean_file.read_text()}".encode("latin-1"))
    said = refusal(path)
    assert 'byte 11 is not UTF-8); "ü" in line 2' in said
    assert said.endswith(f"type iconv -f CP1252 -t UTF-8 '{path}' > utf8.yaml")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_wide_letters_that_are_not_read_are_told_how_to_become_utf_8(clean_file, encoding):
    path = clean_file.with_name("wide.yaml")
    path.write_bytes(f"# für\n{clean_file.read_text()}".encode(encoding))
    name = {"utf-16-le": "UTF-16LE", "utf-16-be": "UTF-16BE", "utf-32-le": "UTF-32LE"}[encoding]
    assert f"type iconv -f {name} -t UTF-8" in refusal(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [('# mine\n\nname = "x"\n[data]\n', 3), ("; mine\n[data]\nbatch_size=8\n", 2), ("config.lr = 1\n", 1)],
)
def test_another_format_is_named(write, text, line):
    path = write("x.yaml", text)
    assert refusal(path).startswith(f"{path}:{line}: not YAML, but TOML, INI or Python")


def test_json_with_tabs_is_read_and_its_texts_stay(write, clean_file):
    values = load(clean_file).model_dump(mode="json")
    assert load(write("x.yaml", json.dumps(values, indent="\t"))).model_dump() == load(clean_file).model_dump()
    assert ":2:" in refusal(write("y.yaml", '{\n\t"sed": 3,\n\t"base": "clean.yaml"}'))


@pytest.mark.parametrize("key", ["_target_", "class_path"])
def test_a_class_of_another_tool_is_answered_with_its_name(write, clean_file, key):
    said = refusal(write("x.yaml", clean_file.read_text().replace("name: sgd", f"{key}: torch.optim.SGD")))
    assert f"optimizer.name is missing; expected sgd, adam or adamw; in place of {key} it is name: sgd" in said


def test_a_missing_file_is_refused(tmp_path):
    assert refusal(tmp_path / "gone.yaml") == f"{tmp_path / 'gone.yaml'}: no such file"


# Another kind than the base has


def test_an_optimizer_takes_its_own_defaults_over_a_base_of_another(write, clean_file):
    write("sgd.yaml", "base: clean.yaml\noptimizer: {name: sgd, lr: 0.1, momentum: 0.8, weight_decay: 5e-4}\n")
    for config, notes in (
        load_with_notes(write("child.yaml", "base: sgd.yaml\noptimizer: {name: Adam}\n")),
        load_with_notes(write("grandchild.yaml", "base: child.yaml\n")),
        load_with_notes(clean_file.with_name("sgd.yaml"), ["optimizer.name=adam"]),
    ):
        assert (config.optimizer.lr, config.optimizer.weight_decay) == (1e-3, 5e-4)
        [note] = notes
        assert "sgd.yaml has optimizer.name: sgd, and this is adam" in note
        assert "left out optimizer.lr 0.1 (adam takes 0.001), optimizer.momentum 0.8; weight_decay 0.0005 stays" in note


def test_what_the_change_gives_itself_and_what_means_the_same_stays(write, clean_file):
    write("adam.yaml", "base: clean.yaml\noptimizer: {name: adam, lr: 0.02, betas: [0.8, 0.9]}\n")
    config = load(write("child.yaml", "base: adam.yaml\noptimizer: {name: adamw}\n"))
    assert (config.optimizer.lr, config.optimizer.betas) == (0.02, (0.8, 0.9))
    assert load_with_notes(clean_file.with_name("adam.yaml"), ["optimizer.name=adam"]).config.optimizer.lr == 0.02
    for order in (["optimizer.lr=0.3", "optimizer.name=sgd"], ["optimizer.name=sgd", "optimizer.lr=0.3"]):
        assert load(clean_file.with_name("adam.yaml"), *order).optimizer.lr == 0.3


def test_schedules_and_networks_of_another_kind_leave_their_own_keys_behind(write, clean_file):
    write("step.yaml", "base: clean.yaml\nschedule: {name: step, milestones: [1], warmup_epochs: 1}\n")
    config, notes = load_with_notes(write("cosine.yaml", "base: step.yaml\nschedule: {name: cosine}\n"))
    assert config.schedule.warmup_epochs == 1
    assert "left out schedule.milestones [1]; warmup_epochs 1 stays" in notes[0]
    cnn = "base: clean.yaml\nmodel: {arch: cnn, stages: [4], block: conv -> bn -> relu}\n"
    config, notes = load_with_notes(write("cnn.yaml", cnn))
    assert config.model.arch == "cnn"
    assert "left out model.hidden [64, 64]" in notes[0]


# --set


def test_a_key_that_the_command_line_gives_two_values_is_refused(clean_file):
    for words, flags in (
        (["seed=1", "seed=2"], {}),
        (["optimizer.lr=0.1", "optimizer={lr: 0.2}"], {}),
        (["seed=1"], {"seed": 2}),
        (["name=a"], {"name": "b"}),
        (["training.epochs=3", "training.epochs=null"], {}),
    ):
        with pytest.raises(ConfigError, match="has another value in --"):
            load(clean_file, *words, **flags)
    assert load(clean_file, "seed=3", "seed=3", seed=3).seed == 3
    assert load(clean_file, "optimizer={lr: 0.2, momentum: 0.5}", "optimizer.lr=0.3").optimizer.lr == 0.3


def test_an_override_wins_and_is_read_as_yaml(clean_file):
    config = load(clean_file, "optimizer.lr=1e-4", "model.hidden=[8, 8]", "optimizer={momentum: 0}", " seed = 5 ")
    assert (config.optimizer.lr, config.model.hidden, config.optimizer.momentum, config.seed) == (1e-4, (8, 8), 0, 5)


def test_a_block_needs_no_more_than_the_shells_quotes(clean_file):
    config = load(clean_file, "model.block=linear -> bn(eps=1e-3) -> relu")
    assert [item.name for item in config.model.items] == ["linear", "bn", "relu"]


def test_an_override_can_open_a_section(clean_file):
    assert load(clean_file, "schedule.name=cosine").schedule.name == "cosine"
    assert load(clean_file, "schedule=null", "schedule.name=cosine").schedule.name == "cosine"
    assert load(clean_file, "training.epochs=null", "training.steps=5e4").training.steps == 50_000


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.batch_size", "expected key=value, such as --set data.batch_size=VALUE"),
        ("nonsense", "expected key=value, such as --set data.batch_size=32"),
        ("=3", "expected key=value"),
        ("a..b=3", "expected key=value"),
        (".=3", "expected key=value"),
        ("optimizer.lr.x=3", "optimizer.lr is 0.1, it has no keys below it"),
        ("model.hidden.0=3", "model.hidden is [64, 64], it has no keys below it"),
        ("base=other.yaml", "base belongs in a file"),
        ("data.batch_size=[", "not YAML"),
        ("seed={a: 1, a: 2}", "the key a stands twice"),
        ("seed=!!python/object/apply:os.system [ls]", "the tag !!python/object/apply:os.system is not allowed"),
    ],
)
def test_a_wrong_override_is_shown_with_what_was_expected(clean_file, override, said):
    assert refusal(clean_file, override).startswith(f"--set {override}: ")
    assert said in refusal(clean_file, override)


def test_a_wrong_override_does_not_take_the_blame_for_the_file(write, clean_file):
    path = write("wrong.yaml", clean_file.read_text().replace("lr: 0.1", "lr: fast"))
    assert refusal(path, "optimizer={momentum: 0.5}").startswith(f"{path}:8: optimizer.lr: expected a number")


@given(st.data())
def test_any_override_is_taken_or_refused_by_name(shared_clean_file, data):
    parts = data.draw(st.lists(st.sampled_from(KEYS) | st.text(max_size=3), max_size=3))
    value = data.draw(
        st.text(max_size=10) | st.sampled_from(["null", "[", "{a: 1}", "*x", "1e999", "!!int x", "[1, 2]"])
    )
    _taken_or_refused(lambda: load_config(shared_clean_file, [f"{'.'.join(parts)}={value}"]))


@given(st.data())
def test_any_values_are_taken_or_refused_by_name(valid_values, data):
    values = {"name": "x", **data.draw(valid_values)}
    for _ in range(data.draw(st.integers(1, 3))):
        section = data.draw(st.sampled_from([values, *(part for part in values.values() if isinstance(part, dict))]))
        section[data.draw(st.sampled_from([*section, *KEYS]))] = data.draw(ODD_VALUES)
    said = _taken_or_refused(lambda: check_values(values, {}, "drawn"))
    # The schema begins with where the key stands; the arithmetic of the plan with the key.
    begins = ("drawn", "    ", "(and", "data.", "model.", "the last batch")
    assert said is None or all(line.startswith(begins) for line in said.split("\n"))


def _taken_or_refused(load_it):
    """Take a config all the way to its plan and warnings. Returns the message where it is refused."""
    try:
        config = load_it()
        draw(config, Path("unused"))
    except ConfigError as error:
        assert str(error)  # noqa: PT017  (taking it is right as well)
        return str(error)
    assert read_yaml(dump_config(config), "dump")[0]["name"] == config.name
    return None


def test_values_need_no_file(values):
    assert check_values(values, {}, "made").name == "clean"
    values["seed"] = -1
    with pytest.raises(ConfigError, match=r"^made: seed: expected at least 0, found -1$"):
        check_values(values, {}, "made")


def test_checking_a_config_loads_no_torch_and_no_numpy(clean_file):
    script = (
        "import pkgutil, sys, importlib, bnexp.config\n"
        "from pathlib import Path\n"
        "for module in pkgutil.iter_modules(bnexp.config.__path__):\n"
        "    importlib.import_module('bnexp.config.' + module.name)\n"
        "import bnexp.commands.schema, bnexp.commands.catalog\n"
        "from bnexp.config.loading import load_config\n"
        f"load_config(Path({str(clean_file)!r}))\n"
        "print(sorted({'torch', 'numpy', 'torchvision', 'scipy', 'pandas'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(("key", "written"), [("data.batch_size", "1.000"), ("optimizer.lr", "10.000")])
def test_a_number_that_may_be_thousands_is_refused(clean_file, key, written):
    one, thousands = written.partition(".")[0], written.replace(".", "")
    with pytest.raises(ConfigError, match=rf"{re.escape(written)} may be {one} or {thousands}; write one of these"):
        load(clean_file, f"{key}={written}")


@pytest.mark.parametrize("written", ["0.001", "0.100", "1.0", "1.500", "'1.000'"])
def test_other_numbers_with_a_point_are_what_they_say(clean_file, written):
    if written.startswith("'"):
        assert load(clean_file, f"name={written}").name == "1.000"
    else:
        assert load(clean_file, f"optimizer.lr={written}").optimizer.lr == float(written)
