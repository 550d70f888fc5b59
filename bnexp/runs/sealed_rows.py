"""Find the numbers of some metrics in a metrics.jsonl that is as its run wrote it, without parsing its rows.

Rows of hundreds of metrics are mostly others than those that are wanted, and parsing them takes several times as long.
The form is that of `runs/rows.Rows`: a row begins with its step, then its epoch; keys and values follow without spaces,
each key once. A file that a seal does not vouch for is never read so: damage would go unseen.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    Integers = np.ndarray[tuple[int], np.dtype[np.int64]]
    Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
    Table = np.ndarray[tuple[int, int], np.dtype[np.float64]]

_BEGIN = re.compile(rb'{"step":([0-9]+)(?:,"epoch":([^,}\n]*))?')
_HEAD_BYTES = 1 << 16
"""How much of the content tells whether most rows have a name."""


def numbers_in(content: bytes, names: Sequence[str]) -> "tuple[Integers, Table] | None":
    """Return the numbers of the rows that hold at least one of the names.

    Returns:
        (rows,) steps, and (1 + names, rows) epochs and numbers: nan where a row lacks the name, inf where it is null.
        None where few rows are wanted, which are parsed as fast, and where some row is of another form.
    """
    import numpy as np

    head = content[:_HEAD_BYTES]
    many = [2 * head.count(json.dumps(name).encode()) > head.count(b"\n") for name in names]
    if not any(many):
        return None
    try:
        begins = _BEGIN.findall(content)
        steps = np.array([int(step) for step, _ in begins], dtype=np.int64)
        table, held = np.full((1 + len(names), len(steps)), np.nan), np.zeros(len(steps), dtype=bool)
        table[0] = _numbers([epoch for _, epoch in begins])
        for own, name, is_dense in zip(table[1:], names, many, strict=True):
            quoted = b",%s:" % json.dumps(name).encode()
            behind = re.compile(re.escape(quoted) + b"([^,}\n]*)")
            if is_dense and len(texts := behind.findall(content)) == len(steps):
                own[:], held[:] = _numbers(texts), True
            elif places := list(_places(content, quoted)):
                if (np.diff(steps) <= 0).any():
                    return None
                at = np.searchsorted(steps, [_step_before(content, place) for place in places])
                own[at], held[at] = _numbers([behind.match(content, place)[1] for place in places]), True  # type: ignore[index]
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    return steps[held], table[:, held]


def _places(content: bytes, text: bytes) -> Iterator[int]:
    """Yield where a text stands; of a rare one, this is faster than a pattern."""
    at = content.find(text)
    while at >= 0:
        yield at
        at = content.find(text, at + 1)


def _step_before(content: bytes, place: int) -> int:
    """Return the step of the row around a place."""
    return int(_BEGIN.match(content, content.rfind(b"\n", 0, place) + 1)[1])  # type: ignore[index]


def _numbers(texts: Sequence[bytes]) -> "Floats":
    """Return numbers as floats, null as infinity, and nothing as nan."""
    import numpy as np

    try:
        return np.array(list(map(float, texts)))
    except ValueError:
        return np.array([math.inf if text == b"null" else float(text or b"nan") for text in texts])
