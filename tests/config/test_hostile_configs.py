"""Whatever stands in a config, a block line or a `--set`: it is taken, or refused in a few words that can be seen."""

import copy
import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import effort
from bnexp.blueprint import draw
from bnexp.config import loading
from bnexp.config.block import BlockError, parse_block
from bnexp.config.items import ITEMS
from bnexp.config.loading import MAX_BASES, check_values, dump_config, load_config
from bnexp.config.nested import MAX_BYTES
from bnexp.config.yaml_text import MAX_DEPTH, MAX_LETTERS, MAX_NODES, dump_yaml, read_yaml, read_yaml_file
from bnexp.errors import ConfigError
from command_line import bnexp

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
RESOLVED = [dump_config(load_config(path)) for path in CONFIGS]
VALUES = [read_yaml(text, "resolved")[0] for text in RESOLVED]

LINES, COLUMNS = 24, 800
"""A screen; and a line of it, which a terminal wraps, with a path of 300 letters and a list of known words."""
SECONDS = 10
"""Of the processor, for what takes a tenth of one: what hangs takes longer than anybody waits."""

LETTERS = st.sampled_from(list("\0\x07\b\t\n\r\x1b\x7f\x85\x9b\xa0\u2028\u202e\ufeff→'\"[]{}:,#&*!|>%@`-?~ .=()0a"))
WORDS = st.sampled_from(
    [
        "null",
        "true",
        "off",
        "no",
        "-1",
        "0",
        "1e308",
        "-1e308",
        ".nan",
        ".inf",
        "9e999",
        "10_000_000_000_000",
        "1e-320",
        "0x1f",
        "010",
        "[]",
        "{}",
        "[[]]",
        "{a:",
        "{}}",
        "-",
        "->",
        "&a",
        "*a",
        "<<:",
        "!!python/name:os.system",
        "!!int",
        "---",
        "...",
        "%YAML",
        "linear",
        "conv",
        "bn",
        "relu",
        "add",
        "norm",
        "act",
        "gn(groups=0)",
        "adam",
        "step",
        "onecycle",
        "cnn",
        "resnet",
        "mlp",
        "synthetic",
        "npz",
        "mnist5k",
        "../x",
        "/etc/passwd",
        "\x1b[31m",
    ]
)
ODD = st.one_of(
    st.sampled_from([None, True, False, "", [], {}, 0, -1, 10**12, 10**400, -(10**400), 1e308, -1e308, 5e-324]),
    st.sampled_from([float("nan"), float("inf"), "x" * 9000, "\x1b[31m\x9b2J", "a\n" * 500, "\u202e", "→" * 300]),
    st.sampled_from([[0] * 2000, ["x"] * 2000, [[]] * 3, [10**9] * 50, [100_000] * 50, [1] * 300, {"a": {"b": {}}}]),
    st.sampled_from([{"name": "step", "milestones": [1e308]}, {"name": "adam"}, {"\x1b": 1}, {"k" * 5000: 1}]),
    st.integers(-3, 5000),
    st.floats(),
    st.text(max_size=8),
)


