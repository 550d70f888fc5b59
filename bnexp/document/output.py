"""Standard output, whatever it is joined to: a terminal of an old locale, a pipe whose reader left, a full disk."""

import os
import sys

from bnexp.errors import BnexpError


def write_out(text: str) -> None:
    """Write text to standard output.

    Raises:
        BnexpError: standard output takes nothing, such as on a full disk.
    """
    if sys.stdout is None:  # it was closed before the process began
        return
    try:
        sys.stdout.write(encodable(text, sys.stdout.encoding))
        sys.stdout.flush()
    except OSError as error:
        # Python would complain once more when it closes standard output.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):  # the reader, such as head, has seen enough
            raise BnexpError(f"standard output cannot be written: {error.strerror}") from None


def encodable(text: str, encoding: str | None) -> str:
    """Replace what the stream cannot write: an old locale must not end a command with a traceback."""
    if encoding is None or encoding.lower().replace("-", "") == "utf8":
        return text
    return text.replace("±", "+-").encode(encoding, errors="replace").decode(encoding)
