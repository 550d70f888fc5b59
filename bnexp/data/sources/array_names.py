"""Tell which array of an npz file is what, by its name: others write train_images, X_train or x for x_train.

A name is cut into words. It has a role where each word is a part (train, validation, test) or a kind (images, labels),
one of the kind and at most one of the part. Arrays of other names are passed over and counted.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bnexp.data.sources.arrays import BadArraysError
from bnexp.document.writing import first_few

PARTS = {
    "train": ("train", "training", "tr"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "te"),
}
KINDS = {
    "x": ("x", "image", "images", "img", "imgs", "data", "pixels", "inputs", "features"),
    "y": ("y", "label", "labels", "target", "targets", "lab"),
}
NAMES = ("class_names", "classes", "label_names", "names", "categories", "target_names")
"""Arrays of text that name the classes."""
SPLITS = (
    *("split", "splits", "part", "parts", "partition", "fold", "folds", "subset", "is_train", "is_test", "train_mask"),
    *("train_idx", "test_idx", "train_index", "test_index", "train_indices", "test_indices", "idx_train", "idx_test"),
)
"""Arrays that say which image belongs to which part."""
OWN = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test")
"""The names that this program asks for; beside them others are no second reading."""
SHOWN = 8
"""Arrays that a message names."""

Shape = tuple[int, ...]

_PART_OF = {word: part for part, words in PARTS.items() for word in words}
_KIND_OF = {word: kind for kind, words in KINDS.items() for word in words}


@dataclass(frozen=True)
class Roles:
    """Which array is what: by part the names of its images and labels, the whole set being `train` where nothing says.

    `names` is the array that names the classes, if there is one; `rest` are those without a role.
    """

    images: dict[str, str]
    labels: dict[str, str]
    names: str | None = None
    rest: tuple[str, ...] = ()


def roles_of(shapes: Mapping[str, Shape], file_name: str, *, needs_train: bool = True) -> Roles:
    """Return the roles of the arrays of a file, of which one part has to be `train` unless it is a file of validation.

    The names decide, and the shapes only which line is shown.

    Raises:
        BadArraysError: two arrays could have one role, or a part lacks its images or its labels; the message has the
            line that renames them.
    """
    stored = list(shapes)
    found: dict[str, dict[str, list[str]]] = {"x": {}, "y": {}}
    for name in stored:
        if role := _role_of(name):
            found[role[0]].setdefault(role[1], []).append(name)
    roles: dict[str, dict[str, str]] = {"x": {}, "y": {}}
    has_parts = all("train" in parts for parts in found.values())
    for kind, parts in found.items():
        whole = parts.pop("whole", [])
        if whole and not has_parts:
            parts["train"] = [*parts.get("train", []), *whole]
        for part, names in parts.items():
            own = [name for name in names if name in OWN] or names
            if len(own) > 1:
                raise BadArraysError(f"{' and '.join(own)} could be the same; {renaming(shapes, file_name)}")
            roles[kind][part] = own[0]
    _check_pairs(roles["x"], roles["y"], shapes, file_name, needs_train=needs_train)
    images, labels = ({part: roles[kind][part] for part in PARTS if part in roles[kind]} for kind in "xy")
    _check_exchanged(images, labels, shapes, file_name)
    others = [name for name in stored if name not in {*images.values(), *labels.values()}]
    of_classes = next((name for name in others if name.lower() in NAMES), None)
    splits = [name for name in others if name.lower() in SPLITS]
    if splits and list(images) == ["train"]:
        raise BadArraysError(_of_splits(splits, images["train"], labels["train"], shapes, file_name))
    return Roles(images, labels, of_classes, tuple(name for name in others if name != of_classes))


def _check_pairs(
    images: Mapping[str, str],
    labels: Mapping[str, str],
    shapes: Mapping[str, Shape],
    file_name: str,
    *,
    needs_train: bool,
) -> None:
    """Refuse a part that has images without labels or labels without images, and a set without `train`."""
    lone = [names[part] for names in (images, labels) for part in sorted(set(images) ^ set(labels)) if part in names]
    if lone or not images or (needs_train and "train" not in images):
        what = f"no array to go with {first_few(lone, SHOWN)}" if lone else "no arrays of known names"
        raise BadArraysError(f"{what}; found {first_few(list(shapes), SHOWN) or 'none'}; {renaming(shapes, file_name)}")


def _role_of(name: str) -> tuple[str, str] | None:
    """Return kind and part of an array, the part `whole` where its name has none; None for other names."""
    if not name.isascii():
        return None
    words = _words(name)
    if len(words) == 1 and words[0] not in _KIND_OF:
        words = _cut(words[0])
    kinds = [_KIND_OF[word] for word in words if word in _KIND_OF]
    parts = [_PART_OF[word] for word in words if word in _PART_OF]
    if len(kinds) != 1 or len(parts) > 1 or len(kinds) + len(parts) != len(words):
        return None
    return kinds[0], parts[0] if parts else "whole"


def _cut(word: str) -> list[str]:
    """Return `xtrain` as `x` and `train`."""
    for first in (*_KIND_OF, *_PART_OF):
        rest = word.removeprefix(first)
        if rest != word and rest in (_PART_OF if first in _KIND_OF else _KIND_OF):
            return [first, rest]
    return [word]


def _check_exchanged(
    images: Mapping[str, str], labels: Mapping[str, str], shapes: Mapping[str, Shape], file_name: str
) -> None:
    """Refuse flat arrays under the names of images beside images under the names of labels."""
    wide = [(len(shapes[images[part]]), len(shapes[labels[part]])) for part in images if part in labels]
    if wide and all(of_images == 1 and of_labels >= 3 for of_images, of_labels in wide):
        pairs = {part: (labels[part], images[part]) for part in images}
        found = (
            f"{images['train']} holds labels and {labels['train']} images" if "train" in images else "x holds labels"
        )
        raise BadArraysError(f"{found}, as their shapes say; {_line(pairs, file_name)} exchanges the names")


def _of_splits(splits: Sequence[str], images: str, labels: str, shapes: Mapping[str, Shape], file_name: str) -> str:
    """Return what to type where an array says which images are for testing."""
    index = next((name for name in splits if "train" in name.lower()), None)
    chosen = (
        f"s = a[{index!r}]; t = a[{splits[-1]!r}]"
        if index and len(splits) > 1
        else f"s = a[{splits[0]!r}] == 'train'; t = ~s"
        if not index
        else f"s = a[{index!r}] == 1; t = ~s"
    )
    new = f"{file_name.removesuffix('.npz')}-named.npz"
    pairs = ", ".join(
        f"{kind}_{part}=a[{name!r}][{where}]"
        for part, where in (("train", "s"), ("test", "t"))
        for kind, name in (("x", images), ("y", labels))
    )
    return (
        f"{first_few(list(splits), SHOWN)} may say which images are for testing, and is not read; expected x_train, "
        f"y_train, x_test and y_test: a = np.load({file_name!r}); {chosen}; np.savez({new!r}, {pairs})"
    )


def renaming(shapes: Mapping[str, Shape], file_name: str) -> str:
    """Return the line that names the arrays as this program expects them, with the names that are there."""
    expected = "expected x_train, y_train, x_test and y_test, or x and y of which a fifth becomes the test: "
    if pairs := _pairs_of(shapes):
        return expected + _line(pairs, file_name)
    several = [shape for shape in shapes.values() if len(shape) >= 2]
    if len(several) == len(shapes) > 1 and len({shape[1:] for shape in several}) == 1:
        new = f"{file_name.removesuffix('.npz')}-named.npz"
        return (
            f"{expected}where each array is a class, a = np.load({file_name!r}); np.savez({new!r}, "
            "x=np.concatenate([a[k] for k in a]), y=np.repeat([*a], [len(a[k]) for k in a]))"
        )
    return expected + _line(dict.fromkeys(("train", "test"), ("...", "...")), file_name)


def _line(pairs: Mapping[str, tuple[str, str]], file_name: str) -> str:
    new, alone = f"{file_name.removesuffix('.npz')}-named.npz", len(pairs) == 1
    arrays = ", ".join(
        f"{kind if alone else f'{kind}_{part}'}=a[{name!r}]"
        for part, names in pairs.items()
        for kind, name in zip("xy", names, strict=True)
    )
    return f"a = np.load({file_name!r}); np.savez({new!r}, {arrays})"


def _pairs_of(shapes: Mapping[str, Shape]) -> dict[str, tuple[str, str]]:
    """Return images and labels by part, as shapes allow and names and sizes suggest; empty where none do."""
    flat = [name for name, shape in shapes.items() if len(shape) == 1 or (len(shape) == 2 and shape[1] <= 20)]
    wide = [name for name, shape in shapes.items() if len(shape) >= 3 or (len(shape) == 2 and shape[1] > 20)]
    pairs = []
    for image in sorted(wide, key=lambda name: -len(shapes[name])):
        fits = [name for name in flat if shapes[name][:1] == shapes[image][:1]]
        if fits:
            label = next((name for name in fits if _part_in(name) == _part_in(image) and _kind_in(name) == "y"), None)
            label = label or next((name for name in fits if _part_in(name) == _part_in(image)), fits[0])
            pairs.append((image, label))
            flat.remove(label)
    parts = [_part_in(image) for image, _ in pairs]
    if len(pairs) > 1 and (None in parts or len(set(parts)) < len(parts)):
        pairs.sort(key=lambda pair: -shapes[pair[0]][0])
        parts = [*("train", "test", "val")[: len(pairs)]]
    if len(pairs) > 3:
        return {}
    found = {part or "train": pair for part, pair in zip(parts, pairs, strict=True)}
    return {part: found[part] for part in PARTS if part in found} if "train" in found else {}


def _part_in(name: str) -> str | None:
    words = _words(name)
    return next((part for word, part in _PART_OF.items() if word in words), None) or next(
        (part for part in PARTS if part in name.lower()), None
    )


def _kind_in(name: str) -> str | None:
    return next((_KIND_OF[word] for word in _words(name) if word in _KIND_OF), None)


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]*[a-z]+|[A-Z]+|\d+", name)]
