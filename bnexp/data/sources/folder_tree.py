"""Walk a folder once: its images, folder by folder, and what else lies there, counted by what it is."""

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bnexp.data.sources.account import Tally
from bnexp.data.sources.formats import ENDINGS, ending_of, is_image, is_system, reason_not_read
from bnexp.errors import ConfigError

MOST_FOLDERS = 200_000
"""Folders that are walked: links can make any number out of a few."""

Folders = tuple[str, ...]
"""A folder below the one that is walked, as the names on the way to it; () is that one."""


@dataclass(frozen=True)
class Found:
    """An image: the folder that it lies in, and its name."""

    at: Folders
    name: str

    @property
    def path(self) -> str:
        """Its path below the folder that is walked."""
        return "/".join((*self.at, self.name))


@dataclass
class Tree:
    """What lies in a folder and below.

    Attributes:
        images: by folder, sorted by name.
        folders: of each folder those in it, hidden ones and those of a system left out.
        dangling: of each folder the links in it that lead nowhere, and do not look like images.
        other: files that are no images, with their reasons.
        files: how many files there are, images or not.
    """

    root: Path
    images: dict[Folders, list[Found]] = field(default_factory=dict)
    folders: dict[Folders, list[str]] = field(default_factory=dict)
    dangling: dict[Folders, list[str]] = field(default_factory=dict)
    other: dict[Folders, Tally] = field(default_factory=dict)
    files: int = 0

    def __post_init__(self) -> None:
        self._below: Counter[Folders] = Counter()

    @classmethod
    def of(cls, root: Path) -> "Tree":
        """Return the tree of a folder.

        Raises:
            OSError: a folder in it cannot be read.
            ConfigError: it has no end, or nearly none.
        """
        tree = cls(root)
        tree._walk((), ())
        for at, images in tree.images.items():
            for depth in range(len(at) + 1):
                tree._below[at[:depth]] += len(images)
        return tree

    def images_in(self, at: Folders) -> int:
        """Return how many images lie directly in a folder."""
        return len(self.images.get(at, ()))

    def images_below(self, at: Folders) -> int:
        """Return how many images lie in a folder or below."""
        return self._below[at]

    def inside(self, at: Folders) -> list[Folders]:
        """Return the folders directly in a folder."""
        return [(*at, name) for name in self.folders.get(at, ())]

    def _walk(self, at: Folders, above: tuple[tuple[int, int], ...]) -> None:
        place = self.root.joinpath(*at)
        status = os.stat(place)
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            self._pass_over(at[:-1], "/".join(at), "link that leads back to a folder above")
            self.folders[at[:-1]].remove(at[-1])
            return
        self.folders[at], self.images[at] = [], []
        if len(self.folders) > MOST_FOLDERS:
            raise ConfigError(
                f"{self.root}: over {MOST_FOLDERS:,} folders, such as {place}; expected a folder per class"
            )
        with os.scandir(place) as entries:
            sorted_entries = sorted(entries, key=lambda entry: entry.name)
        for entry in sorted_entries:
            self._take(at, entry)
        for name in list(self.folders[at]):
            self._walk((*at, name), (*above, identity))

    def _take(self, at: Folders, entry: "os.DirEntry[str]") -> None:
        path = "/".join((*at, entry.name))
        if is_system(entry.name) and entry.is_file() and is_image(Path(entry.path), hidden=True):
            self._pass_over(at, path, "hidden images; a name without a dot before it is read")
        elif is_system(entry.name):
            count = _files_below(Path(entry.path)) if entry.is_dir() else 1
            self._pass_over(at, path, "hidden or system files", count, expected=True)
        elif entry.is_dir():
            self.folders[at].append(entry.name)
        elif not entry.is_file():
            dangles = entry.is_symlink() and not os.path.exists(entry.path)
            self._pass_over(at, path, "link that leads nowhere" if dangles else "pipe or device")
            if dangles and ending_of(entry.name) not in ENDINGS:
                self.dangling.setdefault(at, []).append(entry.name)
        elif is_image(Path(entry.path)):
            self.images[at].append(Found(at, entry.name))
            self.files += 1
        else:
            reason, expected = reason_not_read(Path(entry.path), self.root)
            self._pass_over(at, path, reason, expected=expected)

    def _pass_over(self, at: Folders, path: str, what: str, count: int = 1, *, expected: bool = False) -> None:
        if count:
            self.files += count
            self.other.setdefault(at, Tally()).add(what, path, count, expected=expected)


def _files_below(folder: Path) -> int:
    """Return how many files lie below a folder; links are not followed."""
    if folder.is_symlink():
        return 1
    return sum(len(files) for _, _, files in os.walk(folder))


def is_folder(path: Path) -> bool:
    """Tell whether a path is a folder that can be looked at."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return False
