import math
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bnexp.config import yaml_text
from bnexp.config.nested import MAX_BYTES
from bnexp.config.yaml_text import MAX_DEPTH, MAX_NODES, dump_yaml, no_such_file, read_yaml, read_yaml_file
from bnexp.errors import ConfigError

TRICKY = [
    "no",
    "off",
    "yes",
    "on",
    "null",
    "~",
    "true",
    "1e-4",
    "010",
    "0o17",
    "1:30",
    "1_000",
    "2024-01-01",
    "-",
    "=",
    "<<",
    "",
    "\x85",
    "a\nb ",
    "\u2028",
]
WORDS = st.text(max_size=20) | st.sampled_from(TRICKY)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=8
)


def read(text):
    return read_yaml(text, "x.yaml")[0]


@pytest.mark.parametrize("word", ["1e-4", "1E-4", "1.e-4", ".5", "5.", "+1.5", "-2e3", "1e5", "50_000.5"])
def test_what_looks_like_a_number_is_one(word):
    assert read(f"x: {word}") == {"x": float(word)}
    assert isinstance(read(f"x: {word}")["x"], float)


@pytest.mark.parametrize("word", ["0", "7", "-3", "+12", "60_000", "1_000_000"])
def test_whole_numbers_stay_whole(word):
    assert read(f"x: {word}") == {"x": int(word)}
    assert isinstance(read(f"x: {word}")["x"], int)


@pytest.mark.parametrize(
    "word", ["no", "No", "NO", "off", "yes", "on", "n", "y", "1:30", "1:30:00", "010", "0o17", "0x1f"]
)
def test_words_of_yaml_1_1_stay_words(word):
    assert read(f"x: {word}") == {"x": word}


@pytest.mark.parametrize(
    "word", ["2024-01-01", "2024-01-01 10:00:00", "2024_01", "1_0", "1__000", "_1", "1.2.3", "e5", "--1", "=", "NaN5"]
)
def test_dates_and_versions_stay_words(word):
    assert read(f"x: {word}") == {"x": word}


def test_a_merge_key_takes_what_a_mapping_has_not_itself() -> None:
    text = (
        "a: &a {x: 1, y: {z: 2}}\nb: &b\n  y: 3\n  w: 4\nc:\n  <<: *a\n  x: 5\nd: {<<: [*b, *a], v: 6}\ne: {'<<': 7}\n"
    )
    values, origins = read_yaml(text, "a.yaml")
    assert values["c"] == {"x": 5, "y": {"z": 2}}
    assert values["d"] == {"v": 6, "y": 3, "w": 4, "x": 1}
    assert values["e"] == {"<<": 7}
    lines = {place: origins[place] for place in (("c", "x"), ("c", "y", "z"), ("d", "w"), ("d", "x"))}
    assert list(lines.values()) == ["a.yaml:7", "a.yaml:1", "a.yaml:4", "a.yaml:1"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &a [1]\nb: {<<: *a}\n", "a.yaml:1: << merges no such value; expected keys and values such as"),
        ("b:\n  <<: 3\n", "a.yaml:2: << merges no such value"),
        ("a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a\n", "a.yaml:4: the key << stands twice"),
        ("a: &a {x: 1}\nb:\n  <<: *a\n  y: 1\n  y: 2\n", "a.yaml:5: the key y stands twice, first at a.yaml:4"),
        ("a: &a {<<: *a}\n", "a.yaml:1: more than 10,000 values or 20 levels"),
        (f"a: &a {{<<: [{'{x: 1}, ' * 9_999}]}}\nb: {{<<: [*a, *a]}}\n", "a.yaml:1: more than 10,000 values"),
    ],
)
def test_what_cannot_be_merged_is_refused_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(problem)):
        read_yaml(text, "a.yaml")


@pytest.mark.parametrize(("word", "value"), [("true", True), ("False", False), ("null", None), ("~", None), ("", None)])
def test_the_few_special_words(word, value):
    assert read(f"x: {word}") == {"x": value}


def test_infinities_and_nan_are_read_and_left_to_the_schema():
    assert read("[.inf, -.inf]") == [math.inf, -math.inf]
    assert math.isnan(read(".nan"))


@given(st.dictionaries(WORDS, VALUES, max_size=4))
def test_what_is_dumped_is_read_back(values):
    assert read(dump_yaml(values)) == values


