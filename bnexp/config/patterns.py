"""Patterns of the block notation, by which an editor marks what is no norm, no activation or no block."""

import re
from collections.abc import Iterable, Sequence
from itertools import chain

from bnexp.config.aliases import ARROWS, NOTHING, kind_spellings, option_words, spellings
from bnexp.config.items import ITEMS, ItemName, names_of
from bnexp.config.keys import SectionSpot
from bnexp.config.plugin_code import GROUPS, offered

_BETWEEN = "[ _-]*"
_MODULE = r"(?:(?:torch|tf|keras|nn|layers|optim)\.)*"
_VALUE = r"\s*=\s*[^\s=,()]+"


def norm_pattern() -> str:
    """Return the pattern of `model.norm`: a norm and its options in every spelling that is read, or none."""
    names = [*names_of("norm"), *offered(GROUPS["norm"])]
    return _whole(_any([_any_spelling(NOTHING), *map(_item, names)]))


def activation_pattern() -> str:
    """Return the pattern of `model.activation`."""
    names = [*names_of("activation"), "linear", *offered(GROUPS["activation"])]
    return _whole(_any([_any_spelling(NOTHING), *map(_item, names)]))


def block_pattern() -> str:
    """Return the pattern of `model.block`: items with arrows between them."""
    items = _any(map(_item, dict.fromkeys([*ITEMS, "norm", "act", *offered()])))
    return rf"^(?:\s*{items}\s*(?:{ARROWS}(?!\s*$)|$))+$"


def kind_pattern(spots: Sequence[SectionSpot], known: Sequence[str]) -> str:
    """Return the pattern of the names of some kinds of those known, such as `adam`, in every spelling."""
    plain = [kind_spellings(spot.keys[-1], str(spot.discriminator), str(spot.variant), known) for spot in spots]
    return _whole(_any_spelling(chain(*plain)))


def _item(name: ItemName) -> str:
    """Return the pattern of an item: its names, and the options that it takes."""
    names = _any_spelling(spellings(name) or [name])
    if name not in ITEMS:  # what an installed package offers is not run for its options
        return names if name in ("norm", "act") else rf"{names}(?:\s*\([^()]*\))?"
    known = option_words(list(ITEMS[name].options.model_fields))
    option = rf"{_any(map(re.escape, known))}{_VALUE}" if known else ""
    options = rf"(?:{option}(?:\s*,\s*{option})*\s*)?" if known else ""
    return rf"{names}(?:\s*\(\s*{options}\))?"


def _any_spelling(plain_names: Iterable[str]) -> str:
    return _MODULE + _any(map(_spelled, plain_names))


def _spelled(plain: str) -> str:
    """Return the pattern of a plain name, also with capitals, and spaces, hyphens and underscores between letters."""
    norm = _letters("norm") + rf"(?:{_BETWEEN}{_letters('ali')}{_BETWEEN}[sSzZ]{_BETWEEN}{_letters('ation')})?"
    return _BETWEEN.join(norm if part == "norm" else _letters(part) for part in re.split("(norm)", plain) if part)


def _letters(text: str) -> str:
    return _BETWEEN.join(f"[{one}{one.upper()}]" if one.isalpha() else re.escape(one) for one in text)


def _any(patterns: Iterable[str]) -> str:
    return f"(?:{'|'.join(patterns)})"


def _whole(pattern: str) -> str:
    return rf"^\s*{pattern}\s*$"