def many(examples):
    """Draw this many, the same in every run."""
    return settings(
        max_examples=effort.examples(examples),
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture
def files_read_once(monkeypatch):
    """Read each of CONFIGS, which do not change, once: nearly all of the time goes into YAML."""
    read = {path: read_yaml_file(path) for path in CONFIGS}

    def read_or_kept(path):
        return copy.deepcopy(read[path]) if path in read else read_yaml_file(path)

    monkeypatch.setattr(loading, "read_yaml_file", read_or_kept)


def answer(load_it, folder):
    """Take a config as far as a training would begin. Returns the message where it is refused."""
    try:
        config = load_it()
        blueprint = draw(config, folder)
    except ConfigError as error:
        assert error.exit_code == 2  # noqa: PT017  (taking it is right as well)
        expect_readable(str(error))
        return str(error)
    for warning in blueprint.warnings:
        expect_readable(warning)
    dumped = folder / "dumped.yaml"
    dumped.write_text(dump_config(config), encoding="utf-8")
    assert load_config(dumped) == config
    return None


def refusal(load_it, folder):
    start = time.process_time()
    said = answer(load_it, folder)
    assert said is not None, "taken"
    assert time.process_time() - start < SECONDS
    return said


def expect_readable(said):
    """Expect at most a screen of lines, each not too long, with no letter that a terminal would act on."""
    lines = said.split("\n")
    assert said
    assert len(lines) <= LINES
    assert all(len(line) <= COLUMNS for line in lines)
    assert all(line.isprintable() for line in lines)
    assert "Traceback" not in said


# Mutated texts, values, overrides and blocks


@many(450)
@given(st.data())
def test_any_mutation_of_a_configs_text_is_taken_or_refused(folder, data):
    text = data.draw(st.sampled_from(RESOLVED))
    for _ in range(data.draw(st.integers(1, 3))):
        text = data.draw(mutation(text))
    content = text.encode(errors="surrogatepass")
    at = data.draw(st.integers(0, len(content)))
    content = content[:at] + data.draw(st.sampled_from([b""] * 9 + [b"\xff", b"\xc3"])) + content[at:]
    path = folder / "mutated.yaml"
    path.write_bytes(content)
    answer(lambda: load_config(path), folder)


@st.composite
def mutation(draw, text):
    """Cut, double, replace or insert a letter, a token or a line."""
    parts = {"letter": list(text), "token": text.split(" "), "line": text.split("\n")}
    kind = draw(st.sampled_from(list(parts)))
    pieces = parts[kind]
    if not pieces:
        return draw(WORDS)
    at = draw(st.integers(0, len(pieces) - 1))
    new = draw(LETTERS if kind == "letter" else WORDS | LETTERS)
    pieces[at : at + 1] = draw(
        st.sampled_from([[], [pieces[at]] * 2, [new], [new, pieces[at]], [pieces[at - 1]], [new] * 100])
    )
    return {"letter": "", "token": " ", "line": "\n"}[kind].join(pieces)


def places(values, above=()):
    """Return the place of every key."""
    found = []
    for key, value in values.items():
        found += [(*above, key), *(places(value, (*above, key)) if isinstance(value, dict) else [])]
    return found


@many(900)
@given(st.data())
def test_any_value_in_any_place_is_taken_or_refused_by_its_key(folder, data):
    values = copy.deepcopy(data.draw(st.sampled_from(VALUES)))
    *above, key = place = data.draw(st.sampled_from(places(values)))
    section = values
    for part in above:
        section = section[part]
    old, what = section.pop(key), data.draw(st.sampled_from(["replaced"] * 6 + ["renamed", "deleted", "moved"]))
    if what == "replaced":
        section[key] = data.draw(ODD)
    elif what == "renamed":
        key = data.draw(st.text(max_size=5) | st.sampled_from(["\x1b[31m", "k" * 9000, "a\n" * 99, key.upper()]))
        section[key] = old
    elif what == "moved":
        values[key] = old
    said = answer(lambda: check_values(values, {}, "config"), folder)
    # A deleted key is told by what its section needs, and the arithmetic by the keys that mend it.
    named = {part for part in place if part.isprintable()}
    assert said is None or any(part in said for part in named) or what == "renamed"


@many(450)
@given(st.data())
def test_any_override_is_taken_or_refused_as_it_was_written(folder, files_read_once, data):
    path, values = data.draw(st.sampled_from(list(zip(CONFIGS, VALUES, strict=True))))
    key = ".".join(data.draw(st.sampled_from(places(values))))
    override = f"{key}={data.draw(WORDS | st.text(max_size=8) | ODD.map(str))}"
    for _ in range(data.draw(st.integers(0, 2))):
        override = data.draw(mutation(override))
    answer(lambda: load_config(path, [override]), folder)


@many(600)
@given(st.data())
def test_any_block_line_is_read_or_refused_in_three_lines(folder, data):
    signs = ["->", "→", "⟶", "(", ")", ",", "=", "\x1b[31m", "\n", "\x85", "x" * 3000, "(" * 500, "BN", "ｂｎ"]
    options = ["eps=1e-3", "momentum=nan", "groups=0", "p=1e999", "size=" + "9" * 5000, "kernel=-3", "affine=1"]
    tokens = st.sampled_from([*ITEMS, "norm", "act", *signs, *options])
    block = data.draw(st.lists(tokens, min_size=1, max_size=9).map(" ".join) | lines_of_items())
    try:
        parse_block(block, norm="bn", activation="relu")
    except BlockError as error:
        expect_readable(str(error))
    values = copy.deepcopy(VALUES[0])
    values["model"] = {"arch": "mlp", "hidden": [32, 32], "block": block}
    said = answer(lambda: check_values(values, {}, "config"), folder)
    assert said is None or "model" in said


def lines_of_items():
    """Lines that read, but for what one mutation does to them."""
    items = st.sampled_from(["linear", "bn(eps=1e-3)", "relu", "gn(groups=4)", "dropout(p=0.1)", "ln", "tanh"])
    return st.lists(items, min_size=1, max_size=5).map(" -> ".join).map("linear -> ".__add__).flatmap(mutation)


# YAML's own ways to make much of little


@pytest.mark.parametrize(
    "text",
    [
        "a: &a 0." + "9" * 9000 + "\nb: [" + "*a, " * 20_000 + "]",
        "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 9)}]\n" for n in range(9)),
        "&a [*a]",
        "&a {b: *a}",
        "a: &a {x: 1}\nb: {<<: [" + "*a," * 20_000 + "]}",
        "[" * 40_000,
        "{a: " * 20_000,
        "- " * 40_000,
        "? " * 40_000,
        "?\n" * 40_000,
        "-\n" * 40_000,
        "[" + "1," * 40_000 + "]",
        "".join(f"k{n}: 1\n" for n in range(11_000)),
        "[" + ",".join(f"&a{n} 1" for n in range(10_001)) + "]",
    ],
    ids=lambda text: text[:12],
)
def test_a_text_with_more_values_than_a_config_is_refused_before_all_are_read(text):
    start = time.process_time()
    with pytest.raises(ConfigError, match=rf"(more than {MAX_NODES:,} values or {MAX_DEPTH} levels|letters); expected"):
        read_yaml(text, "x.yaml")
    assert time.process_time() - start < SECONDS


