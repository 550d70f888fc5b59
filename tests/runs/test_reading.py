import io
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnexp.config.yaml_text import dump_yaml, read_yaml
from bnexp.runs import reading as records
from bnexp.runs.reading import Evaluation, Record, Tail, read_config, read_evaluations, read_tail

EVALUATED = {"step": 10, "epoch": 1.0, "loss/val": 0.3, "accuracy/val": 0.9}
PLAIN = {"step": 15, "epoch": 1.5, "loss/train": 0.2}

numbers = st.none() | st.floats(0, 1)
rows = st.lists(
    st.fixed_dictionaries(
        {"step": st.integers(0, 10**6), "pad": st.text(max_size=40)}, optional={"accuracy/val": numbers}
    )
)


@pytest.fixture
def record(tmp_path: Path) -> Callable[[str], Record]:
    def write(text: str) -> Record:
        (tmp_path / "meta.json").write_text(text)
        return Record(tmp_path / "meta.json")

    return write


def test_evaluations_are_the_rows_with_validation_accuracy(write_metrics: Callable[..., Path]) -> None:
    path = write_metrics([PLAIN, EVALUATED, PLAIN, {**EVALUATED, "step": 20, "accuracy/val": None}])
    assert read_evaluations(path) == ([Evaluation(10, 1.0, 0.3, 0.9), Evaluation(20, 1.0, 0.3, None)], None)


def test_a_torn_last_row_is_passed_over_and_a_damaged_one_named(write_metrics: Callable[..., Path]) -> None:
    torn = json.dumps(EVALUATED).encode()[:-3]
    assert read_evaluations(write_metrics([EVALUATED], torn)) == ([Evaluation(10, 1.0, 0.3, 0.9)], None)
    path = write_metrics([EVALUATED], torn + b"\n")
    assert read_evaluations(path) == ([Evaluation(10, 1.0, 0.3, 0.9)], f"{path}: 1 evaluation row cannot be read")


def test_an_accuracy_that_cannot_be_is_not_taken(write_metrics: Callable[..., Path]) -> None:
    found, _ = read_evaluations(write_metrics([{**EVALUATED, "accuracy/val": 1.5}]))
    assert [one.accuracy for one in found] == [None]


def test_no_metrics_file_is_no_evaluation(tmp_path: Path) -> None:
    assert read_evaluations(tmp_path / "metrics.jsonl") == ([], None)
    assert read_tail(tmp_path / "metrics.jsonl") == (Tail(), None)


@settings(deadline=None)
@given(rows, st.integers(1, 200))
def test_reading_in_pieces_finds_what_reading_at_once_finds(written: list[dict[str, Any]], piece: int) -> None:
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(records, "_SCAN_BYTES", piece):
        path = Path(folder) / "metrics.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in written))
        found, problem = read_evaluations(path)
    assert problem is None
    expected = [(row["step"], row["accuracy/val"]) for row in written if "accuracy/val" in row]
    assert [(one.step, one.accuracy) for one in found] == expected


