"""Reads what lies in a run folder without trusting it: a file may be missing, torn, damaged or from another version.

Nothing here raises for what a file holds. What cannot be used is left out and named in a sentence that starts with the
file's path.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bnexp.config.section import dotted
from bnexp.config.wording import brief
from bnexp.config.yaml_text import MAX_BYTES, read_yaml, read_yaml_file
from bnexp.errors import ConfigError
from bnexp.files import open_file, parse_json, read_file
from bnexp.runs.folder import MAX_RECORD_BYTES

LARGEST = sys.float_info.max
"""Any finite figure may be true: a loss of 1e31 is a result."""

_VAL = b'"accuracy/val"'
_SCAN_BYTES = 1 << 17
_TAIL_BYTES = 1 << 16
_ROW_LIMIT = 1 << 22
"""Longest row of metrics.jsonl that is taken for one."""
_TAIL_LIMIT = 1 << 22
"""How far before the end of metrics.jsonl a last evaluation is looked for: about 2,000 rows of 2 KB."""


class Record:
    """A JSON record such as meta.json. `problems` gathers what was wrong with it; a file that is not there is empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        self.found = True
        self.values: dict[str, Any] = self._read()

    def text(self, *keys: str) -> str | None:
        """Return the word at a place, or None."""
        value = self._at(keys)
        if value is None or isinstance(value, str):
            return value
        self._refuse(keys, value, "a word")
        return None

    def number(self, *keys: str, largest: float = LARGEST) -> float | None:
        """Return the finite number at a place, of magnitude at most `largest`, or None."""
        value = self._at(keys)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= largest:
            self._refuse(keys, value, "a finite number")
            return None
        return float(value)

    def fraction(self, *keys: str) -> float | None:
        """Return the accuracy at a place, between 0 and 1, or None."""
        value = self.number(*keys, largest=1)
        if value is not None and value < 0:
            self._refuse(keys, value, "a fraction")
            return None
        return value

    def count(self, *keys: str) -> int | None:
        """Return the whole number at a place, 0 or more, or None."""
        value = self._at(keys)
        count = _count(value)
        if count is None and value is not None:
            self._refuse(keys, value, "a whole number")
        return count

    def _read(self) -> dict[str, Any]:
        try:
            return parse_json(read_file(self.path, MAX_RECORD_BYTES))
        except FileNotFoundError:
            self.found = False
            return {}
        except OSError as error:
            return self._nothing(f"cannot be read: {error.strerror}")
        except ValueError as error:
            return self._nothing(str(error))

    def _nothing(self, problem: str) -> dict[str, Any]:
        self.problems.append(f"{self.path}: {problem}")
        return {}

    def _at(self, keys: tuple[str, ...]) -> object:
        value: object = self.values
        for depth, key in enumerate(keys):
            if value is None:
                return None
            if not isinstance(value, dict):
                self._refuse(keys[:depth], value, "keys and values")
                return None
            value = value.get(key)
        return value

    def _refuse(self, keys: tuple[str, ...], value: object, expected: str) -> None:
        problem = f"{self.path}: {'.'.join(keys)} is {quoted(value)}, expected {expected}"
        if problem not in self.problems:
            self.problems.append(problem)


def quoted(value: object) -> str:
    """Return what was found, for a message; a damaged record may hold anything of any length."""
    return brief(repr(value), 40)


def read_config(path: Path) -> tuple[dict[str, Any] | None, str | None]:
    """Read a resolved config as it stands, unchecked: runs of other versions of bnexp are read too.

    Returns:
        The config with dotted keys, such as `data.batch_size`, and None; or None and what is wrong.
    """
    values: object = None
    try:
        values = _by_sections(read_file(path, MAX_BYTES).decode())
    except (FileNotFoundError, ValueError, ConfigError):
        pass  # reading it whole says what is wrong
    except OSError as error:
        return None, f"{path}: cannot be read: {error.strerror}"
    if values is None:
        try:
            values, _ = read_yaml_file(path)
        except ConfigError as error:
            return None, str(error)
    if not isinstance(values, dict) or not values:
        return None, f"{path}: expected keys and values"
    return dict(dotted(values)), None


def _by_sections(text: str) -> dict[str, Any] | None:
    """Read a config section by section: arms share most sections, and PyYAML takes 5 ms for a whole config.

    Returns None where the text is not plainly a list of sections; it is then read whole.
    """
    sections: list[str] = []
    for line in text.splitlines(keepends=True):
        if line[:1].isalpha():
            sections.append(line)
        elif sections and line.startswith("  "):
            sections[-1] += line
        else:
            return None
    values: dict[str, Any] = {}
    for section in sections:
        part = _read_section(section)
        if not isinstance(part, dict) or len(part) != 1 or not values.keys().isdisjoint(part):
            return None
        values.update(part)
    return values


