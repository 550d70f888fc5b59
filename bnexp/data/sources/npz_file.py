"""Read the dataset `npz`: one NumPy file with the arrays x_train, y_train, x_test and y_test, or as others name them.

Which array is what its name says (`array_names.py`); `array_images.py` and `array_labels.py` say what images and labels
may look like. x_val and y_val, or the arrays of another file (`data.val_path`), are the validation part. Without a test
part, a fixed, stratified fifth of `train` becomes one. Nothing is ever unpickled.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from bnexp.config.data_section import DatasetInfo, NpzData, unequal_counts
from bnexp.data.sources.account import TRACE, Account, Tally, by_frequency
from bnexp.data.sources.array_images import LEAST_SIDE, Images, read_images
from bnexp.data.sources.array_labels import Labels, read_labels
from bnexp.data.sources.array_names import PARTS, SHOWN, Roles, roles_of
from bnexp.data.sources.arrays import Array, BadArraysError, array_shapes, array_sizes, read_arrays
from bnexp.data.sources.composition import Findings, look_at_labels, look_at_pictures
from bnexp.data.sources.decode import MAX_SET_BYTES
from bnexp.data.sources.foreign_files import what_a_folder_has, what_it_is
from bnexp.data.sources.place import own_path
from bnexp.document.writing import counted, first_few
from bnexp.errors import BnexpError, ConfigError

TEST_SHARE = 0.2
"""Part of the images that becomes the test set where the file has none."""


@dataclass(frozen=True)
class NpzSet:
    """Images uint8 (N, C, H, W) and labels int64 (N,) of the parts `train`, `val` and `test` that the file has.

    Attributes:
        classes: their names, in the order of the labels; their numbers where `named` is false.
        stored: the name of each part's images in the file.
        account: which arrays are used, and what was changed.
    """

    images: dict[str, Images]
    labels: dict[str, Labels]
    classes: tuple[str, ...]
    named: bool
    stored: dict[str, str]
    account: Account

    @property
    def test_examples(self) -> int:
        """Images of the test set: those of its part, else a fifth of `train`."""
        if "test" in self.labels:
            return len(self.labels["test"])
        return max(round(len(self.labels["train"]) * TEST_SHARE), 1)


@dataclass(frozen=True)
class _Stored:
    """The arrays of a file that have a role, by name, and the sizes of all."""

    roles: Roles
    sizes: dict[str, int]
    arrays: dict[str, Array]

    def with_val(self, other: "_Stored", file_name: str) -> "_Stored":
        """Return these with images and labels of another file as the validation part, named with that file."""
        if "val" in self.roles.images:
            found = f"has {self.roles.images['val']}, and data.val_path names {file_name}"
            raise BadArraysError(f"{found}; expected one validation part: leave data.val_path out")
        part = "val" if "val" in other.roles.images else next(iter(other.roles.images))
        if len(other.roles.images) > 1 and part != "val":
            found = first_few(list(other.roles.images.values()), SHOWN)
            raise BadArraysError(
                f"data.val_path: {file_name} has several parts ({found}) and none for validation; expected x and y: "
                f"a = np.load({file_name!r}); np.savez('val.npz', x=a[...], y=a[...])"
            )
        images, labels = other.roles.images[part], other.roles.labels[part]
        of_val = {f"{file_name}:{name}": name for name in (images, labels)}
        rest = [f"{file_name}:{name}" for name in other.sizes if name not in (images, labels)]
        roles = Roles(
            {**self.roles.images, "val": f"{file_name}:{images}"},
            {**self.roles.labels, "val": f"{file_name}:{labels}"},
            self.roles.names,
            (*self.roles.rest, *rest),
        )
        sizes = {**self.sizes, **{f"{file_name}:{name}": size for name, size in other.sizes.items()}}
        return _Stored(roles, sizes, {**self.arrays, **{new: other.arrays[name] for new, name in of_val.items()}})


def read_npz(data: NpzData, data_dir: Path) -> NpzSet:
    """Return the arrays of the file that `data.path` names, and of `data.val_path`, checked.

    Raises:
        ConfigError: no such file.
        BnexpError: it is not an npz file, or its arrays are not images and labels as described above.
    """
    path = own_path(data, data_dir)
    stored = _read(path, "path")
    other = data.val_path and own_path(data, data_dir, "val_path")
    if other and other.samefile(path):
        raise ConfigError(f"data.val_path: {other} is the file of data.path; expected another one, or x_val in it")
    of_val = _read(other, "val_path") if other else None
    try:
        return _checked(stored.with_val(of_val, other.name) if other and of_val else stored)
    except BadArraysError as error:
        raise BnexpError(f"{path}: {error}") from None


def _read(path: Path, key: str) -> _Stored:
    """Return the arrays of a file that `data.path` or `data.val_path` names."""
    try:
        if path.is_dir():
            raise ConfigError(f"{path}: {what_a_folder_has(path)}")
        sizes = array_sizes(path, MAX_SET_BYTES)
        roles = roles_of(array_shapes(path, MAX_SET_BYTES), path.name, needs_train=key == "path")
        used = [*roles.images.values(), *roles.labels.values(), *filter(None, [roles.names])]
        return _Stored(roles, sizes, read_arrays(path, used, MAX_SET_BYTES))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror or error}; expected an npz file (data.{key})"
        ) from None
    except BadArraysError as error:
        raise BnexpError(f"{path}: {what_it_is(path) or error}") from None


def _checked(read: _Stored) -> NpzSet:
    roles, stored, arrays = read.roles, read.sizes, read.arrays
    tally, passed_over = Tally(), Tally()
    names = arrays[roles.names] if roles.names and arrays[roles.names].dtype.kind in "US" else None
    classes = read_labels({name: arrays[name] for name in roles.labels.values()}, names, tally)
    labels = {part: classes.labels[roles.labels[part]] for part in PARTS if part in roles.labels}
    counts = {roles.images[part]: len(numbers) for part, numbers in labels.items()}
    pixels = read_images({name: arrays[name] for name in counts}, counts, tally)
    for part, name in roles.images.items():
        if len(pixels[name]) != counts[name]:
            both = f"{counted(len(pixels[name]), 'image')} and {roles.labels[part]} {counts[name]:,} labels"
            raise BadArraysError(f"{name} holds {both}; expected as many of both")
    for name in roles.rest:
        passed_over.add("arrays of other names", name, expected=stored[name] <= TRACE * sum(stored.values()))
    used = {**roles.images, **{f"labels of {part}": name for part, name in roles.labels.items()}}
    formats = by_frequency(str(arrays[name].dtype) for name in used.values())
    seen = len(stored)
    account = Account(seen, seen - len(roles.rest), "array", formats, passed_over.counts(), tally.counts())
    images = {part: pixels[roles.images[part]] for part in labels}
    return NpzSet(images, labels, classes.names, classes.named, roles.images, account)


def npz_info(data: NpzData, data_dir: Path) -> DatasetInfo:
    """Return shape and sizes of the file that `data.path` names, what was done to its arrays, and what to doubt."""
    arrays = read_npz(data, data_dir)
    channels, height, width = arrays.images["train"].shape[1:]
    train = len(arrays.labels["train"]) - (0 if "test" in arrays.labels else arrays.test_examples)
    found, place = _looked_at(arrays, data.val_fraction), own_path(data, data_dir)
    labels = {part: own.tolist() for part, own in arrays.labels.items()}
    return DatasetInfo(
        f"arrays in {place}",
        (channels, height, width),
        len(arrays.classes),
        train,
        arrays.test_examples,
        notes=(*_notes(arrays), *found.notes),
        class_counts=unequal_counts(arrays.labels["train"].tolist(), len(arrays.classes)),
        val_examples=len(arrays.labels["val"]) if "val" in arrays.labels else None,
        warnings=(*arrays.account.doubts(), *found.warnings),
        account=arrays.account.of_classes(labels, arrays.classes, place),
    )


def npz_classes(data: NpzData, data_dir: Path) -> tuple[str, ...]:
    """Return the names of the classes; empty where they have their numbers only."""
    arrays = read_npz(data, data_dir)
    return arrays.classes if arrays.named else ()


def _looked_at(arrays: NpzSet, val_fraction: float) -> Findings:
    """Return what the composition gives reason to doubt."""
    test = None if "test" in arrays.labels else arrays.test_examples
    left = len(arrays.labels["train"]) - (test or 0)
    val = None if "val" in arrays.labels else round(left * val_fraction)
    at_labels = look_at_labels(arrays.labels, arrays.classes, test_examples=test, val_examples=val)
    return at_labels + look_at_pictures(
        arrays.images,
        arrays.labels,
        arrays.classes,
        splits_train=test is not None or val is not None,
        place=lambda part, number: f"{arrays.stored[part]}[{number}]",
    )


def _notes(arrays: NpzSet) -> list[str]:
    """Say which parts come from where, and which shape looks like another one laid flat."""
    height, width = arrays.images["train"].shape[2:]
    notes, side = [], math.isqrt(height * width)
    if "test" not in arrays.labels:
        taken = f"{arrays.test_examples:,} images of {arrays.stored['train']}"
        notes.append(f"no test part: {taken} are it, a stratified fifth that is always the same.")
    if "val" in arrays.labels:
        notes.append(f"{arrays.stored['val']} is the validation part; data.val_fraction does not apply.")
    if min(height, width) == 1 and side**2 == height * width and side >= LEAST_SIDE:
        name = arrays.stored["train"]
        notes.append(
            f"images of {height} x {width}: if they are {side} x {side} laid flat, {name}.reshape(-1, {side}, {side})."
        )
    return notes
