"""Reads files that anything may lie in place of: a pipe would be waited for without end, a device read without end."""

import errno
import os
import stat
from pathlib import Path


def require_regular(path: Path) -> None:
    """Refuse what is neither a file nor a link to one.

    Raises:
        OSError: it is something else, or is not there.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "a pipe, a socket or a device; expected a file")


def read_regular(path: Path, limit: int) -> bytes:
    """Return what a file holds.

    Raises:
        OSError: it is no file, is not there, cannot be read, or holds more than `limit` bytes.
    """
    require_regular(path)
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit:,} bytes; expected a record of a run")
    return content
