"""Reads a matrix from a CSV file: rows are examples, columns are features."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bnexp.config.wording import brief
from bnexp.errors import ConfigError
from bnexp.sources.bounded import read_file

MOST_BYTES = 10_000_000
MOST_VALUES = 100_000
LARGEST = 1e150
"""Beyond this the square of a number, and with it a variance, has no place in float64."""


@dataclass(frozen=True)
class Matrix:
    """Names of the features (F), and rows of numbers (B, F)."""

    names: Sequence[str]
    rows: Sequence[Sequence[float]]


def counted_names(features: int) -> list[str]:
    """Return names for features that have none: x1, x2, ..."""
    return [f"x{number}" for number in range(1, features + 1)]


def read_matrix(path: Path) -> Matrix:
    """Read a CSV file. A first line without any number names the features; else they are x1, x2, ...

    Raises:
        ConfigError: it cannot be read, is not UTF-8, is ragged, has fewer than two rows of numbers, or holds something
            that is no finite number; the message names line and column.
    """
    lines = _lines(path)
    if not lines:
        raise ConfigError(f"{path}: no numbers in it; expected lines such as 1.0,2.0,3.0")
    names = [cell.strip() for cell in lines[0][1]]
    has_names = all(_value(cell) is None and cell for cell in names)
    if has_names:
        lines = lines[1:]
    else:
        names = counted_names(len(names))
    rows = [_row(path, line, cells, len(names)) for line, cells in lines]
    if len(rows) < 2:
        found = "none" if not rows else "1"
        raise ConfigError(
            f"{path}: expected at least 2 rows of numbers, an example each, found {found}: a variance over a batch "
            "needs two examples"
        )
    if len(rows) * len(names) > MOST_VALUES:
        raise ConfigError(f"{path}: {len(rows) * len(names):,} numbers, expected at most {MOST_VALUES:,}")
    return Matrix(names, rows)


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return the lines that are not blank as (number, cells)."""
    try:
        text = read_file(path, MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text; expected numbers with commas between them") from None
    reader = csv.reader(text.splitlines())
    try:
        return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise ConfigError(f"{path}: line {reader.line_num}: {error}") from None


def _row(path: Path, line: int, cells: Sequence[str], width: int) -> list[float]:
    if len(cells) != width:
        separated = "; numbers are separated by commas" if len(cells) == 1 and width == 1 else ""
        raise ConfigError(
            f"{path}: line {line}: expected {width} values as in the first line, found {len(cells)}{separated}"
        )
    values = []
    for column, cell in enumerate(cells, start=1):
        value = _value(cell)
        if value is None or not abs(value) <= LARGEST:
            hint = "; values are separated by commas, decimals by a point" if ";" in cell or "\t" in cell else ""
            expected = (
                "a number"
                if value is None
                else "a finite number"
                if not math.isfinite(value)
                else "a number below 1e150"
            )
            shown = f'"{brief(cell.strip())}"' if cell.strip() else "nothing"
            raise ConfigError(f"{path}: line {line}, column {column}: expected {expected}, found {shown}{hint}")
        values.append(value)
    return values


def _value(cell: str) -> float | None:
    """Return the number that a cell holds, which may be infinite or NaN; None for anything else."""
    try:
        return float(cell)
    except ValueError:
        return None
