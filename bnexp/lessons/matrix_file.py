"""A matrix to normalize: rows are examples, columns are features; read from a CSV file."""

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bnexp.config.wording import brief
from bnexp.errors import ConfigError
from bnexp.files import read_file

MOST_BYTES = 10_000_000
MOST_VALUES = 100_000
LARGEST = 1e150
"""The square of a larger number, and with it a variance, does not fit in float64."""
_LONGEST_NAME = 30
_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Batch:
    """A matrix: rows (B, F), names of the features, gamma and beta (F,), and its source: a path, or `example 000`."""

    source: str
    rows: Sequence[Sequence[float]]
    names: Sequence[str]
    gamma: Sequence[float]
    beta: Sequence[float]


def counted_names(features: int) -> list[str]:
    """Return names for features that have none: x1, x2, ..."""
    return [f"x{number}" for number in range(1, features + 1)]


def read_matrix(path: Path) -> Batch:
    """Read a CSV file, with gamma 1 and beta 0. A first line without any number names the features, else x1, x2, ...

    Raises:
        ConfigError: it cannot be read, is not UTF-8, is ragged, has fewer than two rows of numbers, or a cell is no
            finite number; the message names line and column.
    """
    lines = _lines(path)
    if not lines:
        raise ConfigError(f"{path}: no numbers in it; expected lines such as 1.0,2.0,3.0")
    names = [brief(cell.strip(), _LONGEST_NAME) for cell in lines[0][1]]
    if all(number_in(name) is None for name in names):
        if "" in names:
            place = f"{path}: line {lines[0][0]}, column {names.index('') + 1}"
            raise ConfigError(f"{place}: expected the name of a feature, found nothing")
        lines = lines[1:]
    else:
        names = counted_names(len(names))
    rows = [_row(path, line, cells, len(names)) for line, cells in lines]
    if len(rows) < 2:
        raise ConfigError(
            f"{path}: expected at least 2 rows of numbers, an example each, found {len(rows) or 'none'}: a variance "
            "over a batch needs two examples"
        )
    if len(rows) * len(names) > MOST_VALUES:
        raise ConfigError(f"{path}: {len(rows) * len(names):,} numbers, expected at most {MOST_VALUES:,}")
    return Batch(str(path), rows, names, gamma=[1.0] * len(names), beta=[0.0] * len(names))


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    try:
        text = read_file(path, MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text; expected numbers with commas between them") from None
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise ConfigError(f"{path}: line {reader.line_num}: {error}") from None


def _row(path: Path, line: int, cells: Sequence[str], width: int) -> list[float]:
    if len(cells) != width:
        raise ConfigError(f"{path}: line {line}: expected {width} values as in the first line, found {len(cells)}")
    values = []
    for column, cell in enumerate(map(str.strip, cells), start=1):
        value = number_in(cell)
        if value is None or not abs(value) <= LARGEST:
            expected = "a number"
            if value is not None:
                expected = f"a number of at most {LARGEST:g}" if math.isfinite(value) else "a finite number"
            shown = f'"{brief(cell)}"' if cell else "nothing"
            hint = "; values are separated by commas, decimals by a point" if ";" in cell or "\t" in cell else ""
            raise ConfigError(f"{path}: line {line}, column {column}: expected {expected}, found {shown}{hint}")
        values.append(value)
    return values


def number_in(word: str) -> float | None:
    """Return the number that a word spells, which may be infinite or NaN; None for anything else, such as 1_000."""
    return float(word) if _NUMBER.fullmatch(word) else None
