"""Let standard output and standard error write every text: what their encoding lacks is spelled in ASCII."""

import codecs
import sys
from typing import Any

SPELLED = "bnexp.spelled"
"""The name of the error handler: `text.encode("cp1252", SPELLED)` never fails."""

_SPELLINGS = {
    **dict(zip("▁▂▃▄▅▆▇█", "_.-~=+*#", strict=True)),
    **dict(zip("▏▎▍▌▋▊▉", "::::###", strict=True)),
    **dict(zip("│┃─━┼┌┐└┘├┤┬┴╭╮╰╯╸╺", "||--+++++++++++++--", strict=True)),
    **dict(zip("●•·×÷–—−’‘“”", "**.x/---''\"\"", strict=True)),
    **{"±": "+-", "→": "->", "…": "...", "≥": ">=", "≤": "<=", "≈": "~"},
}
"""ASCII for the signs of charts, tables and sentences; those of charts and tables stay one letter wide."""


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Return the letters that an encoding lacks in ASCII, by `_SPELLINGS` or as escapes, and where they end."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    spelled = (_SPELLINGS.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in letters)
    return "".join(spelled), error.end


codecs.register_error(SPELLED, _spell)


def encodable(text: str, encoding: str | None) -> str:
    """Return text with what an encoding lacks spelled out."""
    return text if encoding is None else text.encode(encoding, SPELLED).decode(encoding)


def take_every_text() -> None:
    """Set the error handler of standard output and error to `SPELLED`, unless a person chose another."""
    for stream in (sys.stdout, sys.stderr):
        _take_every_text(stream)


def _take_every_text(stream: Any) -> None:
    if getattr(stream, "errors", None) in ("strict", "backslashreplace") and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors=SPELLED)
