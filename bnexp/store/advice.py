"""What a person can do about an error of the system."""

import errno

_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EACCES: "make the folder writable",
    errno.EPERM: "make the folder writable",
    errno.EROFS: "make the folder writable",
    errno.EISDIR: "take away the folder in its place",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
}


def with_advice(error: OSError) -> str:
    """Return what the system says of an error, and what helps, where something does."""
    advice = _ADVICE.get(error.errno or 0)
    return (error.strerror or str(error)) + (f"; {advice}" if advice else "")
