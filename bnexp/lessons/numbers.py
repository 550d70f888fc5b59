"""Numbers as people write them: with a decimal point or a decimal comma, and with marks between thousands."""

import re

_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE)
_SPACES = " '’\u00a0\u2009\u202f"
_GROUPED = {
    decimal: re.compile(rf"[+-]?[1-9]\d{{0,2}}([{_SPACES}{other}])\d{{3}}(?:\1\d{{3}})*(?:\{decimal}\d*)?", re.ASCII)
    for decimal, other in ((".", ","), (",", "."))
}
"""Thousands in groups of three, by the decimal mark: 1,234,567.8 and 1.234.567,8."""


def number_in(word: str, decimal: str = ".") -> float | None:
    """Return the number that a word spells, which may be infinite or NaN; None for anything else, such as 1_000.

    `decimal` is the mark before the fraction, a point or a comma; the other one may stand between thousands.
    """
    word = word.replace("\u2212", "-")  # the minus of typesetting
    if match := _GROUPED[decimal].fullmatch(word):
        word = word.replace(match[1], "")
    if decimal == ",":
        word = "" if "." in word else word.replace(",", ".")
    return float(word) if _NUMBER.fullmatch(word) else None
