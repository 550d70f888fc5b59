"""Tell what was found where a dataset lies against what is used of it: nothing is left out or changed uncounted.

A reader of a folder or file counts with a `Tally` each and gives them to an `Account`, which `check`, `data verify` and
the start of a run show, and meta.json keeps.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bnexp.config.wording import brief
from bnexp.document.writing import counted, first_few

TRACE = 0.01
"""Part of what was found that may be left out without a warning, where none of it was left out on purpose."""
SHOWN = 6
"""Formats that a line names."""
MOST_CLASSES = 10
"""Classes that a line names."""


_ONE_OR_MORE = (
    ("link that leads", "links that lead"),
    *((f"{one}, which is", f"{one}s, which are") for one in ("Git LFS pointer", "web page", "archive", "video")),
    ("link stored as text, which is", "links stored as text, which are"),
    ("pipe or device", "pipes or devices"),
    ("image in no", "images in no"),
    ("image of", "images of"),
    ("image without their", "images without their"),
    ("hidden or system file", "hidden or system files"),
    ("array of other names", "arrays of other names"),
)
"""How what is counted begins where there is one of it, and where there are more."""


@dataclass(frozen=True)
class Counted:
    """So many things of one kind, and the first of them; `expected` where nobody would miss them (hidden files)."""

    what: str
    count: int
    example: str
    expected: bool = False

    def __str__(self) -> str:
        what = self.what
        for one, more in _ONE_OR_MORE:
            if self.count == 1 and what.startswith(more):
                what = one + what.removeprefix(more)
            elif self.count > 1 and what.startswith(one) and not what.startswith(more):
                what = more + what.removeprefix(one)
        return f"{self.count:,} {what} ({self.example})"


class Tally:
    """Count things by what they are, and keep the first example of each, in the order of their first appearance."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, bool], list[Any]] = {}

    def add(self, what: str, example: str, count: int = 1, *, expected: bool = False) -> None:
        """Count an example, which stands for `count` things."""
        self._found.setdefault((what, expected), [0, example])[0] += count

    def counts(self) -> tuple[Counted, ...]:
        """Return what was counted so far."""
        return tuple(Counted(what, n, first, expected) for (what, expected), (n, first) in self._found.items())


@dataclass(frozen=True)
class Account:
    """What was found, what is used of it, and what became of the rest.

    Attributes:
        seen: things found, of the kind that `unit` names: files, or arrays of an npz file.
        used: how many of them are used.
        formats: how many of those used have each format, the most frequent first.
        passed_over: what is not used, by reason.
        changed: what was changed on reading, by kind of change.
        place: where it lies.
        classes: the name of each class, and how many examples of it each part has; `parts` names these.
    """

    seen: int
    used: int
    unit: str = "file"
    formats: tuple[tuple[str, int], ...] = ()
    passed_over: tuple[Counted, ...] = ()
    changed: tuple[Counted, ...] = ()
    place: Path | None = None
    classes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    parts: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the account for people, a line each for what is used, passed over and changed, and for the classes."""
        formats = first_few([f"{count:,} {name}" for name, count in self.formats], SHOWN)
        place = f" in {os.path.abspath(self.place)}" if self.place else ""
        used = f"{self.used:,} of {counted(self.seen, self.unit)}{place} used" + (f": {formats}" if formats else "")
        rest = [("passed over", self.passed_over), ("changed on reading", self.changed)]
        lines = [used, *(f"{name}: {'; '.join(map(str, counts))}" for name, counts in rest if counts)]
        if self.classes:
            each = [f"{brief(name, 30)}: {' + '.join(f'{n:,}' for n in counts)}" for name, counts in self.classes]
            lines.append(f"{' + '.join(self.parts)} of each class: {first_few(each, MOST_CLASSES)}")
        return lines

    def of_classes(self, labels: Mapping[str, Iterable[int]], names: Sequence[str], place: Path) -> "Account":
        """Return the account with where its set lies, and its classes, of the labels (N,) of each part."""
        counts = [Counter(list(found)) for found in labels.values()]
        classes = tuple((name, tuple(found[label] for found in counts)) for label, name in enumerate(names))
        return replace(self, place=place, classes=classes, parts=tuple(labels) if len(labels) > 1 else ("images",))

    def doubts(self) -> list[str]:
        """Return a sentence where more than a trace was left out that somebody may miss."""
        missed = [kind for kind in self.passed_over if not kind.expected]
        count = sum(kind.count for kind in missed)
        if count <= TRACE * (self.used + count):
            return []
        return [f"{counted(count, self.unit)} left out, {self.used:,} used: {'; '.join(map(str, missed))}."]

    def record(self) -> dict[str, Any]:
        """Return the account for meta.json."""
        return {
            "unit": self.unit,
            "seen": self.seen,
            "used": self.used,
            "formats": dict(self.formats),
            "passed_over": [_recorded(kind) for kind in self.passed_over],
            "changed": [_recorded(kind) for kind in self.changed],
        }


def by_frequency(names: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Return how often each name occurs, the most frequent first."""
    return tuple(Counter(names).most_common())


def _recorded(kind: Counted) -> Mapping[str, Any]:
    return {"what": kind.what, "count": kind.count, "example": kind.example}
