"""The config of a run under seal: read as the run began with it, and a later change told by its keys."""

import hashlib
import json
import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnexp.config import yaml_text
from bnexp.config.yaml_text import dump_yaml, read_yaml
from bnexp.runs.folder import read_json
from bnexp.runs.rows import Rows
from bnexp.runs.run import read_run
from bnexp.runs.seal import SEAL, changed_rows, read_config, seal_of, seal_of_figures, write_config

plain_values = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) | st.text(max_size=20)
keys = st.text("abcdefgh_", min_size=1, max_size=8)
sections = st.dictionaries(keys, plain_values | st.lists(plain_values, max_size=3), max_size=4)


@settings(deadline=None)
@given(st.dictionaries(keys, plain_values | sections, min_size=1, max_size=5))
def test_a_config_is_read_as_it_was_written(values):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(dump_yaml(values), encoding="utf-8")
        config, problem = read_config(Path(folder))
        write_config(Path(folder), dump_yaml(values))
        copied, _ = read_config(Path(folder))
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
    config, problem = read_config(tmp_path)
    assert config is None
    assert problem is not None
    assert str(path) in problem


def test_a_config_with_comments_is_read_too(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("# mine\ndata:\n  batch_size: 32  # small\n\nseed: 1\n")
    assert read_config(tmp_path) == ({"data.batch_size": 32, "seed": 1}, None)


TEXT = "name: small\nseed: 3\ndata:\n  batch_size: 32\n  limit: 1e-4\n"
VALUES = {"name": "small", "seed": 3, "data.batch_size": 32, "data.limit": 1e-4}
SEALED = {SEAL: seal_of(read_yaml(TEXT, "text")[0])}


@pytest.fixture
def no_yaml(monkeypatch):
    """Make reading a YAML file an error, so that what is read comes from config.json."""
    monkeypatch.setattr(yaml_text, "read_yaml_file", lambda path: pytest.fail(f"read {path}"))


def test_a_config_is_read_from_its_sealed_copy(tmp_path, no_yaml):
    write_config(tmp_path, TEXT)
    assert (tmp_path / "config.yaml").read_text() == TEXT
    assert read_json(tmp_path / "config.json")["config"] == {
        **{"name": "small", "seed": 3},
        **{"data": {"batch_size": 32, "limit": 1e-4}},
    }
    assert read_config(tmp_path) == (VALUES, None)


def test_an_edited_config_is_told_and_what_the_run_began_with_counts(tmp_path):
    path, text = tmp_path / "config.yaml", dump_yaml(read_yaml(TEXT, "text")[0])
    write_config(tmp_path, text)
    for meta in ({}, SEALED):  # without a checksum, as earlier versions wrote meta.json, and with it
        path.write_text(text.replace("32", "64"))
        told = f"{path}: data.batch_size is 64, but the run began with 32. The values that it began with count"
        assert read_config(tmp_path, meta) == (VALUES, told)
        path.write_text("name: [")
        config, problem = read_config(tmp_path, meta)
        assert config == VALUES
        assert problem.startswith(f"{path}:1: not YAML")
        path.unlink()
        assert read_config(tmp_path, meta) == (VALUES, f"{path}: no such file; config.json tells what it was")


def test_every_kind_of_change_is_named_and_many_are_counted(tmp_path):
    path = tmp_path / "config.yaml"
    write_config(tmp_path, TEXT)
    path.write_text("name: big\nseed: 4\ndata:\n  batch_size: 64\nnew: 1\n")
    _, problem = read_config(tmp_path, SEALED)
    assert problem == (
        f"{path}: name is big, but the run began with small; seed is 4, but the run began with 3; "
        "data.batch_size is 64, but the run began with 32; and 2 more keys. The values that it began with count"
    )
    path.write_text(TEXT.replace("  limit: 1e-4\n", "  whiten: 1\n"))
    _, problem = read_config(tmp_path, SEALED)
    assert "data.whiten is 1, but the run began with not there" in problem


def test_comments_the_order_of_keys_and_where_checkpoints_are_kept_are_no_change(tmp_path):
    write_config(tmp_path, TEXT + "checkpoints:\n  every_epochs: 1\n")
    meta = {SEAL: seal_of(read_json(tmp_path / "config.json")["config"])}
    path = tmp_path / "config.yaml"
    path.write_text(
        "seed: 3  # mine\nname: small\ncheckpoints: {every_epochs: 5}\ndata: {limit: 1e-4, batch_size: 32}\n"
    )
    assert read_config(tmp_path, meta) == ({**VALUES, "checkpoints.every_epochs": 5}, None)


def test_what_a_resumed_run_may_change_breaks_no_seal():
    values = {"seed": 0, "data": {"eval_batch_size": 8}, "checkpoints": {"every_epochs": 1}}
    assert seal_of(values) == seal_of({"seed": 0, "data": {"eval_batch_size": 4}})
    assert seal_of(values) != seal_of({**values, "seed": 1})


def test_where_both_were_changed_the_config_is_not_known(tmp_path):
    """`sed` over the whole folder changes the copy and its checksum's text too; meta.json still tells."""
    write_config(tmp_path, TEXT)
    other = tmp_path / "other"
    other.mkdir()
    write_config(other, TEXT.replace("32", "64"))
    for name in ("config.yaml", "config.json"):
        (tmp_path / name).write_bytes((other / name).read_bytes())
    config, problem = read_config(tmp_path, SEALED)
    assert config is None
    assert problem.startswith(f"{tmp_path / 'config.yaml'}: not the config that the run began with")
    (tmp_path / "config.json").unlink()
    assert read_config(tmp_path, SEALED)[0] is None
    (tmp_path / "config.yaml").write_text(TEXT)
    assert read_config(tmp_path, SEALED) == (VALUES, None)


@pytest.mark.parametrize("copy", [None, "", "{", "[]", "{}", '{"config": 3}', '{"sha256": 1, "config": {"seed": 4}}'])
def test_without_a_sound_copy_the_yaml_is_read(tmp_path, copy):
    write_config(tmp_path, TEXT)
    (tmp_path / "config.json").unlink()
    if copy is not None:
        (tmp_path / "config.json").write_text(copy)
    assert read_config(tmp_path) == (VALUES, None)


@settings(deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 255))
def test_a_changed_byte_of_the_copy_changes_no_value(where, byte):
    with tempfile.TemporaryDirectory() as folder:
        write_config(Path(folder), TEXT)
        copy = Path(folder) / "config.json"
        content = bytearray(copy.read_bytes())
        content[int(where * len(content))] = byte
        copy.write_bytes(content)
        assert read_config(Path(folder)) == (VALUES, None)


