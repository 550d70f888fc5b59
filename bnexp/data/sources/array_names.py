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
OWN = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test")
"""The names that this program asks for; beside them others are no second reading."""
SHOWN = 8
"""Arrays that a message names."""

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


def roles_of(stored: Sequence[str], file_name: str, *, needs_train: bool = True) -> Roles:
    """Return the roles of the arrays of a file, of which one part has to be `train` unless it is a file of validation.

    Raises:
        BadArraysError: two arrays could have one role, or a part lacks its images or its labels; the message has the
            line that renames them.
    """
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
                raise BadArraysError(f"{' and '.join(own)} could be the same; {_renaming(stored, file_name)}")
            roles[kind][part] = own[0]
    _check_pairs(roles["x"], roles["y"], stored, file_name, needs_train=needs_train)
    images, labels = ({part: roles[kind][part] for part in PARTS if part in roles[kind]} for kind in "xy")
    others = [name for name in stored if name not in {*images.values(), *labels.values()}]
    of_classes = next((name for name in others if name.lower() in NAMES), None)
    return Roles(images, labels, of_classes, tuple(name for name in others if name != of_classes))


def _check_pairs(
    images: Mapping[str, str], labels: Mapping[str, str], stored: Sequence[str], file_name: str, *, needs_train: bool
) -> None:
    """Refuse a part that has images without labels or labels without images, and a set without `train`."""
    lone = [names[part] for names in (images, labels) for part in sorted(set(images) ^ set(labels)) if part in names]
    if lone or not images or (needs_train and "train" not in images):
        what = f"no array to go with {first_few(lone, SHOWN)}" if lone else "no arrays of known names"
        raise BadArraysError(f"{what}; found {first_few(stored, SHOWN) or 'none'}; {_renaming(stored, file_name)}")


def _role_of(name: str) -> tuple[str, str] | None:
    """Return kind and part of an array, the part `whole` where its name has none; None for other names."""
    if not name.isascii():
        return None
    words = [word.lower() for word in re.findall(r"[A-Z]*[a-z]+|[A-Z]+|\d+", name)]
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


def _renaming(stored: Sequence[str], file_name: str) -> str:
    """Return the line that names the arrays as this program expects them, with the names that are there."""
    guesses = {role: name for name in reversed(stored) if (role := _role_of(name))}
    pairs = []
    for number, (kind, part) in enumerate((kind, part) for part in ("train", "test") for kind in "xy"):
        name = guesses.get((kind, part), stored[number] if number < len(stored) == 4 and not guesses else "...")
        pairs.append(f"{kind}_{part}=a[{name!r}]")
    new = f"{file_name.removesuffix('.npz')}-named.npz"
    line = f"a = np.load({file_name!r}); np.savez({new!r}, {', '.join(pairs)})"
    return f"expected x_train, y_train, x_test and y_test, or x and y of which a fifth becomes the test: {line}"