def test_as_many_values_as_there_may_be_are_read():
    assert read_yaml("[" + "1, " * (MAX_NODES - 1) + "]", "x.yaml")[0] == [1] * (MAX_NODES - 1)


def test_a_long_text_that_an_alias_repeats_is_no_more_work_than_its_letters():
    text = "a: &a 0." + "9" * (MAX_LETTERS - 2) + "\nb: [" + "*a, " * (MAX_NODES - 10) + "]"
    start = time.process_time()
    assert len(read_yaml(text, "x.yaml")[0]["b"]) == MAX_NODES - 10
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x" * (MAX_LETTERS + 1) + ": 1", "x.yaml:1: not YAML"),  # a key on one line has 1,024 letters at most
        ("? " + "x" * (MAX_LETTERS + 1), "x.yaml:1: a text of 10,001 letters"),
        ("b:\n  a: " + "x" * (MAX_LETTERS + 1), "x.yaml:2: a text of 10,001 letters"),
        ("a: " + "x" * MAX_BYTES, "x.yaml: 100,003 letters"),
        ("b: 1\na: " + "9" * 9999, "x.yaml:2: a number of 9,999 digits"),
        ('a: "\\ud800"', r"x.yaml:1: \ud800 holds half a letter"),
        ('"\\udfff": 1', r"x.yaml:1: \udfff holds half a letter"),
        ('"\\e[31m": 1\n"\\e[31m": 2', r"x.yaml:2: the key \x1b[31m stands twice, first at x.yaml:1"),
        ("a: !%1b[31m 1", r"the tag !\x1b[31m is not allowed"),
        ("*" + "a" * 5000, "found undefined alias"),
    ],
    ids=lambda text: text[:9],
)
def test_a_text_that_no_config_holds_is_named_and_can_be_seen(text, said):
    with pytest.raises(ConfigError) as caught:
        read_yaml(text, "x.yaml")
    assert str(caught.value).startswith(said) or said in str(caught.value)
    expect_readable(str(caught.value))


# Names and files


NO_FOLDERS = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/x",
    "C:\\x",
    "C:x",
    "a\\b",
    "~",
    "-x",
    ".x",
    "a b",
    "a ",
    " a",
    "a.",
    "a...",
]
NO_FOLDERS += [
    "CON",
    "nul.txt",
    "aux.",
    "Com1.log",
    "lpt9",
    "prn.a.b",
    "a\0",
    "a\n",
    "a\x1b[31m",
    "ａ",
    "ＣＯＮ",
    "аbc",
    "x" * 101,
]


