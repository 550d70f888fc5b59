"""Rows go to all writers alike, and into metrics.jsonl strictly, appended and whole."""

import errno
import hashlib
import json
import math
import os
import threading

import pytest

from bnexp.errors import BnexpError
from bnexp.runs.rows import Counts, MetricsWriter, Rows, Writers, cut_after, names_in


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


def rows(path):
    text = path.read_text()
    assert text == "" or text.endswith("\n")
    refuse = {"parse_constant": lambda word: pytest.fail(f"{word} is not JSON")}
    return [json.loads(line, **refuse) for line in text.splitlines()]


def test_each_call_adds_a_row_in_strict_json(path):
    writer = MetricsWriter(path)
    writer.scalars(1, {"loss/train": 0.1 + 0.2, "accuracy/train": 1.0})
    writer.scalars(2, {"loss/train": math.nan, "gradient_norm/total": math.inf, "lr": -math.inf})
    writer.close()
    assert rows(path) == [
        {"step": 1, "loss/train": 0.1 + 0.2, "accuracy/train": 1.0},
        {"step": 2, "loss/train": None, "gradient_norm/total": None, "lr": None},
    ]


def test_a_row_can_be_read_as_soon_as_it_is_written(path):
    writer = MetricsWriter(path)
    for step in range(3):
        writer.scalars(step, {"a": float(step)})
        assert [row["step"] for row in rows(path)] == list(range(step + 1))
    writer.close()


def test_a_second_writer_appends_to_what_is_there(path):
    for step in (1, 2):
        writer = MetricsWriter(path)
        writer.scalars(step, {"a": 0.5})
        writer.close()
    assert [row["step"] for row in rows(path)] == [1, 2]


def test_rows_of_two_writers_at_once_are_never_mixed(path):
    # An append in one piece goes to the end of the file, whoever else appends.
    values = {f"activation_mean/block{number}.linear": number / 7 for number in range(300)}

    def write(writer):
        for step in range(100):
            writer.scalars(step, values)
        writer.close()

    threads = [threading.Thread(target=write, args=(MetricsWriter(path),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row["step"] for row in rows(path)) == sorted([*range(100), *range(100)])
    assert all(len(row) == 301 for row in rows(path))


def test_a_row_goes_to_the_system_in_one_write(path):
    class Counting:
        def __init__(self, file):
            self.file, self.pieces = file, []

        def write(self, piece):
            self.pieces.append(piece)
            return self.file.write(piece)

        def close(self):
            self.file.close()

    writer = MetricsWriter(path)
    assert writer._file.__class__.__name__ == "FileIO", "unbuffered: a write is a system call"
    counting = writer._file = Counting(writer._file)
    for step in range(2):
        writer.scalars(step, {f"name{number}": 1 / 3 for number in range(5_000)})
    writer.close()
    assert len(counting.pieces) == 2
    assert all(piece.endswith(b"}\n") and piece.count(b"\n") == 1 for piece in counting.pieces)
    assert path.read_bytes() == b"".join(counting.pieces)


def test_a_file_that_may_not_grow_is_an_error_that_says_so_and_leaves_only_whole_rows(path):
    resource = pytest.importorskip("resource", reason="needs a limit on the size of files")
    writer = MetricsWriter(path)
    writer.scalars(0, {"a": 0.5})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))  # room for half of the next row
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            writer.scalars(1, {"a": 0.5})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert rows(path) == [{"step": 0, "a": 0.5}]
    writer.scalars(2, {"a": 0.25})
    writer.close()
    assert rows(path) == [{"step": 0, "a": 0.5}, {"step": 2, "a": 0.25}]


def test_histograms_are_not_for_this_file(path):
    writer = MetricsWriter(path)
    writer.histograms(1, {"a": Counts(1.0, 1.0, 1.0, 1.0, 0, (1,))})
    writer.close()
    assert rows(path) == []


def test_after_closing_nothing_more_is_written(path):
    writer = MetricsWriter(path)
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.scalars(1, {})


