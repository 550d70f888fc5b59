"""A checkpoint: named tensors and plain values in one file, which tells whether it is whole.

The first line holds the format and the SHA-256 of what follows, which is what `torch.save` writes. Loading verifies the
one and never executes anything in the other.
"""

import hashlib
import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from bnexp.errors import BnexpError

CHECKPOINTS = "checkpoints"
"""The folder of a run's checkpoints."""
_MAGIC = b"bnexp checkpoint 1 "


def save_checkpoint(path: Path, values: dict[str, Any]) -> None:
    """Write tensors and plain values in one move: a reader, or a crash, sees the old file or the new, never a part.

    Raises:
        OSError: the file cannot be written; what was there before is still there.
    """
    content = io.BytesIO()
    torch.save(values, content)
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(_MAGIC + hashlib.sha256(content.getbuffer()).hexdigest().encode() + b"\n")
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return what was saved, tensors on the CPU.

    Raises:
        BnexpError: there is no such file, or it is not whole.
    """
    try:
        first, _, content = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise BnexpError(f"{path}: the checkpoint cannot be read: {error.strerror}") from None
    if not first.startswith(_MAGIC):
        raise BnexpError(f"{path}: not a checkpoint of this version of bnexp; expected one that `bnexp train` wrote")
    if first != _MAGIC + hashlib.sha256(content).hexdigest().encode():
        raise BnexpError(
            f"{path}: the checkpoint is damaged: its content does not have the checksum that it begins with"
        )
    try:
        values = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise BnexpError(f"{path}: no checkpoint of bnexp: {str(error).splitlines()[0]}") from None
    return dict(values)