@settings(deadline=None)
@given(rows, st.integers(1, 200), st.booleans())
def test_the_tail_is_the_last_row_and_the_last_evaluation(
    written: list[dict[str, Any]], piece: int, torn: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(records, "_TAIL_BYTES", piece):
        path = Path(folder) / "metrics.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in written))
        tail, problem = read_tail(path)
    assert problem is None
    assert tail.step == (written[-1]["step"] if written else None)
    evaluated = [row for row in written if "accuracy/val" in row]
    assert (tail.evaluation and tail.evaluation.accuracy) == (evaluated[-1]["accuracy/val"] if evaluated else None)


def test_the_tail_skips_a_torn_row(write_metrics: Callable[..., Path]) -> None:
    tail, problem = read_tail(write_metrics([EVALUATED, PLAIN], b'{"step":99,"epo'))
    assert (tail.step, tail.epoch, problem) == (15, 1.5, None)
    assert tail.evaluation == Evaluation(10, 1.0, 0.3, 0.9)


def test_the_tail_names_a_damaged_row(write_metrics: Callable[..., Path]) -> None:
    path = write_metrics([EVALUATED], b'{"step":99,"epo\n')
    tail, problem = read_tail(path)
    assert tail.step == 10
    assert problem == f"{path}: rows near the end cannot be read"


def test_the_tail_of_a_long_file_is_read_without_the_rest(
    write_metrics: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_metrics([{**PLAIN, "pad": "x" * 1000}] * 5000 + [EVALUATED, PLAIN])
    read: list[int] = []

    class Counting(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            found = super().read(-1 if size is None else size)
            read.append(len(found))
            return found

    monkeypatch.setattr(Path, "open", lambda opened, *_, **__: Counting(opened))
    assert read_tail(path)[0].step == 15
    assert os.path.getsize(path) > 5_000_000
    assert 0 < sum(read) < 100_000


def test_looking_for_an_evaluation_ends_somewhere(
    write_metrics: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "_TAIL_BYTES", 1_000)
    monkeypatch.setattr(records, "_TAIL_LIMIT", 5_000)
    tail, problem = read_tail(write_metrics([EVALUATED] + [PLAIN] * 1000))
    assert (tail, problem) == (Tail(15, 1.5, None), None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "expected keys and values"),
        ("[" * 100_000, "not JSON"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
    ],
)
def test_a_record_that_cannot_be_read_says_so(record: Callable[[str], Record], text: str, said: str) -> None:
    found = record(text)
    assert found.text("status") is None
    assert found.found
    assert [said in problem and str(found.path) in problem for problem in found.problems] == [True]


def test_values_of_the_wrong_kind_are_refused_with_their_place(record: Callable[[str], Record]) -> None:
    found = record('{"a": {"b": "x"}, "c": 1.5, "d": true, "e": NaN, "f": 1e999, "g": -1}')
    assert found.number("a", "b") is None
    assert found.fraction("c") is None
    assert found.count("d") is None
    assert found.number("e") is None
    assert found.number("f") is None
    assert found.count("g") is None
    assert found.fraction("g") is None
    assert found.number("c", "deeper") is None
    assert found.number("c") == 1.5
    places = [problem.split(": ")[1].split()[0] for problem in found.problems]
    assert places == ["a.b", "c", "d", "f", "g", "g", "c"]


def test_a_record_is_read_up_to_a_limit(record: Callable[[str], Record]) -> None:
    found = record(" " * 10_000_000 + "{}")
    assert found.problems == [f"{found.path}: cannot be read: 10,000,002 bytes, expected at most 10,000,000"]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    said = [*Record(path).problems, read_config(path)[1], read_evaluations(path)[1], read_tail(path)[1]]
    assert [str(problem).startswith(f"{path}: cannot be read: not a regular file") for problem in said] == [True] * 4


def test_a_row_without_end_is_damage_and_the_rows_around_it_are_read(
    write_metrics: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss of power may leave zeros where rows were, gigabytes of them."""
    monkeypatch.setattr(records, "_SCAN_BYTES", 1 << 10)
    monkeypatch.setattr(records, "_ROW_LIMIT", 1 << 14)
    evaluated = json.dumps({**EVALUATED, "step": 20}).encode()
    path = write_metrics([EVALUATED], bytes(1 << 15) + b"\n" + evaluated + b"\n")
    found, problem = read_evaluations(path)
    assert [one.step for one in found] == [10, 20]
    assert problem is not None
    assert str(path) in problem


def test_an_end_without_a_whole_row_is_named(
    write_metrics: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "_TAIL_BYTES", 1_000)
    monkeypatch.setattr(records, "_TAIL_LIMIT", 5_000)
    path = write_metrics([EVALUATED], bytes(10_000))
    assert read_tail(path) == (Tail(), f"{path}: rows near the end cannot be read")


plain_values = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) | st.text(max_size=20)
keys = st.text("abcdefgh_", min_size=1, max_size=8)
sections = st.dictionaries(keys, plain_values | st.lists(plain_values, max_size=3), max_size=4)


@settings(deadline=None)
@given(st.dictionaries(keys, plain_values | sections, min_size=1, max_size=5))
def test_reading_by_sections_is_reading_the_whole(values: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(dump_yaml(values), encoding="utf-8")
        config, problem = read_config(path)
        whole, _ = read_yaml(path.read_text(encoding="utf-8"), "whole")
    expected = {}
    for key, value in whole.items():
        nested = isinstance(value, dict) and value
        expected |= {f"{key}.{below}": one for below, one in value.items()} if nested else {key: value}
    assert (config, problem) == (expected, None)


@pytest.mark.parametrize(
    "text", ["", "- 1\n", "a: [1\n", "a: 1\na: 2\n", "a: !!python/object:os.system {}\n", "a\x00: 1"]
)
def test_a_config_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    config, problem = read_config(path)
    assert config is None
    assert problem is not None
    assert str(path) in problem


def test_a_config_with_comments_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("# mine\ndata:\n  batch_size: 32  # small\n\nseed: 1\n")
    assert read_config(path) == ({"data.batch_size": 32, "seed": 1}, None)