@lru_cache(maxsize=4096)
def _read_section(text: str) -> object:
    return read_yaml(text, "section")[0]


@dataclass(frozen=True)
class Evaluation:
    """One evaluation on the validation part; accuracy is a fraction, and None where it was not finite."""

    step: int
    epoch: float | None
    loss: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Tail:
    """The end of metrics.jsonl: the last whole row's step and epoch, and the last evaluation near the end."""

    step: int | None = None
    epoch: float | None = None
    evaluation: Evaluation | None = None


def read_evaluations(path: Path) -> tuple[list[Evaluation], str | None]:
    """Read the rows of metrics.jsonl that hold an evaluation, in order; all other rows are passed over unparsed.

    A torn last line is what a run in progress, or a killed one, leaves: it is passed over without a word.

    Returns:
        The evaluations, and what was wrong with the file or None.
    """
    found: list[Evaluation] = []
    damaged = 0
    try:
        for line, whole in _lines_with_evaluation(path):
            evaluation = _evaluation_of(_row_of(line))
            if evaluation is not None:
                found.append(evaluation)
            else:
                damaged += whole
    except FileNotFoundError:
        return [], None
    except OSError as error:
        return [], f"{path}: cannot be read: {error.strerror}"
    return found, f"{path}: {damaged} evaluation row{'s' * (damaged > 1)} cannot be read" if damaged else None


def _lines_with_evaluation(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Yield (line, whether its newline is there).

    One small buffer for the whole file is twice as fast as fresh blocks, whose pages the system clears each time; a
    memory map is as fast, but a file that is cut short meanwhile would kill the process.
    """
    buffer, kept = bytearray(_SCAN_BYTES), 0
    with open_file(path) as file:
        while got := file.readinto(memoryview(buffer)[kept:]):
            last = buffer.rfind(b"\n", 0, kept + got) + 1
            position = 0
            while (hit := buffer.find(_VAL, position, last)) >= 0:
                position = buffer.index(b"\n", hit)
                yield bytes(buffer[buffer.rfind(b"\n", 0, hit) + 1 : position]), True
            kept = kept + got - last
            buffer[:kept] = buffer[last : last + kept]
            if kept > _ROW_LIMIT:  # no row: what is left of it is one damaged row more
                yield b"", True
                kept = 0
            elif kept == len(buffer):  # a line longer than the buffer
                buffer.extend(bytes(kept))
    if _VAL in buffer[:kept]:
        yield bytes(buffer[:kept]), False


def read_tail(path: Path) -> tuple[Tail, str | None]:
    """Read the end of metrics.jsonl, in a time that does not grow with the file.

    Returns:
        What the end says, and what was wrong with the file or None.
    """
    step: int | None = None
    epoch: float | None = None
    problem: str | None = None
    try:
        for line in _lines_from_end(path):
            row = _row_of(line)
            if row is None:
                problem = f"{path}: rows near the end cannot be read"
                continue
            if step is None:
                step, epoch = _count(row.get("step")), _number(row.get("epoch"))
            if (evaluation := _evaluation_of(row)) is not None:
                return Tail(step, epoch, evaluation), problem
    except FileNotFoundError:
        return Tail(), None
    except OSError as error:
        return Tail(), f"{path}: cannot be read: {error.strerror}"
    return Tail(step, epoch), problem


def _lines_from_end(path: Path) -> Iterator[bytes]:
    """Yield whole lines, the last first, as far back as `_TAIL_LIMIT`; a torn last line is left out.

    Where no line ends so near the end, an empty one stands for what is there instead of rows.
    """
    with open_file(path) as file:
        size = position = file.seek(0, 2)
        rest: bytes | None = None
        found = False
        while position > 0 and size - position < _TAIL_LIMIT:
            start = max(position - _TAIL_BYTES, 0)
            file.seek(start)
            lines = (file.read(position - start) + (rest or b"")).split(b"\n")
            if rest is None and _row_of(lines[-1]) is None:
                lines.pop()
            position, rest = start, lines[0] if lines else b""
            found = found or len(lines) > 1
            yield from reversed(lines[1:])
        if position == 0 and rest:
            yield rest
        elif position > 0 and not found:
            yield b""


def _row_of(line: bytes) -> dict[str, Any] | None:
    try:
        return parse_json(line)
    except ValueError:
        return None


def _evaluation_of(row: dict[str, Any] | None) -> Evaluation | None:
    if row is None or "accuracy/val" not in row or (step := _count(row.get("step"))) is None:
        return None
    accuracy = _number(row["accuracy/val"])
    accuracy = accuracy if accuracy is not None and 0 <= accuracy <= 1 else None
    return Evaluation(step, _number(row.get("epoch")), _number(row.get("loss/val")), accuracy)


def _number(value: object) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
    return float(value) if usable and math.isfinite(value) else None  # type: ignore[arg-type]


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST else None