def test_a_value_that_json_lacks_is_read_from_the_yaml(tmp_path):
    write_config(tmp_path, "seed: .inf\n")
    assert read_config(tmp_path) == ({"seed": math.inf}, None)


def test_figures_that_were_changed_after_the_end_of_a_run_are_named(write_run, tmp_path):
    folder = write_run(tmp_path / "arm" / "seed0")
    summary, metrics, meta = (folder / name for name in ("summary.json", "metrics.jsonl", "meta.json"))
    assert read_run(folder).rows_seal == {}, "a run of an earlier version"
    content = metrics.read_bytes()
    written = Rows(content.count(b"\n"), len(content), hashlib.sha256(content).hexdigest())
    meta.write_text(json.dumps({**json.loads(meta.read_text()), **seal_of_figures(folder, written)}))

    def problems():
        found = read_run(folder)
        rows = changed_rows(found.metrics_path, found.rows_seal)
        return [*found.problems, *([rows] if rows else [])]

    assert problems() == []
    whole = {path: path.read_text() for path in (summary, metrics)}
    summary.write_text(whole[summary].replace("0.", "0.9", 1))
    assert problems() == [f"{summary}: changed after the run wrote it: its figures are not those of the run"]
    summary.write_text(whole[summary])
    metrics.write_text(whole[metrics].replace("0", "1", 1))
    assert problems() == [f"{metrics}: changed after the run wrote it: its rows are not those of the run"]
    metrics.write_text(whole[metrics] + '{"step":14}\n')
    size = len(whole[metrics])
    assert problems() == [
        f"{metrics}: {size + 12:,} bytes, but the run wrote {size:,}: rows were changed, added or lost since"
    ]
