"""Turn the labels of others into whole numbers from 0, the same for all parts of a set, and keep the names of classes.

Taken are whole numbers of any type, from any number on and with gaps; floats that are whole; one-hot rows; true and
false; and text. What could mean two things is refused, with the line that decides.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bnexp.config.wording import MISSING, brief
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
    _check_widths(arrays)
    values = {name: _values(name, array, tally) for name, array in arrays.items()}
    if len({value.dtype.kind for value in values.values()}) > 1:
        kinds = " and ".join(f"{name} is {'text' if v.dtype.kind == 'U' else 'numbers'}" for name, v in values.items())
        raise BadArraysError(f"{kinds}; expected labels of one kind")
    first, train = next(iter(values.items()))
    if not len(train):
        raise BadArraysError(f"{first} has shape {arrays[first].shape}, expected at least 1 label")
    present = np.unique(train)
    if train.dtype.kind == "U":
        present = _ordered(first, present)
        _check_words(first, present)
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
        raise BadArraysError(
            f"{name} holds {flat.max()}, expected the number of a class; np.unique({name}, return_inverse=True)[1] "
            "counts them from 0"
        )
    return flat.astype(np.int64)


def _check_widths(arrays: Mapping[str, Array]) -> None:
    """Refuse one-hot rows of different width in the parts: nothing says which columns are the same class."""
    widths = {name: array.shape[1] for name, array in arrays.items() if array.ndim == 2 and min(array.shape) > 1}
    if len(set(widths.values())) > 1:
        found = " and ".join(f"{name} has rows of {width}" for name, width in widths.items())
        raise BadArraysError(
            f"{found}; expected one-hot rows of one width, a column for each class in all parts, which cannot be told "
            "here: make whole numbers of the labels before they are cut into parts, such as y = np.unique(names, "
            "return_inverse=True)[1]"
        )


def _one_each(name: str, array: Array, tally: Tally) -> Array:
    """Return labels (N,), from (N,), (N, 1), (1, N) or one-hot rows (N, classes)."""
    if array.ndim == 1:
        return array
    if array.ndim == 2 and min(array.shape) == 1:
        return array.reshape(-1)
    found = f"{name} has shape {array.shape}, expected (N,), (N, 1) or one-hot rows"
    if array.ndim != 2 or not array.size or array.dtype.kind in "US":
        raise BadArraysError(f"{found}; {_of_other_shape(name, array)}")
    odd = np.flatnonzero(((array != 0) & (array != 1)).any(axis=1) | (array.sum(axis=1, dtype=np.float64) != 1))
    if len(odd):
        row = first_few([f"{value:g}" for value in array[odd[0]].astype(float).tolist()], SHOWN)
        raise BadArraysError(
            f"{found}: a single 1 in each row; {counted(len(odd), 'row')} of {len(array):,} differ, such as "
            f"{name}[{odd[0]}] = {row}; {_of_odd_rows(name, array)}"
        )
    tally.add(f"one-hot rows of {array.shape[1]} read as the class of their 1", name, len(array))
    return np.asarray(array.argmax(axis=1))


def _of_other_shape(name: str, array: Array) -> str:
    """Return what labels of another shape may be, and the line that makes one of each."""
    if not array.size or array.ndim == 0:
        return "one label for each image"
    if array.ndim == 2:
        return f"a column of them is {name}[:, 0]"
    if sum(extent > 1 for extent in array.shape) <= 2:
        return f"np.squeeze({name}) drops axes of 1"
    return "a label for each pixel is segmentation, and bnexp classifies whole images"


def _of_odd_rows(name: str, array: Array) -> str:
    """Return what rows that are not one-hot may be, and the line that makes labels of them."""
    sums = array.sum(axis=1, dtype=np.float64)
    if not ((array == 0) | (array == 1)).all():
        if array.min() >= 0 and np.allclose(sums, 1, atol=0.01):
            return f"of shares, {name}.argmax(axis=1) takes the largest"
        return f"a column of labels among others is {name}[:, 0] or {name}[:, 1]; of scores, {name}.argmax(axis=1)"
    if (array.sum(axis=0) == 1).all():
        return f"{name}.T has the images in rows"
    what = (
        "without a class"
        if sums.max() <= 1
        else "of several classes"
        if sums.min() >= 1
        else "of no or several classes"
    )
    return f"an image has one class here; {_keep(f'{name}.sum(axis=1) == 1')}, which are {what}"


def _whole(name: str, flat: Array, tally: Tally) -> Array:
    """Return floats that are whole as whole numbers."""
    stored, flat = flat.dtype, flat.astype(np.float64)
    odd = np.flatnonzero(~np.isfinite(flat) | (flat != np.round(flat)) | (np.abs(flat) > 2**53))
    if len(odd):
        missing = int(np.isnan(flat).sum())
        what = "NaN, a missing label" if missing else f"{name}[{odd[0]}] = {flat[odd[0]]:g}"
        mend = _keep(f"~np.isnan({name})") if missing else "a quantity is no class: np.digitize makes classes of it"
        raise BadArraysError(
            f"{name} is {stored}, expected whole numbers; {len(odd):,} of {len(flat):,} are not, such as {what}; {mend}"
        )
    tally.add(f"{stored} labels read as whole numbers", name, len(flat))
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
    return np.array([unicodedata.normalize("NFC", label) for label in flat.tolist()], dtype=np.str_)


def _ordered(name: str, present: Array) -> Array:
    """Return names of classes in the order of the alphabet, numbers in theirs; refuse two spellings of one name."""
    spellings: dict[str, str] = {}
    for label in present.tolist():
        other = spellings.setdefault(_folded(label), label)
        if other != label:
            raise BadArraysError(
                f'{name} holds "{brief(other)}" and "{brief(label)}", which differ in capitals or spaces alone; '
                f"np.char.lower(np.char.strip({name})) makes one class of them"
            )
    if all(re.fullmatch(r"[+-]?\d{1,15}", label, re.ASCII) for label in present.tolist()):
        return present[np.argsort(present.astype(np.int64), kind="stable")]
    return present


def _check_words(name: str, present: Array) -> None:
    """Refuse words that stand for a missing label beside longer ones; among single letters they are letters."""
    labels = present.tolist()
    words = [label for label in labels if label.strip().lower() in MISSING]
    if words and max(map(len, labels)) > 1:
        raise BadArraysError(
            f"{name} holds {first_few([repr(word) for word in words], SHOWN)}, which often mark images without a "
            f"label; {_keep(f'~np.isin({name}, {words[:SHOWN]})')}; if it is a class, give it another name in every "
            f"part: np.where({name} == {words[0]!r}, 'of_{words[0]}', {name})"
        )


def _check_markers(name: str, present: Array) -> None:
    """Refuse -1, 255 or 999 beside the labels 0, 1, ...: most often it marks images without a label."""
    if len(present) < 3:
        return
    low, *inner, high = present.tolist()
    for marker, others in ((low, [*inner, high]), (high, [low, *inner])):
        whole = others[-1] - others[0] + 1 == len(others)
        if others[0] in (0, 1) and (
            (marker < 0 and (whole or marker == -1))
            or (marker == 255 and others[-1] < 254)
            or (marker in (99, 999, 9999, 65535, 2**31 - 1) and whole and others[-1] < marker - 1)
        ):
            raise BadArraysError(
                f"{name} holds {marker} beside {_span(np.array(others))}, which often marks an image without a label; "
                f"{_keep(f'{name} != {marker}')}; if it is a class: np.unique({name}, return_inverse=True)[1]"
            )


def _check_known(name: str, value: Array, first: str, present: Array) -> None:
    unknown = np.setdiff1d(value, present)
    if not len(unknown):
        return
    count = int(np.isin(value, unknown).sum())
    found = f"{name} has {_classes_in_words(unknown)}, which {first} does not have, at {counted(count, 'image')}"
    if value.dtype.kind == "U":
        for alike, line in (
            (_folded, "np.char.lower(np.char.strip({}))"),
            (_as_number, "{}.astype(float).astype(int)"),
        ):
            if {alike(label) for label in unknown.tolist()} <= {alike(label) for label in present.tolist()} - {None}:
                raise BadArraysError(f"{found}; it has them in another spelling: {line.format('y')} for every part")
    if count == len(value):
        raise BadArraysError(
            f"{found}, which is all of them; if they are no labels, leave {name} and its images out of the file"
        )
    raise BadArraysError(f"{found}; {_keep(f'np.isin({name}, {first})')}")


def _folded(label: str) -> str:
    return " ".join(label.split()).casefold()


def _as_number(label: str) -> float | None:
    return float(label) if re.fullmatch(r"\s*[+-]?\d{1,15}(?:\.0*)?\s*", label, re.ASCII) else None


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
    if names is not None and present.dtype.kind != "U" and present[0] >= 0 and present[-1] < names.size:
        texts = np.char.decode(names, "utf-8", "replace") if names.dtype.kind == "S" else names
        return tuple(str(texts.reshape(-1)[label]) for label in present.tolist())
    return tuple(map(str, present.tolist()))


def _span(present: Array) -> str:
    """Return labels in words: `1 .. 10`, or some of them where numbers lack between."""
    values: Sequence[int] = present.tolist()
    whole = len(values) > 2 and values[-1] - values[0] + 1 == len(values)
    return f"{values[0]} .. {values[-1]}" if whole else first_few([str(value) for value in values], SHOWN)
