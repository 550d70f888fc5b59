"""Opens files that somebody else may have written: only what is truly a file, and only up to a size."""

import errno
import os
import stat
import sys
from io import BufferedReader
from pathlib import Path


def open_file(path: Path, limit: int = sys.maxsize) -> BufferedReader:
    """Return an open file of at most `limit` bytes.

    Raises:
        OSError: it is missing, cannot be read or is larger, or it is a pipe or a device, at which a reader would wait,
            or read on, for ever.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):  # of a folder, open says what it is
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if stat.S_ISREG(status.st_mode) and status.st_size > limit:
        raise OSError(errno.EFBIG, f"{status.st_size:,} bytes, expected at most {limit:,}", str(path))
    return path.open("rb")


def read_file(path: Path, limit: int) -> bytes:
    """Return the content of a file of at most `limit` bytes; raises as `open_file`."""
    with open_file(path, limit) as file:
        return file.read(os.fstat(file.fileno()).st_size)  # reading by the limit would take memory for all of it
