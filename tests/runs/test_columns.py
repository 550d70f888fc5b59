"""metrics.jsonl is read by column, by evaluation and from its end, whatever state the file is in."""

import hashlib
import io
import json
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnexp.runs import columns
from bnexp.runs.columns import Evaluation, Tail, read_columns, read_evaluations, read_tail
from bnexp.runs.run import Record
from bnexp.runs.seal import read_config

EVALUATED = {"step": 10, "epoch": 1.0, "loss/val": 0.3, "accuracy/val": 0.9}
PLAIN = {"step": 15, "epoch": 1.5, "loss/train": 0.2}

numbers = st.none() | st.floats(0, 1)
rows = st.lists(
    st.fixed_dictionaries(
        {"step": st.integers(0, 10**6), "pad": st.text(max_size=40)}, optional={"accuracy/val": numbers}
    )
)


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
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(columns, "_SCAN_BYTES", piece):
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
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(columns, "_TAIL_BYTES", piece):
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
    monkeypatch.setattr(columns, "_TAIL_BYTES", 1_000)
    monkeypatch.setattr(columns, "_TAIL_LIMIT", 5_000)
    tail, problem = read_tail(write_metrics([EVALUATED] + [PLAIN] * 1000))
    assert (tail, problem) == (Tail(15, 1.5, None), None)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    said = [*Record(path).problems, read_evaluations(path)[1], read_tail(path)[1]]
    assert [str(problem).startswith(f"{path}: cannot be read: not a regular file") for problem in said] == [True] * 3
    path.rename(tmp_path / "config.yaml")
    assert read_config(tmp_path) == (None, f"{tmp_path / 'config.yaml'}: a pipe or a device; expected a YAML file")