def test_a_writer_knows_the_rows_that_are_there(path):
    first = MetricsWriter(path)
    first.scalars(1, {"a": 0.5})
    first.close()
    second = MetricsWriter(path)
    second.scalars(2, {"a": 0.25})
    content = path.read_bytes()
    assert second.flushed() == Rows(2, len(content), hashlib.sha256(content).hexdigest())
    second.close()


def test_what_follows_the_rows_of_a_checkpoint_is_cut(path):
    writer = MetricsWriter(path)
    writer.scalars(1, {"a": 0.5})
    rows_then, content = writer.flushed(), path.read_bytes()
    writer.scalars(2, {"a": 0.25})
    writer.close()
    with path.open("ab") as file:
        file.write(b'{"step":3,"a"')
    cut_after(path, rows_then)
    assert path.read_bytes() == content
    cut_after(path, rows_then)
    assert path.read_bytes() == content


@pytest.mark.parametrize("change", ["flip", "short", "missing", "folder"])
def test_rows_that_are_no_longer_those_are_left_as_they_are(path, change):
    writer = MetricsWriter(path)
    for step in range(3):
        writer.scalars(step, {"a": 0.5})
    rows_then = writer.flushed()
    writer.close()
    content = path.read_bytes()
    path.unlink()
    if change == "flip":
        path.write_bytes(content.replace(b"0.5", b"0.7", 1))
    elif change == "short":
        path.write_bytes(content[:-1])
    elif change == "folder":
        path.mkdir()
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(BnexpError, match=r"metrics.jsonl"):
        cut_after(path, rows_then)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_the_names_of_all_figures_are_found(path):
    writer = MetricsWriter(path)
    writer.scalars(1, {"a": 0.5, "b/c": 1.0})
    writer.scalars(2, {"d": 0.5})
    writer.close()
    assert names_in(path) == {"a", "b/c", "d"}


@pytest.mark.parametrize("act", [os.unlink, lambda path: path.rename(path.with_name("other"))])
def test_a_file_that_is_no_longer_there_is_not_taken_for_flushed(path, act):
    writer = MetricsWriter(path)
    writer.scalars(1, {"a": 0.5})
    assert writer.flushed().count == 1
    act(path)
    with pytest.raises(FileNotFoundError):
        writer.flushed()
    path.write_text("")
    with pytest.raises(OSError, match="in the place of the one that the run writes"):
        writer.flushed()
    writer.close()


class Recording:
    """A writer that keeps what it is given, and may fail to close."""

    def __init__(self, fails=None):
        self.taken, self.fails = [], fails

    def scalars(self, step, values):
        self.taken.append(("scalars", step, values))

    def histograms(self, step, values):
        self.taken.append(("histograms", step, values))

    def close(self):
        self.taken.append("close")
        if self.fails is not None:
            raise self.fails


def test_each_writer_gets_everything_in_order():
    parts = [Recording(), Recording()]
    writers = Writers(parts)
    counts = Counts(1.0, 1.0, 3.0, 3.0, 0, (3,))
    writers.scalars(1, {"a": 0.5})
    writers.histograms(2, {"b": counts})
    writers.scalars(3, {})
    writers.close()
    for part in parts:
        assert part.taken == [("scalars", 1, {"a": 0.5}), ("histograms", 2, {"b": counts}), ("scalars", 3, {}), "close"]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_writer_that_cannot_close_does_not_keep_the_others_open(failing):
    parts = [Recording(OSError("disk full") if number == failing else None) for number in range(3)]
    with pytest.raises(OSError, match="disk full"):
        Writers(parts).close()
    assert [part.taken for part in parts] == [["close"]] * 3


def test_writers_are_closed_in_the_order_in_which_they_are_fed():
    closed = []
    parts = [Recording() for _ in range(3)]
    for number, part in enumerate(parts):
        part.close = lambda number=number: closed.append(number)
    Writers(parts).close()
    assert closed == [0, 1, 2]


def test_no_writers_are_fine():
    writers = Writers([])
    writers.scalars(1, {"a": 0.5})
    writers.histograms(1, {})
    writers.close()
