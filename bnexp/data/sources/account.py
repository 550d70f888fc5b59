"""Tell what was found where a dataset lies against what is used of it: nothing is left out or changed uncounted.

A reader of a folder or file counts with a `Tally` each and gives them to an `Account`, which `check`, `data verify` and
the start of a run show, and meta.json keeps.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bnexp.document.writing import counted, first_few

TRACE = 0.01
"""Part of what was found that may be left out without a warning, where none of it was left out on purpose."""
SHOWN = 6
"""Formats that a line names."""


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
    """

    seen: int
    used: int
    unit: str = "file"
    formats: tuple[tuple[str, int], ...] = ()
    passed_over: tuple[Counted, ...] = ()
    changed: tuple[Counted, ...] = ()

    def lines(self) -> list[str]:
        """Return the account for people, a line each for what is used, passed over and changed."""
        formats = first_few([f"{count:,} {name}" for name, count in self.formats], SHOWN)
        used = f"{self.used:,} of {counted(self.seen, self.unit)} used" + (f": {formats}" if formats else "")
        rest = [("passed over", self.passed_over), ("changed on reading", self.changed)]
        return [used, *(f"{name}: {'; '.join(map(str, counts))}" for name, counts in rest if counts)]

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
