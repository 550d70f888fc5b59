"""Parts of messages: expectations in the words of a config instead of Python's types, and values on one short line."""

import json
import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bnexp.errors import visible

if TYPE_CHECKING:  # who only shows values does not wait for pydantic
    from pydantic_core import ErrorDetails

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
    "string_pattern_mismatch": "letters, digits and any of . _ - = , with a letter or digit first",
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


def expectation(detail: "ErrorDetails") -> str:
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


_NUMBER = r"[-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?"
_THOUSANDS = r"[-+]?[1-9][0-9]{0,2}(?P<mark>[.,' \u2019\u00a0\u2009\u202f])[0-9]{3}(?:(?P=mark)[0-9]{3})*"
_SWITCHES = {"true": "true", "yes": "true", "on": "true", "1": "true", "false": "false", "no": "false", "off": "false"}
"""What people write for a switch, and how it is written."""


def number_meant(found: object, keys: Sequence[object], kind: str = "float") -> str:
    """Return a hint for a value that is nearly a number, or nearly the key's; empty where it is neither.

    `kind` is what the key takes: bool, int or float.
    """
    if tuple(keys) == ("seed",) and isinstance(found, str | list):
        return "; several seeds belong to the command: bnexp train FILE --seed 1,2"
    if tuple(keys) == ("training", "epochs") and isinstance(found, float):
        return "; training.steps can end within an epoch"
    if kind == "bool" and (switch := _SWITCHES.get(str(found).lower())):
        return f"; a switch is written {switch}, without quotes"
    if not isinstance(found, str) or kind not in ("int", "float"):
        return ""
    text = "".join(str(unicodedata.decimal(letter, letter)) for letter in found.strip())
    text = text.replace("\u2212", "-").replace("\u066b", ".").replace("\uff0e", ".")
    if "${" in text:
        return "; nothing is filled in here, --set takes it from the shell"
    if text != found.strip() and re.fullmatch(_NUMBER, text):
        return f"; in the signs of a plain keyboard it is {text}"
    return _number_in(text, is_whole=kind == "int")


def _number_in(text: str, *, is_whole: bool) -> str:
    """Return how a text that is nearly a number is written, and why; empty where it is none."""
    if re.fullmatch(r"[-+]?0[0-9]+(\.[0-9]*)?", text):
        return f"; without the zero in front it is a number, {text[0].strip('0') + (text.lstrip('-+0') or '0')}"
    if re.fullmatch(_NUMBER, text):
        return f"; without the quotes it is a number, {text}"
    if re.fullmatch(r"[-+]?[0-9]+(_[0-9]+)+", text):
        return f"; without the _ it is a number, {text.replace('_', '')}"
    if match := re.fullmatch(rf"({_NUMBER})\s*%", text):
        return f"; {text} is written {float(match[1]) / 100:g}"
    if match := re.fullmatch(_THOUSANDS, text):
        one, thousands = text.replace(match["mark"], ".", 1), text.replace(match["mark"], "")
        if match["mark"] == "," and text.count(",") == 1 and not is_whole:
            return f"; it may be {float(one):g} or {thousands}: write one of these"
        return f"; without marks between thousands it is {thousands}"
    if match := re.fullmatch(rf"(?P<whole>{_THOUSANDS}),(?P<fraction>[0-9]+)", text):
        whole = match["whole"].replace(match["mark"], "")
        return f"; with a decimal point, and no marks between thousands, it is {whole}.{match['fraction']}"
    if not is_whole and re.fullmatch(r"[-+]?[0-9]+,[0-9]+", text):
        return f"; a decimal comma is written as a point, {text.replace(',', '.')}"
    if all(re.fullmatch(_NUMBER, part) for part in re.split(r"\s*[,;]\s*|\s+", text)):
        return "; one value at a time"
    if match := re.fullmatch(r"([0-9]+)\s*[kK]", text):
        return f"; written out it is {match[1]}000"
    if re.fullmatch(r"0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+", text):
        return f"; in decimal digits it is {int(text, 0)}"
    if match := re.fullmatch(r"([0-9]+\.?[0-9]*)\s*/\s*([0-9]*[1-9])", text):
        return f"; nothing is computed here, it is written {float(match[1]) / float(match[2]):g}"
    if re.fullmatch(r"[-0-9.\s]+(?:[*^+\u00d7]|\*\*)[-0-9.^*\s]+", text):
        return "; nothing is computed here: write the number itself"
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
