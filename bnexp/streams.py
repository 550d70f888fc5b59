"""Standard output and standard error that take every text: what their encoding lacks is spelled, never an error."""

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
"""What drawings, and sentences quoted from elsewhere, are made of; figures of one letter stay as wide as they are."""


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Return the letters that cannot be written as ASCII, those of a name as their escapes."""
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
    """Let standard output and standard error take every text; an error handler that a person chose stays."""
    for stream in (sys.stdout, sys.stderr):
        _take_every_text(stream)


def _take_every_text(stream: Any) -> None:
    if getattr(stream, "errors", None) in ("strict", "backslashreplace") and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors=SPELLED)
