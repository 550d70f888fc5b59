"""Write and read checkpoints: named tensors and plain values in one file that shows whether it is whole.

A file is one of `torch.save`, which `torch.load(path, weights_only=True)` opens without bnexp. The comment of its zip
archive, its last bytes, holds the format and the SHA-256 of all before; in files of earlier versions that was a line at
the beginning. Loading verifies the checksum and never executes anything.
"""

import errno
import hashlib
import io
import os
import shlex
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from bnexp.config.wording import brief
from bnexp.errors import BnexpError
from bnexp.files import open_file, refuse_link, write_atomically
from bnexp.runs.folder import CHECKPOINTS, newest_checkpoints, unreadable_checkpoints

BEST = "best.pt"
_BLOCK_BYTES = 1 << 20
KEPT = 2
"""How many of the newest whole checkpoints stay in a run's folder."""
_FIRST, _LAST = b"bnexp checkpoint 1 ", b"bnexp checkpoint 2 "
"""What comes before the checksum: in the first line, as earlier versions wrote it, and in the last."""
_SEAL_BYTES = len(_LAST) + 65
_ZIP = b"PK\x03\x04"
MAX_BYTES = 16 * 2**30
"""More than any network for images of this size takes, and no more than the memory of a machine."""


class DamagedCheckpoint(BnexpError):
    """A file is no whole checkpoint of this version of bnexp."""


class Unshared(DamagedCheckpoint):
    """A whole checkpoint that the run does not come through any more: it is passed over without a word."""


def save_checkpoint(path: Path, values: dict[str, Any]) -> None:
    """Write tensors and plain values in one move: a crash, or an OSError, leaves the old file or the new, whole."""
    import torch  # listing runs does not wait for it

    buffer = io.BytesIO()
    torch.save(_with_own_storages(values), buffer)
    content = buffer.getbuffer()
    content[-2:] = _SEAL_BYTES.to_bytes(2, "little")  # the end of a zip archive: how long the comment is that follows
    refuse_link(path.parent)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, [content, _LAST + hashlib.sha256(content).hexdigest().encode() + b"\n"])


def _with_own_storages(values: Any) -> Any:
    """Copy tensors that are a part of a larger one, as those of stacked runs are: all of that would be saved."""
    if isinstance(values, dict):
        return {key: _with_own_storages(value) for key, value in values.items()}
    is_part = hasattr(values, "untyped_storage") and values.untyped_storage().nbytes() > values.nbytes
    return values.clone() if is_part else values


def load_checkpoint(path: Path, *, needs: Sequence[str] = ()) -> dict[str, Any]:
    """Return the saved values, tensors on the CPU; a file of many gigabytes takes memory only where it is whole.

    Raises:
        DamagedCheckpoint: the file is not whole, or holds something else than values by name, among them `needs`.
        BnexpError: it is missing or may not be read.
    """
    try:
        refuse_link(path.parent)
        with open_file(path, MAX_BYTES, links=False) as file:
            _refuse_other_content(path, file)
            values = _unpacked(path, file)
    except OSError as error:
        raise _unreadable(path, error) from None
    if missing := [name for name in needs if name not in values]:
        raise DamagedCheckpoint(f"{path}: no checkpoint of bnexp: it has no {missing[0]}")
    return values


def is_whole(path: Path) -> bool:
    """Tell whether a checkpoint has the checksum that it begins with."""
    with suppress(OSError, DamagedCheckpoint), open_file(path, MAX_BYTES, links=False) as file:
        _refuse_other_content(path, file)
        return True
    return False


def _unreadable(path: Path, error: OSError) -> BnexpError:
    """Return what to say of a file that cannot be read; one that may not be read may well be whole."""
    message = f"{path}: the checkpoint cannot be read: {error.strerror or error}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return BnexpError(f"{message}; make it readable: chmod u+r {shlex.quote(str(path))}")
    return DamagedCheckpoint(message)


def _refuse_other_content(path: Path, file: BinaryIO) -> None:
    """Raise a DamagedCheckpoint where a file does not have the checksum that it names; leave it at its zip."""
    seal, begin, end = file.readline(_SEAL_BYTES), _SEAL_BYTES, os.fstat(file.fileno()).st_size
    if not seal.startswith(_FIRST):
        is_zip, begin, end = seal.startswith(_ZIP), 0, max(end - _SEAL_BYTES, 0)
        file.seek(end)
        seal = file.read(_SEAL_BYTES)
        if not seal.startswith(_LAST):
            wrong = "not a checkpoint of this version of bnexp; expected one that `bnexp train` wrote"
            if is_zip:
                wrong = "the checkpoint is damaged: its checksum is not at its end; or it is not of `bnexp train`"
            raise DamagedCheckpoint(f"{path}: {wrong}")
    if seal[len(_LAST) :] != _checksum(file, begin, end) + b"\n":
        wrong = "the checkpoint is damaged: its content does not have the checksum that it comes with"
        raise DamagedCheckpoint(f"{path}: {wrong}")
    file.seek(begin)


