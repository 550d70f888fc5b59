"""Turn the labels of others into whole numbers from 0, the same for all parts of a set, and keep the names of classes.

Taken are whole numbers of any type, from any number on and with gaps; floats that are whole; one-hot rows; true and
false; and text. What could mean two things is refused, with the line that decides.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bnexp.config.wording import brief
from bnexp.data.sources.account import Tally
from bnexp.data.sources.arrays import Array, BadArraysError
from bnexp.document.writing import counted, first_few

SHOWN = 6
"""Classes or labels that a message names."""

Labels = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


@dataclass(frozen=True)
class Classes:
    """Labels int64 (N,) of each part, from 0 without a gap, and the names of the classes, which may be numbers."""

    labels: dict[str, Labels]
    names: tuple[str, ...]
    named: bool
    """whether the names say more than the labels do"""


def read_labels(arrays: Mapping[str, Array], names: Array | None, tally: Tally) -> Classes:
    """Return the labels of the parts, of which the first is the one to train on.

    Args:
        arrays: as stored, by the name in the file, which messages say.
        names: text that names the classes 0, 1, ..., where the file has it.
        tally: counts what is changed.

    Raises:
        BadArraysError: they are not labels of classes, or it is not clear which.
    """
    values = {name: _values(name, array, tally) for name, array in arrays.items()}
    if len({value.dtype.kind for value in values.values()}) > 1:
        kinds = " and ".join(f"{name} is {'text' if v.dtype.kind == 'U' else 'numbers'}" for name, v in values.items())
        raise BadArraysError(f"{kinds}; expected labels of one kind")
    first, train = next(iter(values.items()))
    present = np.unique(train)
    if train.dtype.kind == "U":
        present = _ordered(first, present)
    else:
        _check_markers(first, present)
    if len(present) < 2:
        raise BadArraysError(f"{first} holds the one class {present[0]}, expected at least 2")
    for name, value in values.items():
        _check_known(name, value, first, present)
    order = {label: number for number, label in enumerate(present.tolist())}
    labels = {name: _numbered(value, present, order) for name, value in values.items()}
    said = _names_of(present, names)
    plain = train.dtype.kind != "U" and np.array_equal(present, np.arange(len(present)))
    if not plain and train.dtype.kind != "U":
        found = f"labels {_span(present)} counted from 0, their numbers kept as names"
        tally.add(found, first, sum(map(len, labels.values())))
    return Classes(labels, said, named=not plain or names is not None)


def _values(name: str, array: Array, tally: Tally) -> Array:
    """Return labels as int64 or text, (N,)."""
    kind = array.dtype.kind
    if kind not in "biufUS":
        raise BadArraysError(f"{name} is {array.dtype}, expected whole numbers or text, one label for each image")
    flat = _one_each(name, array, tally)
    if flat.dtype.kind in "US":
        return _text(name, flat)
    if flat.dtype.kind == "b":
        tally.add("labels false and true counted as 0 and 1", name, len(flat))
    if flat.dtype.kind == "f":
        flat = _whole(name, flat, tally)
    if flat.dtype.kind == "u" and len(flat) and flat.max() > np.iinfo(np.int64).max:
        raise BadArraysError(f"{name} holds {flat.max()}, expected the number of a class")
    return flat.astype(np.int64)


def _one_each(name: str, array: Array, tally: Tally) -> Array:
    """Return labels (N,), from (N,), (N, 1), (1, N) or one-hot rows (N, classes)."""
    if array.ndim == 1:
        return array
    if array.ndim == 2 and min(array.shape) == 1:
        return array.reshape(-1)
    found = f"{name} has shape {array.shape}, expected (N,), (N, 1) or one-hot rows"
    if array.ndim != 2 or not array.size or array.dtype.kind in "US":
        raise BadArraysError(f"{found}; {name}.reshape(-1) lays it flat")
    odd = np.flatnonzero(((array != 0) & (array != 1)).any(axis=1) | (array.sum(axis=1, dtype=np.float64) != 1))
    if len(odd):
        row = first_few([f"{value:g}" for value in array[odd[0]].astype(float).tolist()], SHOWN)
        raise BadArraysError(
            f"{found}: a single 1 in each row; {counted(len(odd), 'row')} of {len(array):,} differ, such as "
            f"{name}[{odd[0]}] = {row}. An image has one class here: {name}.argmax(axis=1) takes the largest"
        )
    tally.add(f"one-hot rows of {array.shape[1]} read as the class of their 1", name, len(array))
    return np.asarray(array.argmax(axis=1))


def _whole(name: str, flat: Array, tally: Tally) -> Array:
    """Return floats that are whole as whole numbers."""
    odd = np.flatnonzero(~np.isfinite(flat) | (flat != np.round(flat)) | (np.abs(flat) > 2**53))
    if len(odd):
        missing = int(np.isnan(flat).sum())
        what = "NaN, a missing label" if missing else f"{name}[{odd[0]}] = {flat[odd[0]]:g}"
        mend = _keep(f"~np.isnan({name})") if missing else "a quantity is no class: np.digitize makes classes of it"
        raise BadArraysError(
            f"{name} is {flat.dtype}, expected whole numbers; {len(odd):,} of {len(flat):,} are not, such as {what}; "
            f"{mend}"
        )
    tally.add(f"{flat.dtype} labels read as whole numbers", name, len(flat))
    return flat


def _text(name: str, flat: Array) -> Array:
    if flat.dtype.kind == "S":
        try:
            flat = np.char.decode(flat, "utf-8")
        except UnicodeDecodeError:
            raise BadArraysError(
                f"{name} is bytes that are no UTF-8; np.char.decode({name}, 'latin-1') makes them text"
            ) from None
    empty = np.flatnonzero(np.char.str_len(np.char.strip(flat)) == 0) if len(flat) else np.array([], dtype=int)
    if len(empty):
        raise BadArraysError(
            f"{name}: {len(empty):,} of {len(flat):,} labels are empty, such as {name}[{empty[0]}]; "
            + _keep(f"np.char.strip({name}) != ''")
        )
    return flat


def _ordered(name: str, present: Array) -> Array:
    """Return names of classes in the order of the alphabet, numbers in theirs; refuse two spellings of one name."""
    spellings: dict[str, str] = {}
    for label in present.tolist():
        other = spellings.setdefault(" ".join(label.split()).casefold(), label)
        if other != label:
            raise BadArraysError(
                f'{name} holds "{brief(other)}" and "{brief(label)}", which differ in capitals or spaces alone; '
                f"np.char.lower(np.char.strip({name})) makes one class of them"
            )
    if all(re.fullmatch(r"[+-]?\d{1,15}", label, re.ASCII) for label in present.tolist()):
        return present[np.argsort(present.astype(np.int64), kind="stable")]
    return present


def _check_markers(name: str, present: Array) -> None:
    """Refuse -1 or 255 beside the labels 0, 1, ...: most often it marks images without a label."""
    for marker, others in ((-1, present[1:]), (255, present[:-1])):
        if len(present) > 2 and marker in (present[0], present[-1]) and others[0] in (0, 1) and others[-1] < 254:
            raise BadArraysError(
                f"{name} holds {marker} beside {_span(others)}, which often marks an image without a label; "
                f"{_keep(f'{name} != {marker}')}; if it is a class: np.unique({name}, return_inverse=True)[1]"
            )


def _check_known(name: str, value: Array, first: str, present: Array) -> None:
    unknown = np.setdiff1d(value, present)
    if len(unknown):
        count = int(np.isin(value, unknown).sum())
        raise BadArraysError(
            f"{name} has {_classes_in_words(unknown)}, which {first} does not have, at {counted(count, 'image')}; "
            f"{_keep(f'np.isin({name}, {first})')}"
        )


def _classes_in_words(labels: Array) -> str:
    words = [brief(str(label), 30) for label in labels.tolist()]
    return f"the class {words[0]}" if len(words) == 1 else f"the classes {first_few(words, SHOWN)}"


def _keep(condition: str) -> str:
    return f"x[keep] and y[keep] with keep = {condition} leave such images out"


def _numbered(value: Array, present: Array, order: Mapping[object, int]) -> Labels:
    if value.dtype.kind == "U":
        return np.array([order[label] for label in value.tolist()], dtype=np.int64)
    return np.searchsorted(present, value).astype(np.int64)


def _names_of(present: Array, names: Array | None) -> tuple[str, ...]:
    if names is not None and present.dtype.kind != "U" and present[0] >= 0 and present[-1] < len(names):
        return tuple(str(names[label]) for label in present.tolist())
    return tuple(map(str, present.tolist()))


def _span(present: Array) -> str:
    """Return labels in words: `1 .. 10`, or some of them where numbers lack between."""
    values: Sequence[int] = present.tolist()
    whole = len(values) > 2 and values == list(range(values[0], values[-1] + 1))
    return f"{values[0]} .. {values[-1]}" if whole else first_few([str(value) for value in values], SHOWN)
