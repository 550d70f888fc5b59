"""A checkpoint: named tensors and plain values in one file, which tells whether it is whole.

The first line holds the format and the SHA-256 of what follows, which is what `torch.save` writes. Loading verifies the
one and never executes anything in the other.
"""

import hashlib
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from bnexp.errors import BnexpError
from bnexp.sources.bounded import read_file
from bnexp.store.atomic import write_atomically

_MAGIC = b"bnexp checkpoint 1 "
MAX_BYTES = 16 * 2**30
"""Larger than any network that is trained on images of this size, and no more than a machine may have."""


class DamagedCheckpoint(BnexpError):
    """A checkpoint is not whole, or not one of bnexp."""


def save_checkpoint(path: Path, values: dict[str, Any]) -> None:
    """Write tensors and plain values in one move: a reader, or a crash, sees the old file or the new, never a part.

    Raises:
        OSError: the file cannot be written; what was there before is still there.
    """
    buffer = io.BytesIO()
    torch.save(values, buffer)
    content = buffer.getbuffer()
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, [_MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n", content])


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return what was saved, tensors on the CPU.

    Raises:
        DamagedCheckpoint: there is no such file, or it is not whole.
    """
    try:
        first, _, content = read_file(path, MAX_BYTES).partition(b"\n")
    except OSError as error:
        raise DamagedCheckpoint(f"{path}: the checkpoint cannot be read: {error.strerror}") from None
    if not first.startswith(_MAGIC):
        raise DamagedCheckpoint(
            f"{path}: not a checkpoint of this version of bnexp; expected one that `bnexp train` wrote"
        )
    if first != _MAGIC + hashlib.sha256(content).hexdigest().encode():
        raise DamagedCheckpoint(
            f"{path}: the checkpoint is damaged: its content does not have the checksum that it begins with"
        )
    try:
        _refuse_packed(content)
        values = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return dict(values)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, ValueError, TypeError, EOFError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DamagedCheckpoint(f"{path}: no checkpoint of bnexp: {reason}") from None


def _refuse_packed(content: bytes) -> None:
    """Refuse entries that would unpack to more than the file holds; `torch.save` compresses nothing."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("it is compressed")
