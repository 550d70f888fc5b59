"""Claim the folder of a new run: it appears in one move, with its config, in a place that no other run has."""

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bnexp.errors import BnexpError
from bnexp.files import with_advice
from bnexp.runs.lock import LOCK, run_lock
from bnexp.runs.own_lock import OWN_LOCK
from bnexp.runs.seal import write_config

_NEW, _ABANDONED_S = ".new", 600
"""How the name of a folder ends that is about to be claimed, and after how long its process must be gone."""


class Taken(BnexpError):
    """Another run has the folder."""


def claim_run_folder(runs_dir: Path, name: str, seed: int, config: str) -> Path:
    """Make and return a folder that no other run or process has: `seed0`, or `seed0-2`, ... where it is taken.

    Whoever is killed before the move leaves nothing that looks like a run. A folder of that name which is empty or
    holds nothing but a free lock, as earlier versions left them, is used.

    Raises:
        BnexpError: the place cannot be written, or takes no lock.
    """
    parent = runs_dir / name
    return _claim(parent, (run_folder(parent, seed, number) for number in range(1, 100_000)), config)


def claim_exactly(folder: Path, config: str) -> Path:
    """Make and return a certain folder, as `claim_run_folder`.

    Raises:
        Taken: another run has it.
        BnexpError: the place cannot be written, or takes no lock.
    """
    return _claim(folder.parent, [folder], config)


def run_folder(parent: Path, seed: int, number: int) -> Path:
    """Return the folder of the first, second, ... run of a seed."""
    return parent / (f"seed{seed}" if number == 1 else f"seed{seed}-{number}")


def _claim(parent: Path, folders: Iterable[Path], config: str) -> Path:
    """Make and return the first of some folders below `parent` that is free."""
    new = parent / f".{secrets.token_hex(8)}{_NEW}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(parent)
        new.mkdir()
        with run_lock(new):  # a place that takes none is found before there is a run
            write_config(new, config)
        for folder in folders:
            if _moved(new, folder):
                return folder
    except OSError as error:
        raise BnexpError(
            f"{parent}: cannot make the run's folder: {with_advice(error)}; --runs-dir names another place"
        ) from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
    raise Taken(f"{folder}: another run has this folder")


def _moved(new: Path, folder: Path) -> bool:
    """Move a folder to a place where nothing is, or an empty folder; tell whether that was so.

    Two processes never get the same place: after the first, it is not empty any more.
    """
    if os.path.lexists(folder):
        with suppress(OSError, BnexpError):
            names = {path.name for path in folder.iterdir()}
            if names and names <= {LOCK, OWN_LOCK}:
                with run_lock(folder):
                    (folder / LOCK).unlink()
    try:
        new.rename(folder)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR):
            return False
        raise
    return True


def _clear_abandoned(parent: Path) -> None:
    """Delete what killed processes were about to move."""
    for folder in parent.glob(f".*{_NEW}"):
        with suppress(OSError):
            if time.time() - folder.lstat().st_mtime > _ABANDONED_S:
                shutil.rmtree(folder)
