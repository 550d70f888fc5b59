"""Several writers are fed alike, and all of them are closed."""

import numpy as np
import pytest

from bnexp.runs.rows import Writers


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
    array = np.ones(3, dtype=np.float32)
    writers.scalars(1, {"a": 0.5})
    writers.histograms(2, {"b": array})
    writers.scalars(3, {})
    writers.close()
    for part in parts:
        assert part.taken == [("scalars", 1, {"a": 0.5}), ("histograms", 2, {"b": array}), ("scalars", 3, {}), "close"]


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