def test_a_row_without_end_is_damage_and_the_rows_around_it_are_read(
    write_metrics: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss of power may leave zeros where rows were, gigabytes of them."""
    monkeypatch.setattr(columns, "_SCAN_BYTES", 1 << 10)
    monkeypatch.setattr(columns, "_ROW_LIMIT", 1 << 14)
    evaluated = json.dumps({**EVALUATED, "step": 20}).encode()
    path = write_metrics([EVALUATED], bytes(1 << 15) + b"\n" + evaluated + b"\n")
    found, problem = read_evaluations(path)
    assert [one.step for one in found] == [10, 20]
    assert problem is not None
    assert str(path) in problem


def test_an_end_without_a_whole_row_is_named(
    write_metrics: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "_TAIL_BYTES", 1_000)
    monkeypatch.setattr(columns, "_TAIL_LIMIT", 5_000)
    path = write_metrics([EVALUATED], bytes(10_000))
    assert read_tail(path) == (Tail(), f"{path}: rows near the end cannot be read")


NAMES = ["loss/train", "norm/block1.linear", 'odd "name"/\\ä']
figures = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8)
any_rows = st.lists(
    st.fixed_dictionaries(
        {"step": st.integers(0, 2**63 - 1) | st.sampled_from([3, 7])},
        optional={"epoch": figures, "other/name": figures, **dict.fromkeys(NAMES, figures)},
    ),
    max_size=30,
)


def plain_columns(lines: list[str], names: list[str]) -> tuple[list[int], dict[str, list[float]]]:
    """Read rows with the plain parser of the standard library, as slowly as can be."""
    found = [row for row in map(json.loads, lines) if any(name in row for name in names)]

    def number(value: object) -> float:
        usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return float(value) if usable else math.nan  # type: ignore[arg-type]

    return [row["step"] for row in found], {
        name: [number(row.get(name)) for row in found] for name in ("epoch", *names)
    }


@settings(deadline=None)
@given(any_rows, st.sets(st.sampled_from(NAMES)), st.integers(1, 300), st.sampled_from([b"", b'{"step":4,"loss/tr']))
def test_columns_are_what_parsing_every_row_gives(
    written: list[dict[str, Any]], wanted: set[str], piece: int, torn: bytes
) -> None:
    names = sorted(wanted)
    lines = [json.dumps(row) for row in written]
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(columns, "_SCAN_BYTES", piece):
        path = Path(folder) / "metrics.jsonl"
        path.write_bytes("".join(line + "\n" for line in lines).encode() + torn)
        (read,) = read_columns([Path(folder)], names)
    steps, values = plain_columns(lines, names)
    assert read.problem is None
    assert read.steps.tolist() == steps
    np.testing.assert_array_equal(read.epochs, values.pop("epoch"))
    assert list(read.values) == names
    for name in names:
        np.testing.assert_array_equal(read.values[name], values[name])


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
            st.booleans(),
            st.booleans(),
        ),
        max_size=12,
    ),
    st.booleans(),
)
def test_a_sealed_file_is_read_to_the_same_columns_as_any(written: list[Any], epochs: bool) -> None:
    rows = []
    for step, (values, first, second) in enumerate(written):
        row = {"step": step} | ({"epoch": step / 3} if epochs else {}) | {"lr" * (1 + 60 * second): 0.1}
        row |= {"loss/train": values[0]} if step != 9 else {}
        row |= ({"loss/val": values[1]} if first else {}) | ({"loss/v": values[2]} if second else {})
        rows.append(json.dumps(row, separators=(",", ":")) + "\n")
    with tempfile.TemporaryDirectory() as place:
        folder, content = Path(place), "".join(rows).encode()
        (folder / "metrics.jsonl").write_bytes(content)
        seal = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for names in (["loss/train", "loss/val", "absent"], ["loss/val", "loss/train"]):
            (sealed,), (plain,) = read_columns([folder], names, {folder: seal}), read_columns([folder], names)
            assert (sealed.problem, plain.problem) == (None, None)
            np.testing.assert_array_equal(sealed.steps, plain.steps)
            np.testing.assert_array_equal(sealed.epochs, plain.epochs)
            for name in names:
                np.testing.assert_array_equal(sealed.values[name], plain.values[name])
                np.testing.assert_array_equal(sealed.nulls[name], plain.nulls[name])


def test_a_file_changed_after_its_seal_is_read_row_by_row_and_named(
    write_metrics: Callable[..., Path],
) -> None:
    path = write_metrics([PLAIN], b'{"step":3,"loss/train":0.\n')
    seal = {"size": path.stat().st_size, "sha256": "0" * 64}
    (read,) = read_columns([path.parent], ["loss/train"], {path.parent: seal})
    assert (read.steps.tolist(), read.problem) == ([15], f"{path}: 1 row cannot be read")
    path = write_metrics([PLAIN])
    (read,) = read_columns([path.parent], ["loss/train"], {path.parent: {**seal, "size": path.stat().st_size}})
    assert read.values["loss/train"].tolist() == [0.2]
    assert read.problem == f"{path}: changed after the run wrote it: its rows are not those of the run"


def test_columns_have_their_types_also_where_nothing_was_written(write_metrics: Callable[..., Path]) -> None:
    for written in ([], [PLAIN]):
        (read,) = read_columns([write_metrics(written).parent], ["loss/train", "nowhere"])
        assert (read.steps.dtype, read.epochs.dtype) == (np.int64, np.float64)
        assert [column.dtype for column in read.values.values()] == [np.float64] * 2
        assert {column.shape for column in (read.steps, read.epochs, *read.values.values())} == {(len(written),)}


def test_what_a_row_lacks_is_nan_and_a_step_written_twice_is_there_twice(write_metrics: Callable[..., Path]) -> None:
    path = write_metrics([PLAIN, EVALUATED, {"step": 15, "loss/train": None, "loss/val": 0.5}, {"step": 20, "lr": 1}])
    (read,) = read_columns([path.parent], ["loss/train", "loss/val", "absent"])
    assert read.steps.tolist() == [15, 10, 15]
    np.testing.assert_array_equal(read.epochs, [1.5, 1.0, math.nan])
    np.testing.assert_array_equal(read.values["loss/train"], [0.2, math.nan, math.nan])
    np.testing.assert_array_equal(read.values["loss/val"], [math.nan, 0.3, 0.5])
    np.testing.assert_array_equal(read.values["absent"], [math.nan] * 3)
    assert {name: flags.tolist() for name, flags in read.nulls.items()} == {
        "loss/train": [False, False, True],
        "loss/val": [False] * 3,
        "absent": [False] * 3,
    }


def test_many_runs_are_read_in_order_and_a_missing_file_is_a_problem(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    folders = [write_run(tmp_path / f"seed{seed}", accuracies=(0.1 * seed,) * (seed + 1)) for seed in range(3)]
    (folders[1] / "metrics.jsonl").unlink()
    read = read_columns(folders, ["accuracy/val"])
    assert [one.values["accuracy/val"].tolist() for one in read] == [[0.0], [], [0.2] * 3]
    assert [one.problem for one in read] == [None, f"{folders[1] / 'metrics.jsonl'}: missing", None]


@pytest.mark.parametrize(
    "damage",
    [b'{"step":3,"loss/train":0.\n', b'{"loss/train":0.5}\n', b'{"step":-1,"loss/train":1}\n', b'"loss/train"\n'],
)
def test_damaged_rows_are_left_out_and_counted(write_metrics: Callable[..., Path], damage: bytes) -> None:
    path = write_metrics([PLAIN], damage + json.dumps({"step": 9, "loss/train": 0.1}).encode() + b"\n" + damage)
    (read,) = read_columns([path.parent], ["loss/train"])
    assert read.steps.tolist() == [15, 9]
    assert read.problem == f"{path}: 2 rows cannot be read"


def test_a_name_that_only_stands_elsewhere_in_a_row_makes_no_row(write_metrics: Callable[..., Path]) -> None:
    path = write_metrics([{"step": 1, "note": "loss/train"}, {"step": 2, "deep": {"loss/train": 1.0}}])
    (read,) = read_columns([path.parent], ["loss/train"])
    assert (read.steps.tolist(), read.problem) == ([], None)


def test_a_row_of_megabytes_is_read_and_one_that_is_larger_still_is_damage(write_metrics: Callable[..., Path]) -> None:
    wide = {"step": 2, **{f"activation_mean/block{number}.linear": number / 7 for number in range(40_000)}}
    path = write_metrics([PLAIN, wide], bytes(3 << 22) + b"\n" + json.dumps(PLAIN).encode() + b"\n")
    assert 1_000_000 < len(json.dumps(wide)) < 1 << 22
    (read,) = read_columns([path.parent], ["loss/train", "activation_mean/block39999.linear"])
    assert read.steps.tolist() == [15, 2, 15]
    assert read.values["activation_mean/block39999.linear"][1] == 39_999 / 7
    assert read.problem is not None
    assert read.problem.endswith("cannot be read")