@given(st.text(max_size=80) | st.text("[]{}:,-&*!|>\n \t'\"#%@ab1?", max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        read(text)
    except ConfigError as error:
        assert str(error).startswith("x.yaml")  # noqa: PT017  (reading it is right as well)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(shared_clean_file, content):
    path = shared_clean_file.with_name("bytes.yaml")
    path.write_bytes(content)
    try:
        read_yaml_file(path)
    except ConfigError as error:
        assert str(path) in str(error)  # noqa: PT017  (reading it is right as well)


def test_each_key_knows_its_line():
    _, origins = read_yaml("a: 1\nb:\n  c: [1,\n    2]\n  d: 3\n", "x.yaml")
    assert origins[("a",)] == "x.yaml:1"
    assert origins[("b", "c", 1)] == "x.yaml:4"
    assert origins[("b", "d")] == "x.yaml:5"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "x.yaml:3: the key a stands twice, first at x.yaml:1"),
        ("b:\n  a: 1\n  'a': 2\n", "x.yaml:3: the key a stands twice"),
        ("a: 1\n? [b]\n: 2\n", "x.yaml:2: a key must be a word"),
        (
            "a: !!python/object/apply:os.system [ls]\n",
            "x.yaml:1: the tag !!python/object/apply:os.system is not allowed",
        ),
        ("a: !!python/name:os.system\n", "the tag !!python/name:os.system is not allowed"),
        ("a: !mine 1\n", "the tag !mine is not allowed"),
        ("a: !!binary aGk=\n", "the tag !!binary is not allowed"),
        ("a: !!set {b}\n", "the tag !!set is not allowed"),
        ("a: !!int maybe\n", "the tag !!int is not allowed"),
        ("a: !!bool maybe\n", "the tag !!bool is not allowed"),
        ('a: !!int ""\n', "the tag !!int is not allowed"),
        (
            "a: [1, 2\nb: 3\n",
            "x.yaml:1: not YAML: this list in [ ] is not closed, or a comma is missing\n    a: [1, 2\n       ^",
        ),
        ("o: {a: 1\nb: 3\n", "x.yaml:1: not YAML: these keys in { } are not closed, or a comma is missing"),
        ("a: [1, 2}\n", "x.yaml:1: not YAML: while parsing a flow sequence expected ',' or ']', but got '}'"),
        (
            "a: 1\nb:2\nc: 3\n",
            "x.yaml:2: not YAML: a key, a colon and a space are expected, such as norm: bn\n    b:2\n    ^",
        ),
        ("a: 1\nb 2\nc: 3\n", "x.yaml:2: not YAML: a key, a colon and a space"),
        ("a: 'b\nc: 3\n", "x.yaml:1: not YAML: this quotation mark is not closed"),
        (
            "m:\n  a: 1  # one\n   b: 2\n",
            "x.yaml:3: not YAML: the indentation: keys of one section begin in one column",
        ),
        (
            "m:\n  a: 1\nb: 2\n  c: 3\n",
            "x.yaml:4: not YAML: a key where a value goes on: keys of one section begin in one",
        ),
        ("a: 1\n\tb: 2\n", "x.yaml:2: not YAML: a tab in the indentation; YAML indents with spaces"),
        ("a: b: c\n", "with a colon stands in quotes\n    a: b: c\n        ^"),
        ("a: *b\n", "undefined alias 'b'"),
        ("a: 1\n---\nb: 2\n", "not YAML: expected a single document"),
        ("a: 1\x00\n", "x.yaml: not YAML"),
        ("a: " + "9" * 5000, "x.yaml:1: a number of 5,000 digits"),
    ],
)
def test_a_mistake_is_answered_with_its_line(text, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        read(text)


def test_a_word_in_quotes_with_its_tag_is_a_word():
    assert read("a: !!str 1e-4") == {"a": "1e-4"}


def test_a_small_file_does_not_grow_beyond_bounds():
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 9):
        laughs += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n"
    with pytest.raises(ConfigError, match=f"more than {MAX_NODES:,} values"):
        read(laughs)


def test_a_value_that_holds_itself_is_refused():
    with pytest.raises(ConfigError, match=f"{MAX_DEPTH} levels"):
        read("a: &a [*a]\n")


@pytest.mark.parametrize("depth", [MAX_DEPTH + 2, 10_000])
def test_deep_nesting_is_refused(depth):
    with pytest.raises(ConfigError, match=f"more than .*{MAX_DEPTH} levels"):
        read("[" * depth + "]" * depth)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    path = tmp_path / "notepad.yaml"
    path.write_bytes("a: 1\r\n".encode("utf-8-sig"))
    assert read_yaml_file(path)[0] == {"a": 1}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x80\x81", "not a text file (byte 0 is not UTF-8)"),
        (b"PK\x03\x04", "not YAML"),
        (b"a: 1\n" * (MAX_BYTES // 5 + 1), f"larger than {MAX_BYTES:,} bytes"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content, said):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(f"{path}: {said}")):
        read_yaml_file(path)


def test_a_folder_and_a_file_below_a_file_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="a folder; expected a YAML file"):
        read_yaml_file(tmp_path)
    (tmp_path / "x.yaml").write_text("a: 1")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml_file(tmp_path / "x.yaml" / "y.yaml")


def test_a_missing_file_is_answered_with_the_one_that_was_meant(tmp_path):
    (tmp_path / "mnist_mlp_bn.yaml").touch()
    (tmp_path / "notes.txt").touch()
    meant = f'Did you mean "{tmp_path / "mnist_mlp_bn.yaml"}"?'
    for wrong in ("mnist_mlp_nb.yaml", "mnist_mlp_bn", "MNIST_MLP_BN.yml"):
        with pytest.raises(ConfigError, match=re.escape(meant)):
            read_yaml_file(tmp_path / wrong)


def test_a_shared_folder_does_not_make_two_names_near(tmp_path):
    (tmp_path / "abc.yaml").touch()
    assert no_such_file(tmp_path / "zebra_crossing") == f"{tmp_path / 'zebra_crossing'}: no such file"
    assert no_such_file(Path("nowhere/abc.yaml")) == f"{Path('nowhere/abc.yaml')}: no such file"


def test_lists_stay_on_one_line_and_keys_in_order():
    assert dump_yaml({"z": [1, 2], "a": (3,)}) == "z: [1, 2]\na: [3]\n"


def test_what_other_readers_of_yaml_take_from_a_dump_is_the_same_where_they_agree():
    values = {"a": 1, "b": [0.5, True, None], "c": "text", "d": "1e-4", "e": "null"}
    assert yaml.safe_load(dump_yaml(values)) == values


def test_thousands_of_brackets_are_not_all_looked_at(monkeypatch):
    opened = []
    fetch = yaml_text._Loader.fetch_flow_collection_start
    monkeypatch.setattr(
        yaml_text._Loader, "fetch_flow_collection_start", lambda self, token: (opened.append(1), fetch(self, token))
    )
    with pytest.raises(ConfigError, match="more than 10,000 values or 20 levels"):
        read_yaml("[" * 5000, "test")
    assert len(opened) < 100
