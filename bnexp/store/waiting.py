"""What lies in the place of a file may be a pipe or a device, which keeps whoever opens it waiting for ever."""

import errno
import stat
from pathlib import Path


def refuse_to_wait(path: Path) -> None:
    """Refuse to open a pipe or a device; what is missing or a folder is left to the one who opens it.

    Raises:
        OSError: the path leads to a pipe or a device.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "not a file", str(path))


def read_file(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        OSError: it cannot be read, or is a pipe or a device.
    """
    refuse_to_wait(path)
    return path.read_bytes()
