"""Numbers as people write them: with a decimal point or a decimal comma, and with marks between thousands.

What is no number for a program, but may be one for a person, is named by `why_no_number`: units, dates, missing values.
"""

import re
import unicodedata

from bnexp.config.wording import MISSING

_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE)
_SPACES = " '’\u00a0\u2009\u202f"
_GROUPED = {
    decimal: re.compile(rf"[+-]?[1-9]\d{{0,2}}([{_SPACES}{other}])\d{{3}}(?:\1\d{{3}})*(?:\{decimal}\d*)?", re.ASCII)
    for decimal, other in ((".", ","), (",", "."))
}
"""Thousands in groups of three, by the decimal mark: 1,234,567.8 and 1.234.567,8."""
_SAME = str.maketrans("\u2212\u2013\u2010\u2011\ufe63\uff0d\uff0b\uff0e\uff0c\u066b\u066c", "-----" + "-+.,.,")
"""Signs and marks of typesetting, of wide letters and of Arabic, as ASCII has them."""
_DIGITS = r"[+-]?[\d.,]*\d"
_CURRENCY = r"(?:[$\u00a2-\u00a5\u0e3f\u20a0-\u20bf]|(?:US|R|C|A)\$|USD|EUR|GBP|CHF|JPY|CNY|INR|Fr\.?|kr\.?|Rs\.?)"
_LETTERS = r"[^\W\d_]{1,3}[23\u00b2\u00b3]?"
_NEAR_NUMBERS = (
    (rf"{_DIGITS}\s*%", "a number has no unit: write it without %, in all lines alike"),
    (rf"[+-]?{_CURRENCY}\s*{_DIGITS}|{_DIGITS}\s*{_CURRENCY}", "a number has no unit: write it without the currency"),
    (rf"[+-]?\(\s*{_DIGITS}\s*\)", "a number in brackets: write -5 for (5)"),
    (rf"{_DIGITS}[dD][+-]?\d+", "an exponent of Fortran: write 1E3 for 1D3"),
    (r"\d+:\d+.*", "a time: write it as one number, such as seconds"),
    (r"\d+\s*/\s*\d+", "a fraction, or a date: write it as one number, such as 0.5"),
    (r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}.*", "a date: write it as one number, such as days, or leave the column out"),
    (rf"[<>~\u2248\u2264\u2265]\s*{_DIGITS}", "a bound or a guess: write the number alone"),
    (rf"{_DIGITS}\s*[\u00b0\u00b5\u03bc]?{_LETTERS}(?:/{_LETTERS})?", "a number has no unit: write it alone"),
    (r"\d+(?:_\d+)+", "write it without _"),
)
"""What a word that is no number looks like, the first that fits, and what to write in its place."""


def number_in(word: str, decimal: str = ".") -> float | None:
    """Return the number that a word spells, which may be infinite or NaN; None for anything else, such as 1_000.

    `decimal` is the mark before the fraction, a point or a comma; the other one may stand between thousands.
    """
    if not word.isascii():
        word = "".join(str(unicodedata.decimal(letter, letter)) for letter in word).translate(_SAME)
    if match := _GROUPED[decimal].fullmatch(word):
        word = word.replace(match[1], "")
    if decimal == ",":
        word = "" if "." in word else word.replace(",", ".")
    return float(word) if _NUMBER.fullmatch(word) else None


def why_no_number(word: str) -> str | None:
    """Return what a word is that stands where a number is expected, and what to write; None for a plain word."""
    if word.lower() in MISSING:
        return "a missing value: write a number, or delete the line"
    return next((what for form, what in _NEAR_NUMBERS if re.fullmatch(form, word)), None)