@pytest.mark.parametrize("name", NO_FOLDERS)
def test_a_name_that_is_no_folder_is_refused_where_it_is_given_and_made_safe_where_it_is_a_files(
    clean_file, tmp_path, folder, name
):
    values = read_yaml(clean_file.read_text(), "clean")[0]
    clean_file.write_text(dump_yaml({**values, "name": name}), encoding="utf-8")
    assert "name: " in refusal(lambda: load_config(clean_file), folder)
    assert "--name: name: " in refusal(lambda: load_config(clean_file, name=name), folder)
    clean_file.write_text(dump_yaml(values), encoding="utf-8")
    assert "name" in refusal(lambda: load_config(clean_file, [f"name={dump_yaml({'x': name})[3:]}"]), folder)
    if name and not set(name) & set("/\0") and len(name.encode()) < 200 and not name.startswith("."):
        path = tmp_path / f"{name}.yaml"
        path.write_text(dump_yaml(values), encoding="utf-8")
        made = load_config(path).name
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", made)
        assert made not in NO_FOLDERS


@pytest.mark.parametrize(
    "path", ["a\0b", "x" * 5000, "x" * 5000 + "/y", "a/" * 5000 + "x", "\x1b[31m", "a\n\nb", ".", "", "/"]
)
def test_a_path_that_is_no_file_is_refused(clean_file, folder, path):
    said = refusal(lambda: load_config(Path(path)), folder)
    assert "\n" not in said
    clean_file.write_text(dump_yaml({"base": path}), encoding="utf-8")
    assert "\n" not in refusal(lambda: load_config(clean_file), folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_and_a_device_are_refused_before_they_keep_anybody_waiting(clean_file, tmp_path, folder):
    os.mkfifo(tmp_path / "pipe.yaml")
    for place in (tmp_path / "pipe.yaml", Path("/dev/zero")):
        clean_file.write_text(f"base: {place}\n")
        for path in (place, clean_file):
            assert refusal(lambda: load_config(path), folder) == f"{place}: a pipe or a device; expected a YAML file"  # noqa: B023


def test_a_tower_of_bases_is_refused(clean_file, tmp_path, folder):
    files = [tmp_path / f"b{number}.yaml" for number in range(MAX_BASES + 2)]
    for path, base in zip(files, [*files[1:], clean_file], strict=True):
        path.write_text(f"base: {base.name}\n")
    assert load_config(files[2]).name == "b2"
    assert f"more than {MAX_BASES} files" in refusal(lambda: load_config(files[0]), folder)


def test_an_override_with_more_levels_than_a_config_is_refused(clean_file, folder):
    for value in ("1", "null"):
        said = refusal(lambda: load_config(clean_file, [".".join(["a"] * 50_000) + f"={value}"]), folder)  # noqa: B023
        assert "expected key=value" in said


# What no machine could do


def changed(**sections):
    values = copy.deepcopy(VALUES[0])
    values["data"] = {"dataset": "mnist5k", "batch_size": 64}
    values["model"] = {"arch": "mlp", "hidden": [64], "block": "linear -> bn -> relu"}
    for name, section in sections.items():
        values[name] = section if "arch" in section or name == "schedule" else values.get(name, {}) | section
    return lambda: check_values(values, {}, "config")


CNN = {"arch": "cnn", "block": "conv -> bn -> relu"}
RESNET = {"arch": "resnet", "block": "conv -> bn -> relu -> add"}


def synthetic(**options):
    return {"dataset": "synthetic", "synthetic": options}


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (
            {"model": {"arch": "mlp", "block": "linear", "hidden": [100_000] * 9000}},
            "weights of this network would take",
        ),
        (
            {"model": {"arch": "mlp", "block": "linear -> gn(groups=7)", "hidden": [100_000] * 9}},
            "do not divide 100000",
        ),
        ({"model": {"arch": "mlp", "block": "linear", "hidden": ["x"] * 9000}}, "(and 8992 more)"),
        ({"model": {"arch": "mlp", "block": "linear", "hidden": [10**9] * 9000}}, "(and 8992 more)"),
        ({"model": {**CNN, "stages": [4] * 9000}}, "needs images of more than 65536 x 65536"),
        ({"model": {**CNN, "stages": [4] * 9000, "blocks": 1000}}, "9,000,000 blocks of 3 items"),
        ({"model": {**CNN, "stages": [4] * 16, "blocks": 200}}, "needs images of at least 65536 x 65536"),
        ({"model": {**RESNET, "stages": [1] * 9000}}, "needs images of more than 65536 x 65536"),
        ({"model": {**RESNET, "stages": [1000] * 4, "width": 65_536}}, "weights of this network would take"),
        ({"model": {**RESNET, "stages": [1000] * 20}}, "20,000 blocks of 4 items are a network of 80,000"),
        ({"model": {"arch": "mlp", "block": "linear -> " * 900 + "bn", "hidden": [4]}}, "at most 2000 letters"),
        ({"data": synthetic(shape=[3, 100_000, 100_000])}, "at most 4096, found [3, 100000, 100000]"),
        ({"data": synthetic(shape=[3, 4096, 4096], size=10**7)}, "10,000,010 images and patterns of 3 x 4096 x 4096"),
        ({"data": synthetic(size=10**12)}, "data.synthetic.size: expected at most"),
        ({"data": {"batch_size": 10**400}}, "data.batch_size: expected at most"),
        ({"data": {"eval_batch_size": 10**400}}, "data.eval_batch_size: expected at most"),
        ({"data": {"limit": 10**400}}, "data.limit: expected at most"),
        ({"training": {"log_every": 10**400}}, "training.log_every: expected at most"),
        ({"schedule": {"name": "cosine", "warmup_epochs": 1e308}}, "schedule.warmup_epochs: expected at most"),
        ({"schedule": {"name": "step", "milestones": [1e308]}}, "schedule.milestones.0: expected at most"),
        (
            {"schedule": {"name": "step", "milestones": [1] * 101}},
            "schedule.milestones: expected a list of at most 100",
        ),
        ({"schedule": {"name": "step", "milestones": [1], "gamma": 1e308}}, "schedule.gamma: expected at most"),
        ({"init": {"gain": 1e308}}, "init.gain: expected at most 1e+30"),
        ({"optimizer": {"lr": 1e308}}, "optimizer.lr: expected at most 1e+30"),
        ({"probes": {"landscape": {"every": 1, "points": 10**12}}}, "probes.landscape.points: expected at most"),
        ({"probes": {"landscape": {"every": 1, "largest": 1e308}}}, "probes.landscape.largest: expected at most"),
        ({"probes": {"coupling": {"every": 1, "draws": 10**12}}}, "probes.coupling.draws: expected at most"),
        ({"probes": {"cost": {"every": 1, "repeats": 10**12}}}, "probes.cost.repeats: expected at most"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_machine_could_do_is_answered_in_words(folder, sections, said):
    assert said in refusal(changed(**sections), folder)


def test_a_batch_that_no_memory_holds_is_refused_by_its_size(folder):
    model = {**CNN, "stages": [[100_000]], "pool": "stride"}
    data = synthetic(shape=[1, 1024, 1024], size=1000) | {"batch_size": 512}
    gigabytes = 4 * 512 * 100_000 * 1024**2 / 1e9
    said = refusal(changed(model=model, data=data), folder)
    assert (
        f"data.batch_size 512: the largest layer gives out 104,857,600,000 values for each example, {gigabytes:,.0f} GB"
        in said
    )


def test_the_largest_factor_at_the_most_milestones_is_still_a_float(folder):
    said = answer(changed(schedule={"name": "step", "milestones": [1] * 100, "gamma": 1000}), folder)
    assert said is None
    assert float("inf") > 1000.0**100


@pytest.mark.parametrize("path", ["a\0b", "x" * 1025, "~nobody-has-this-name/x", "/dev/zero", "\x1b[31m"])
@pytest.mark.parametrize("dataset", ["npz", "image_folder"])
def test_a_place_where_no_data_can_lie_is_refused(folder, dataset, path):
    assert "data.path" in refusal(changed(data={"dataset": dataset, "path": path}), folder)


# The program itself


@pytest.mark.parametrize(
    "change",
    [
        "name: ../outside",
        'name: "\\e[31m"',
        "data: {dataset: synthetic, synthetic: {shape: [9, 9999999, 9]}}",
        "&a [*a]",
        "x: \xff",
    ],
)
def test_the_program_ends_with_2_and_leaves_nothing_behind(tmp_path, clean_file, change):
    path = tmp_path / "bad.yaml"
    path.write_bytes(f"base: clean.yaml\n{change}\n".encode("latin-1"))
    before = sorted(tmp_path.rglob("*"))
    done = bnexp("train", str(path), "--runs-dir", str(tmp_path / "runs"), cwd=Path(__file__).parents[2])
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    expect_readable(done.stderr.rstrip("\n"))
    assert sorted(tmp_path.rglob("*")) == before