def _checksum(file: BinaryIO, begin: int, end: int) -> bytes:
    """Return the SHA-256 of a part of a file, in hexadecimal digits."""
    file.seek(begin)
    digest, left = hashlib.sha256(), end - begin
    while left > 0 and (block := file.read(min(_BLOCK_BYTES, left))):
        digest.update(block)
        left -= len(block)
    return digest.hexdigest().encode()


def _unpacked(path: Path, file: BinaryIO) -> dict[str, Any]:
    """Return the values in the rest of a file; what the reader of a foreign one stumbles over is no bug of bnexp."""
    import torch

    content = _Rest(file)
    try:
        with zipfile.ZipFile(content) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise ValueError("it is compressed")  # it may unpack to far more; `torch.save` compresses nothing
            if sum(entry.file_size for entry in entries) > content.size:
                raise ValueError("its parts are larger than the file")
        content.seek(0)
        return dict(torch.load(cast(IO[bytes], content), map_location="cpu", weights_only=True))
    except Exception as error:  # MemoryError, IndexError, AssertionError, ...: whatever the content makes of it
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DamagedCheckpoint(f"{path}: no checkpoint of bnexp: {brief(reason, 200)}") from None


class _Rest(io.RawIOBase):
    """The rest of an open file, as a file of its own that begins where that stands."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._begin = file, file.tell()
        self.size = os.fstat(file.fileno()).st_size - self._begin

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read from any place."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go on at another place."""
        return self._file.seek(offset + (self._begin if whence == os.SEEK_SET else 0), whence) - self._begin

    def readinto(self, buffer: Any) -> int:
        """Read what fits in."""
        return self._file.readinto(buffer)  # type: ignore[attr-defined, no-any-return]


@dataclass(frozen=True)
class Loaded:
    """A whole checkpoint: its values, tensors on the CPU, and what is wrong with newer ones, a sentence each."""

    path: Path
    values: dict[str, Any]
    damaged: tuple[str, ...]


def load_newest(
    folder: Path, use: Callable[[Path, dict[str, Any]], object] = lambda path, values: None
) -> Loaded | None:
    """Return the newest whole checkpoint in a run's folder, or None where there is no checkpoint at all.

    `use` may do something with its values; where that raises a DamagedCheckpoint, the one before has its turn.

    Raises:
        BnexpError: all checkpoints are damaged, or one of them may not be read.
    """
    damaged = list[str]()
    try:
        paths = newest_checkpoints(folder)
    except OSError as error:
        raise BnexpError(unreadable_checkpoints(folder, error)) from None
    for path in paths:
        try:
            values = load_checkpoint(path)
            use(path, values)
            return Loaded(path, values, tuple(damaged))
        except Unshared:
            continue
        except DamagedCheckpoint as error:
            damaged.append(str(error))
    if damaged:
        raise DamagedCheckpoint("no checkpoint can be used:\n  " + "\n  ".join(damaged))
    return None


class CheckpointFolder:
    """Writes the checkpoints of a run and keeps the last two whole ones, at first `resumed_from` and the one before."""

    def __init__(self, folder: Path, resumed_from: Path | None = None) -> None:
        self._folder = folder / CHECKPOINTS
        self._whole = list[Path]()
        if resumed_from is not None:
            paths = newest_checkpoints(folder)
            older = paths[paths.index(resumed_from) + 1 :]
            self._whole = [*[path for path in older if is_whole(path)][:1], resumed_from]

    def save(self, step: int, values: dict[str, Any]) -> None:
        """Write the checkpoint after `step` steps, then delete all but the last two; an OSError leaves them."""
        path = self._folder / f"step{step}.pt"
        save_checkpoint(path, values)
        self._whole = [*(other for other in self._whole if other != path), path][-KEPT:]
        for other in newest_checkpoints(self._folder.parent):
            if other not in self._whole:
                other.unlink(missing_ok=True)

    def save_best(self, step: int, weights: dict[str, Any], config: str) -> None:
        """Write the weights after `step` steps, which scored best on the validation part; an OSError keeps the old."""
        save_checkpoint(self._folder / BEST, {"step": step, "weights": weights, "config": config})
