"""Parts of messages: expectations in the words of a config instead of Python's types, and values on one short line."""

import json
import re
from collections.abc import Sequence

from pydantic_core import ErrorDetails

from bnexp.errors import visible

_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "at least {ge}",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than": "a number below {lt}",
    "less_than_equal": "at most {le}",
    "model_attributes_type": "keys and values",
    "model_type": "keys and values",
    "string_pattern_mismatch": "letters, digits, dot, underscore and hyphen, the first a letter or digit",
    "string_too_long": "at most {max_length} letters",
    "string_type": "text",
    "string_unicode": "text",
    "too_long": "a list of at most {max_length}",
    "too_short": "a list of at least {min_length}",
    "tuple_type": "a list",
    "value_error": "{error}",
}
MISSING = {
    *(
        "",
        "na",
        "n/a",
        "n.a.",
        "#n/a",
        "#na",
        "<na>",
        "nan",
        "null",
        "(null)",
        "nil",
        "none",
        "missing",
        "unknown",
        "nd",
    ),
    *("nd", "n.d.", "-", "--", "\u2013", "\u2014", "?", "*", ".", "..", "...", "#value!", "#div/0!", "#ref!", "#num!"),
}
"""What stands where a value is missing, in small letters."""


def expectation(detail: ErrorDetails) -> str:
    """Return what was expected, such as `a number above 0`."""
    limits = {key: _plain(limit) for key, limit in detail.get("ctx", {}).items()}
    template = _EXPECTED.get(detail["type"])
    return template.format(**limits) if template else detail["msg"].removeprefix("Input should be ")


def shown(value: object) -> str:
    """Return a value as it would stand in a config, on one line and not too long."""
    text = "keys and values" if isinstance(value, dict) else json.dumps(value, ensure_ascii=False, default=str)
    return brief(text)


def brief(text: str, length: int = 60) -> str:
    """Return text on one line and not too long, whatever letters it is made of."""
    line = visible(text[: length + 1])
    return line if len(text) <= length and len(line) <= length else line[: length - 3] + "..."


def blanked(text: str) -> str:
    """Return text on one line, as many letters long: a mark below it stays under its place."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


_NUMBER = r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"


def number_meant(found: object, keys: Sequence[object]) -> str:
    """Return a hint for a value that is nearly a number, or nearly the key's; empty where it is neither."""
    if tuple(keys) == ("seed",) and isinstance(found, str | list):
        return "; several seeds belong to the command: bnexp train FILE --seed 1,2"
    if tuple(keys) == ("training", "epochs") and isinstance(found, float):
        return "; training.steps can end within an epoch"
    if not isinstance(found, str):
        return ""
    text = found.strip()
    if "${" in text:
        return "; nothing is filled in here, --set takes it from the shell"
    if re.fullmatch(_NUMBER, text):
        return f"; without the quotes it is a number, {text}"
    if match := re.fullmatch(rf"({_NUMBER})\s*%", text):
        return f"; {text} is written {float(match[1]) / 100:g}"
    if re.fullmatch(r"[-+]?\d+,\d+", text):
        return f"; a decimal comma is written as a point, {text.replace(',', '.')}"
    if match := re.match(rf"({_NUMBER})\s*[A-Za-z]", text):
        return f"; a number has no unit here, {match[1]}"
    return ""


def _plain(limit: object) -> object:
    return int(limit) if isinstance(limit, float) and limit.is_integer() and abs(limit) < 1e15 else limit


def one_of(choices: Sequence[object], most: int | None = None) -> str:
    """Return choices as `a, b or c`; of more than `most`, the first ones and the last."""
    words = [str(choice) for choice in choices]
    if most is not None and len(words) > most:
        words = [*words[: most - 1], "...", words[-1]]
    return ", ".join(words[:-1]) + " or " + words[-1] if len(words) > 1 else "".join(words)
