"""The run folder: never shared, its records whole or not there, and its config never another than config.yaml says."""

import json
import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnexp.config.yaml_text import dump_yaml, read_yaml
from bnexp.files import finite_or_null
from bnexp.runs import folder as run_folder
from bnexp.runs.folder import read_config, read_json, seed_of, write_config, write_json


def strict(text):
    """Read JSON as the standard has it: without NaN and Infinity."""
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_figures_that_are_not_finite_become_null_at_any_depth(tmp_path):
    nan, inf = math.nan, math.inf
    values = {"a": nan, "b": {"c": [1.5, inf, {"d": -inf, "e": "nan"}]}, "f": (nan, 2), "g": None, "h": True, "i": 0.0}
    write_json(tmp_path / "summary.json", values)
    text = (tmp_path / "summary.json").read_text()
    assert strict(text) == {
        **{"a": None, "b": {"c": [1.5, None, {"d": None, "e": "nan"}]}},
        **{"f": [None, 2], "g": None, "h": True, "i": 0.0},
    }
    assert text.endswith("}\n")
    assert math.isnan(values["a"]), "the values handed in stay what they were"


def test_finite_figures_are_kept_to_the_last_digit(tmp_path):
    values = {"a": 0.1 + 0.2, "b": 5e-324, "c": 1.7976931348623157e308, "d": 2**60}
    write_json(tmp_path / "summary.json", values)
    assert strict((tmp_path / "summary.json").read_text()) == values
    assert finite_or_null(values) == values


def test_what_is_no_json_is_an_error_and_leaves_no_file(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "meta.json", {"path": tmp_path})
    assert list(tmp_path.iterdir()) == []


def test_the_names_of_the_records_are_those_of_the_documentation():
    documented = run_folder.__doc__
    names = (run_folder.CONFIG, run_folder.CONFIG_COPY, run_folder.META, run_folder.METRICS, run_folder.SUMMARY)
    for name in names:
        assert f"  {name}" in documented


def test_seed_and_repeat_of_a_folder():
    assert seed_of(Path("seed3")) == (3, 1)
    assert seed_of(Path("seed3-12")) == (3, 12)
    assert seed_of(Path("best")) == (None, 1)


plain_values = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) | st.text(max_size=20)
keys = st.text("abcdefgh_", min_size=1, max_size=8)
sections = st.dictionaries(keys, plain_values | st.lists(plain_values, max_size=3), max_size=4)


@settings(deadline=None)
@given(st.dictionaries(keys, plain_values | sections, min_size=1, max_size=5))
def test_a_config_is_read_as_it_was_written(values):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(dump_yaml(values), encoding="utf-8")
        config, problem = read_config(path)
        write_config(Path(folder), dump_yaml(values))
        copied, _ = read_config(path)
        whole, _ = read_yaml(path.read_text(encoding="utf-8"), "whole")
    expected = {}
    for key, value in whole.items():
        nested = isinstance(value, dict) and value
        expected |= {f"{key}.{below}": one for below, one in value.items()} if nested else {key: value}
    assert (config, problem) == (expected, None)
    assert json.dumps(copied) == json.dumps(config)


@pytest.mark.parametrize(
    "text", ["", "- 1\n", "a: [1\n", "a: 1\na: 2\n", "a: !!python/object:os.system {}\n", "a\x00: 1"]
)
def test_a_config_that_cannot_be_read_is_named(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    config, problem = read_config(path)
    assert config is None
    assert problem is not None
    assert str(path) in problem


def test_a_config_with_comments_is_read_too(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("# mine\ndata:\n  batch_size: 32  # small\n\nseed: 1\n")
    assert read_config(path) == ({"data.batch_size": 32, "seed": 1}, None)


TEXT = "name: small\nseed: 3\ndata:\n  batch_size: 32\n  limit: 1e-4\n"
VALUES = {"name": "small", "seed": 3, "data.batch_size": 32, "data.limit": 1e-4}


@pytest.fixture
def no_yaml(monkeypatch):
    """Make reading a YAML file an error, so that what is read comes from config.json."""
    monkeypatch.setattr(run_folder, "read_yaml_file", lambda path: pytest.fail(f"read {path}"))


def test_a_config_is_read_from_its_sealed_copy(tmp_path, no_yaml):
    write_config(tmp_path, TEXT)
    assert (tmp_path / "config.yaml").read_text() == TEXT
    assert read_json(tmp_path / "config.json")["config"] == {
        **{"name": "small", "seed": 3},
        **{"data": {"batch_size": 32, "limit": 1e-4}},
    }
    assert read_config(tmp_path / "config.yaml") == (VALUES, None)


def test_an_edited_config_counts_at_once(tmp_path):
    write_config(tmp_path, TEXT)
    (tmp_path / "config.yaml").write_text(TEXT.replace("32", "64"))
    assert read_config(tmp_path / "config.yaml") == ({**VALUES, "data.batch_size": 64}, None)
    (tmp_path / "config.yaml").write_text("name: [")
    assert read_config(tmp_path / "config.yaml")[0] is None
    (tmp_path / "config.yaml").unlink()
    config, problem = read_config(tmp_path / "config.yaml")
    assert (config, problem) == (None, f"{tmp_path / 'config.yaml'}: no such file")


@pytest.mark.parametrize("copy", [None, "", "{", "[]", "{}", '{"config": 3}', '{"sha256": 1, "config": {"seed": 4}}'])
def test_without_a_sound_copy_the_yaml_is_read(tmp_path, copy):
    write_config(tmp_path, TEXT)
    (tmp_path / "config.json").unlink()
    if copy is not None:
        (tmp_path / "config.json").write_text(copy)
    assert read_config(tmp_path / "config.yaml") == (VALUES, None)


@settings(deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 255))
def test_a_changed_byte_of_the_copy_changes_no_value(where, byte):
    with tempfile.TemporaryDirectory() as folder:
        write_config(Path(folder), TEXT)
        copy = Path(folder) / "config.json"
        content = bytearray(copy.read_bytes())
        content[int(where * len(content))] = byte
        copy.write_bytes(content)
        assert read_config(Path(folder) / "config.yaml") == (VALUES, None)


def test_a_value_that_json_lacks_is_read_from_the_yaml(tmp_path):
    write_config(tmp_path, "seed: .inf\n")
    assert read_config(tmp_path / "config.yaml") == ({"seed": math.inf}, None)
