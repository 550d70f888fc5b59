"""Find the numbers of some metrics in a metrics.jsonl that is as its run wrote it, without parsing its rows.

Rows of hundreds of metrics are mostly others than those that are wanted, and parsing them takes several times as long.
The form is that of `runs/rows.Rows`: a row begins with its step, then its epoch; keys and values follow without spaces,
each key once. A file that a seal does not vouch for is never read so: damage would go unseen.
"""

import json
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from itertools import compress, pairwise

_BEGIN = re.compile(rb'{"step":([0-9]+)(?:,"epoch":([^,}\n]*))?')
_HEAD_BYTES = 1 << 16
"""How much of the content tells whether most rows have a name."""
_LEAP = 0.9
"""Of the mean length of a row, how far behind a number of a metric the search for the next one begins."""


def numbers_in(content: bytes, names: Sequence[str]) -> "tuple[array[int], list[array[float]]] | None":
    """Return the numbers of the rows that hold at least one of the names.

    Returns:
        (rows,) steps, and for epochs and each name (rows,) numbers: nan where a row lacks it, inf where it is null.
        None where few rows are wanted, which are parsed as fast, and where some row is of another form.
    """
    head = content[:_HEAD_BYTES]
    many = [2 * head.count(json.dumps(name).encode()) > head.count(b"\n") for name in names]
    if not any(many):
        return None
    try:
        begins = _BEGIN.findall(content)
        steps = array("q", [int(step) for step, _ in begins])
        columns, held = [_numbers([epoch for _, epoch in begins])], bytearray(len(steps))
        for name, is_dense in zip(names, many, strict=True):
            quoted = b",%s:" % json.dumps(name).encode()
            behind = re.compile(re.escape(quoted) + b"([^,}\n]*)")
            if is_dense and (texts := _one_a_row(behind, content, len(steps))) is not None:
                columns.append(_numbers(texts))
                held = bytearray(b"\1") * len(steps)
                continue
            own = array("d", [math.nan]) * len(steps)
            if places := list(_places(content, quoted)):
                row_of = {step: row for row, step in enumerate(steps)}
                if any(step >= later for step, later in pairwise(steps)):
                    return None
                numbers = _numbers([behind.match(content, place)[1] for place in places])  # type: ignore[index]
                for place, number in zip(places, numbers, strict=True):
                    row = row_of[_step_before(content, place)]
                    own[row], held[row] = number, True
            columns.append(own)
    except (ValueError, OverflowError, KeyError, TypeError):
        return None
    if all(held):
        return steps, columns
    return array("q", compress(steps, held)), [array("d", compress(column, held)) for column in columns]


def _one_a_row(behind: re.Pattern[bytes], content: bytes, rows: int) -> list[bytes] | None:
    """Return what a pattern finds where it finds one in each row, else None.

    Rows are mostly of one length: from one place, a leap nearly to the next saves half the time. Where a leap is too
    far, rows are missed, the count tells, and everything is searched.
    """
    texts, at, leap = list[bytes](), 0, int(_LEAP * len(content) / max(rows, 1))
    while found := behind.search(content, at):
        texts.append(found[1])
        at = found.start() + leap
    if len(texts) != rows:
        texts = behind.findall(content)
    return texts if len(texts) == rows else None


def _places(content: bytes, text: bytes) -> Iterator[int]:
    """Yield where a text stands; of a rare one, this is faster than a pattern."""
    at = content.find(text)
    while at >= 0:
        yield at
        at = content.find(text, at + 1)


def _step_before(content: bytes, place: int) -> int:
    """Return the step of the row around a place."""
    return int(_BEGIN.match(content, content.rfind(b"\n", 0, place) + 1)[1])  # type: ignore[index]


def _numbers(texts: Sequence[bytes]) -> "array[float]":
    """Return numbers as floats, null as infinity, and nothing as nan."""
    try:
        return array("d", list(map(float, texts)))
    except ValueError:
        return array("d", [math.inf if text == b"null" else float(text or b"nan") for text in texts])
