"""Finds run folders: from a run, a folder above runs, a glob pattern, or a name below the runs folder."""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bnexp.errors import ConfigError, did_you_mean
from bnexp.runs.folder import CONFIG, META, METRICS, SUMMARY
from bnexp.runs.resuming import CHECKPOINTS

_RECORDS = {META, METRICS, SUMMARY}
_CLAIMED = re.compile(r"seed(\d{1,18})(?:-(\d{1,18}))?")
"""How `claim_run_folder` names a folder: the seed, and the number of the repeat."""


def find_runs(paths: Sequence[str], runs_dir: Path) -> list[Path]:
    """Return the run folders that `paths` mean, each once, in the order of their names within each path.

    Args:
        paths: run folders, folders above runs, glob patterns, or any of these relative to `runs_dir`; empty for all
            of `runs_dir`.
        runs_dir: where runs lie unless a path says otherwise.

    Raises:
        ConfigError: a path that does not exist, or no run anywhere.
    """
    if not paths and not os.path.lexists(runs_dir):
        siblings = [str(other) for other in runs_dir.parent.glob("*/")]
        raise ConfigError(f"{runs_dir}: no such folder.{did_you_mean(str(runs_dir), siblings)} {_FIRST_RUN}")
    roots = [root for path in paths for root in _roots_of(path, runs_dir)] if paths else [runs_dir]
    found: dict[Path, Path] = {}
    for root in roots:
        for folder in runs_below(root):
            found.setdefault(folder.resolve(), folder)
    if not found:
        looked = ", ".join(str(root) for root in roots[:5])
        raise ConfigError(f"no runs in {looked}: expected folders such as runs/<name>/seed0. {_FIRST_RUN}")
    return list(found.values())


def find_run(path: str, runs_dir: Path) -> Path:
    """Return the one run folder that `path` means; see `find_runs`.

    Raises:
        ConfigError: no run lies there, or several.
    """
    folders = find_runs([path], runs_dir)
    if len(folders) > 1:
        named = ", ".join(str(folder) for folder in folders[:4])
        raise ConfigError(f"{path}: {len(folders)} runs lie there; expected one, such as one of {named}")
    return folders[0]


_FIRST_RUN = "Make one with: bnexp train configs/mnist_mlp_bn.yaml"


def seed_of(folder: Path) -> tuple[int | None, int]:
    """Return the seed and the number of the repeat that a folder's name tells: `seed3-2` is (3, 2)."""
    match = _CLAIMED.fullmatch(folder.name)
    return (int(match[1]), int(match[2] or 1)) if match else (None, 1)


def _roots_of(path: str, runs_dir: Path) -> list[Path]:
    places = [Path(path), runs_dir / path]
    for place in places:
        if os.path.isdir(place):
            return [place]
    for place in places:
        if glob.has_magic(path) and (matches := sorted(glob.glob(str(place), recursive=True))):
            return [Path(match) for match in matches if os.path.isdir(match)]
    if os.path.isfile(path):
        raise ConfigError(f"{path}: a file; expected a run folder, a folder above runs, or a glob pattern")
    raise ConfigError(f"{path}: {_not_found(path, runs_dir)} {_FIRST_RUN}")


def _not_found(path: str, runs_dir: Path) -> str:
    if glob.has_magic(path):
        return f"no folder matches this pattern, here or in {runs_dir}."
    folders = list(runs_below(runs_dir))
    names = [folder.relative_to(runs_dir) for folder in folders]
    known = dict.fromkeys(str(above) for name in names for above in (name, *name.parents[:-1]))
    hint = did_you_mean(path, [*known, *(str(runs_dir / name) for name in known)])
    return f"no such folder, here or in {runs_dir}.{hint}"


def runs_below(root: Path) -> Iterator[Path]:
    """Yield `root` if it is a run, or the runs below it by name; links to folders are not followed."""
    for place, folders, files in os.walk(root):
        folder = Path(place)
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=_natural)
        claimed = _CLAIMED.fullmatch(folder.name) and not set(folders) - {CHECKPOINTS, CONFIG, *_RECORDS}
        if claimed or not _RECORDS.isdisjoint(files):
            folders.clear()
            yield folder


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Order seed10 after seed9."""
    return [(not part.isdigit(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", name)]
