"""Find run folders from a run, a folder above runs, a glob pattern, or a name below the runs folder."""

import glob
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from bnexp.config.naming import run_name_of
from bnexp.errors import ConfigError, did_you_mean, nearest_path
from bnexp.runs.folder import CHECKPOINTS, CLAIMED, CONFIG, CONFIG_COPY, META, METRICS, SUMMARY

_RECORDS = {META, METRICS, SUMMARY}
_PARTS = _RECORDS | {CHECKPOINTS, CONFIG, CONFIG_COPY}
_BELOW_A_LINK = 3
"""Folders below a link in which runs are looked for: it may lead to a whole disk."""
DEFAULT = Path("runs")
VARIABLE = "BNEXP_RUNS"
"""The variable that names the folder of all runs, where no option does."""
_FIRST_RUN = "Make one with: bnexp train demo"


def runs_folder(chosen: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of all runs: the one chosen, else what BNEXP_RUNS says, else `runs`."""
    return Path(os.path.expanduser(os.environ.get(VARIABLE) or DEFAULT) if chosen is None else chosen)


def place_of_runs(folder: Path) -> Path:
    """Return the folder of the runs: `folder`, or the current one where the default is not there but its runs are."""
    if folder != DEFAULT or os.path.lexists(folder):
        return folder
    here = Path()
    below = (path for pattern in ("*", "*/*", "*/*/*") for path in here.glob(pattern))
    inside = CLAIMED.fullmatch(here.resolve().name) or any(CLAIMED.fullmatch(path.name) for path in below)
    return here if inside and next(runs_below(here), None) is not None else folder


def place_of_new_runs(folder: Path) -> Path:
    """Return the folder for new runs: `folder`, or where that is the default and one stands among runs, theirs."""
    if folder != DEFAULT or os.path.lexists(folder):
        return folder
    here = Path()
    for place, near in ((here, here.glob("*/seed*")), (Path(".."), here.glob("seed*")), (Path("../.."), [here])):
        if any(CLAIMED.fullmatch(run.resolve().name) and (run / CONFIG).is_file() for run in near):
            return place
    return folder


def find_runs(paths: Sequence[str], runs_dir: Path) -> list[Path]:
    """Return the run folders at `paths`, each once, in the order of their names within each path.

    Paths are run folders, folders above runs, or glob patterns, also relative to `runs_dir`; none stands for all of it.

    Raises:
        ConfigError: a path that does not exist, or no run anywhere.
    """
    runs_dir = place_of_runs(runs_dir)
    if not paths and not os.path.lexists(runs_dir):
        hint = did_you_mean(str(runs_dir), map(str, runs_dir.parent.glob("*/")), nearest_path)
        raise ConfigError(f"{runs_dir}: no such folder.{hint} {_FIRST_RUN}")
    roots = [root for path in paths for root in _roots_of(path, runs_dir)] if paths else [runs_dir]
    folders: dict[Path, Path] = {}
    for root in roots:
        for folder in runs_below(root):
            real = folder.resolve()
            if real not in folders or os.path.abspath(folder) == str(real):  # its own name rather than a link's
                folders[real] = folder
    if not folders:
        places = ", ".join(str(root) for root in roots[:5])
        raise ConfigError(f"no runs in {places}: expected folders such as runs/<name>/seed0. {_FIRST_RUN}")
    return list(folders.values())


def find_run(path: str, runs_dir: Path) -> Path:
    """Return the only run folder at `path`; see `find_runs`.

    Raises:
        ConfigError: there is no run, or several.
    """
    folders = find_runs([path], runs_dir)
    if len(folders) > 1:
        named = ", ".join(str(folder) for folder in folders[:4])
        raise ConfigError(f"{path}: {len(folders)} runs lie there; expected one, such as one of {named}")
    return folders[0]


def _roots_of(path: str, runs_dir: Path) -> list[Path]:
    """Return the folders at `path`, taken as a folder or else as a pattern, here or below `runs_dir`."""
    places = [Path(path), runs_dir / path]
    for place in places:
        if os.path.isdir(place):
            return [place]
    for place in places:
        if glob.has_magic(path) and (matches := sorted(glob.glob(str(place), recursive=True))):
            return [Path(match) for match in matches if os.path.isdir(match)]
    if os.path.isfile(path):
        own = runs_dir / run_name_of(Path(path).stem)
        mean = f'; did you mean "{own}"?' if path.endswith((".yaml", ".yml")) and own.is_dir() else ""
        raise ConfigError(f"{path}: a file; expected a run folder, a folder above runs, or a glob pattern{mean}")
    raise ConfigError(f"{path}: {_not_found(path, runs_dir)}")


def _not_found(path: str, runs_dir: Path) -> str:
    """Say that nothing is at `path`, and name the run or folder with nearly this name."""
    if glob.has_magic(path):
        return f"no folder matches this pattern, here or in {runs_dir}. {_FIRST_RUN}"
    if "{" in path:
        return "no such folder. Braces are filled in by the shell, without quotes."
    parts = [part for part in re.split(r"[,;]\s*", path) if part]
    if len(parts) > 1 and all(os.path.isdir(part) or os.path.isdir(runs_dir / part) for part in parts):
        return f"no such folder. Several stand apart, where a command takes several: {shlex.join(parts)}"
    folders = list(runs_below(runs_dir))
    names = [folder.relative_to(runs_dir) for folder in folders]
    known = dict.fromkeys(str(above) for name in names for above in (name, *name.parents[:-1]))
    hint = did_you_mean(path, [*known, *(str(runs_dir / name) for name in known)], nearest_path)
    return f"no such folder, here or in {runs_dir}.{hint} {_FIRST_RUN}"


def runs_below(root: Path) -> Iterator[Path]:
    """Yield `root` if it is a run, or the runs below it by name, each once; at last those that links lead to."""
    seen, places = set[tuple[int, int]](), [root]
    for place in places:  # grows by the links that are found
        for name, folders, files in os.walk(place):
            folder = Path(name)
            if (which := _identity(folder)) is None or which in seen:
                folders.clear()
                continue
            seen.add(which)
            folders[:] = sorted((name for name in folders if not name.startswith(".")), key=_natural)
            claimed = CLAIMED.fullmatch(folder.name) and _PARTS.issuperset(folders)
            if claimed or not _RECORDS.isdisjoint(files):
                folders.clear()
                yield folder
            places += [folder / below for below in folders if os.path.islink(folder / below)]
            if place is not root and len(folder.relative_to(place).parts) == _BELOW_A_LINK:
                folders.clear()


def runs_inside(run: Path) -> list[Path]:
    """Return the folders in that of a run that hold further runs, which `runs_below` does not look for there."""
    try:
        with os.scandir(run) as entries:
            there = [Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    folders = [folder for folder in there if folder.name != CHECKPOINTS]
    return sorted(folder for folder in folders if any(any(folder.glob(at + META)) for at in ("", "*/")))


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Order seed10 after seed9."""
    return [(not part.isdigit(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", name)]
