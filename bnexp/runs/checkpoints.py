"""Write and read checkpoints: named tensors and plain values in one file that shows whether it is whole.

The first line holds the format and the SHA-256 of the rest, which is a file of `torch.save`. Loading verifies the
checksum and never executes anything in the rest.
"""

import hashlib
import io
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnexp.errors import BnexpError
from bnexp.files import read_file, write_atomically
from bnexp.runs.folder import CHECKPOINTS, newest_checkpoints

BEST = "best.pt"
KEPT = 2
"""How many of the newest whole checkpoints stay in a run's folder."""
_MAGIC = b"bnexp checkpoint 1 "
MAX_BYTES = 16 * 2**30
"""More than any network for images of this size takes, and no more than the memory of a machine."""


class DamagedCheckpoint(BnexpError):
    """A file is no whole checkpoint of this version of bnexp."""


def save_checkpoint(path: Path, values: dict[str, Any]) -> None:
    """Write tensors and plain values in one move: a crash, or an OSError, leaves the old file or the new, whole."""
    import torch  # listing runs does not wait for it

    buffer = io.BytesIO()
    torch.save(values, buffer)
    content = buffer.getbuffer()
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, [_MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n", content])


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return the saved values, tensors on the CPU.

    Raises:
        DamagedCheckpoint: the file is missing, or not whole.
    """
    import torch

    try:
        first, _, content = read_file(path, MAX_BYTES).partition(b"\n")
    except OSError as error:
        raise DamagedCheckpoint(f"{path}: the checkpoint cannot be read: {error.strerror}") from None
    if not first.startswith(_MAGIC):
        wrong = "not a checkpoint of this version of bnexp; expected one that `bnexp train` wrote"
        raise DamagedCheckpoint(f"{path}: {wrong}")
    if first != _MAGIC + hashlib.sha256(content).hexdigest().encode():
        wrong = "the checkpoint is damaged: its content does not have the checksum that it begins with"
        raise DamagedCheckpoint(f"{path}: {wrong}")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("it is compressed")  # it may unpack to far more; `torch.save` compresses nothing
        return dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, ValueError, TypeError, EOFError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DamagedCheckpoint(f"{path}: no checkpoint of bnexp: {reason}") from None


@dataclass(frozen=True)
class Loaded:
    """A whole checkpoint: its values, tensors on the CPU, and what is wrong with newer ones, a sentence each."""

    path: Path
    values: dict[str, Any]
    damaged: tuple[str, ...]


def load_newest(folder: Path) -> Loaded | None:
    """Return the newest whole checkpoint in a run's folder, or None where there is no checkpoint at all.

    Raises:
        BnexpError: all checkpoints are damaged.
    """
    damaged = list[str]()
    for path in newest_checkpoints(folder):
        try:
            return Loaded(path, load_checkpoint(path), tuple(damaged))
        except DamagedCheckpoint as error:
            damaged.append(str(error))
    if damaged:
        raise BnexpError("no checkpoint is whole:\n  " + "\n  ".join(damaged))
    return None


class CheckpointFolder:
    """Writes the checkpoints of a run, and keeps the last two that are known to be whole, `resumed_from` at first."""

    def __init__(self, folder: Path, resumed_from: Path | None = None) -> None:
        self._folder = folder / CHECKPOINTS
        self._whole = [resumed_from] if resumed_from else []

    def save(self, step: int, values: dict[str, Any]) -> None:
        """Write the checkpoint after `step` steps, then delete all but the last two; an OSError leaves them."""
        path = self._folder / f"step{step}.pt"
        save_checkpoint(path, values)
        self._whole = [*(other for other in self._whole if other != path), path][-KEPT:]
        for other in newest_checkpoints(self._folder.parent):
            if other not in self._whole:
                other.unlink(missing_ok=True)

    def save_best(self, step: int, weights: dict[str, Any]) -> None:
        """Write the weights after `step` steps, which scored best on the validation part; an OSError keeps the old."""
        save_checkpoint(self._folder / BEST, {"step": step, "weights": weights})
