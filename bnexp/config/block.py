"""The block notation: `linear -> bn(momentum=0.01) -> relu` becomes a tuple of items, exactly as written.

The grammar:

    block  = item { "->" item }           the arrow character and `=>` are arrows too; spaces are free
    item   = name [ "(" [ option { "," option } ] ")" ]
    option = name "=" value

`norm` and `act` stand for what `model.norm` and `model.activation` say; a norm of `none` takes the item out.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bnexp.config.aliases import ARROW, instead_of, item_name
from bnexp.config.items import ITEMS, ItemKind, ItemName, Options, names_of
from bnexp.config.plugin_code import GROUPS, Source, offered, run_content, run_offered
from bnexp.config.wording import blanked, brief, expectation
from bnexp.errors import ConfigError, did_you_mean

NO_NORM = "none"
_EXAMPLE = {"norm": "bn(eps=1e-3)", "act": "leaky_relu(slope=0.1)"}
SHOWN = 120
"""Letters of a line that a message shows."""
_MAX_PROBLEMS = 2
_OWN = " One of your own is registered by --plugin FILE.py."
_ITEM = re.compile(r"(?P<name>[^\s()=,]+)(?:\s*\((?P<options>[^()]*)\))?")
_OPTION = re.compile(r"(?P<key>\w+)\s*=\s*(?P<value>[^\s=,]+)")


@dataclass(frozen=True)
class Item:
    """One item of a block: its name and its checked options."""

    name: ItemName
    options: Options

    @property
    def kind(self) -> ItemKind:
        """The facts about this item that are known without building it."""
        kind = ITEMS[self.name]
        return kind.with_frozen_statistics if self.options.freezes_statistics else kind

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process register the item before it reads it."""
        source = ITEMS[self.name].source
        if source is None:
            return Item, (self.name, self.options)
        if source.module == "__main__":
            problem = "another process would run the whole program to know it; expected it in a file of its own"
            raise ConfigError(f"{source.where}: {self.name}: {problem}")
        return registered_item, (self.name, self.options.model_dump(), source)

    def __str__(self) -> str:
        """Return the item as a block writes it, with the options that are not the default."""
        given = [f"{key}={_shown(value)}" for key, value in self.options.model_dump(exclude_defaults=True).items()]
        return self.name + (f"({', '.join(given)})" if given else "")


def registered_item(name: ItemName, options: Mapping[str, object], source: Source) -> Item:
    """Return an item of another process, whose code is run here if it is not yet.

    Raises:
        ConfigError: this machine has another version of the installed package, or none.
    """
    if name not in ITEMS and source.distribution is None:
        run_content(source.path, source.content)
    here = ITEMS[name].source if is_item(name) else None
    if here is None or here.mark != source.mark:
        found = here.mark if here else "nothing of that name"
        raise ConfigError(f"{name}: expected {source.mark}, and this machine has {found}")
    return Item(name, ITEMS[name].options.model_validate(options))


def norm_parameters(item: Item, shape: tuple[int, ...]) -> int:
    """Count the numbers that a norm learns; what is frozen is not learned.

    Args:
        item: a norm and its options.
        shape: what it normalizes, without the batch: (F,) or (C, H, W).
    """
    kind, affine = item.kind, getattr(item.options, "affine", True)
    own = affine is not False and not item.options.freezes_affine
    values = math.prod(shape) if kind.learned_per_value and affine is True else shape[0]
    lone = kind.takes_lone_values and math.prod(shape[1:]) == 1  # frn learns its eps where there is one position
    return own * kind.learned_per_feature * values + kind.learned_per_layer + lone


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


class BlockError(ValueError):
    """A mistake in a block: what was expected and, where a piece of a line is wrong, the line with a mark below it."""

    def __init__(self, problem: str, line: str | None = None, start: int = 0, piece: str = "") -> None:
        place = "" if line is None else "".join(f"\n    {shown}" for shown in _marked(line, start, piece))
        super().__init__(brief(problem, 500) + place)


def _marked(line: str, start: int, piece: str) -> tuple[str, str]:
    """Return a line, cut around a piece of it if it is long, and the mark below the piece."""
    start, end = start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
    first = max(0, min(start - SHOWN // 4, len(line) - SHOWN))
    before, after = "... " if first else "", " ..." if len(line) > first + SHOWN else ""
    length = max(min(end, first + SHOWN) - start, 1)
    return f"{before}{blanked(line[first : first + SHOWN])}{after}", " " * (len(before) + start - first) + "^" * length


@lru_cache(maxsize=1000)
def parse_block(line: str, norm: str | None = None, activation: str | None = None) -> tuple[Item, ...]:
    """Read a block line, and fill `norm` and `act` with the items that are given, such as `bn(eps=1e-3)` and `relu`.

    Raises:
        BlockError: with the item, its place in the line, what was expected and the nearest known name.
    """
    fillings = {"norm": ("model.norm", norm), "act": ("model.activation", activation)}
    items = []
    for number, (start, piece) in enumerate(_split(line), start=1):
        try:
            text = _filled(piece.strip(), fillings)
            items += [] if text is None else [_read_item(text)]
        except ValueError as error:
            raise BlockError(f"item {number}: {error}", line, start, piece) from None
    return tuple(items)


def parse_item(text: str) -> Item:
    """Read one item, such as `bn(eps=1e-3)`."""
    try:
        return _read_item(text.strip())
    except ValueError as error:
        raise BlockError(str(error), text, piece=text) from None


def _split(line: str) -> Iterator[tuple[int, str]]:
    """Yield position and text of the pieces between the arrows."""
    start = 0
    for arrow in ARROW.finditer(line):
        yield start, line[start : arrow.start()]
        start = arrow.end()
    yield start, line[start:]


def _filled(text: str, fillings: Mapping[str, tuple[str, str | None]]) -> str | None:
    """Return the item that a placeholder stands for; None for a norm of `none`, and every other item as it is."""
    name = text.split("(")[0].strip()
    if name not in fillings:
        return text
    key, filling = fillings[name]
    if text != name:
        raise ValueError(f"the options of {name} belong to {key}, such as {key}: {_EXAMPLE[name]}")
    if filling is None:
        nothing = ", or none for no norm" if name == "norm" else ""
        raise ValueError(f"{name} stands for {key}, which is not set; set it, such as {key}: {_EXAMPLE[name]}{nothing}")
    return None if (name, filling) == ("norm", NO_NORM) else filling.strip()


def is_item(name: ItemName) -> bool:
    """Tell whether there is an item of a name; one that an installed package offers is registered here."""
    if name not in ITEMS and run_offered(name) and name not in ITEMS:
        raise ConfigError(f"{name}: {offered()[name][0].value} is to register it, and does not")
    return name in ITEMS


def _read_item(text: str) -> Item:
    if not text:
        raise ValueError("nothing here, at an end or between two arrows; expected an item, such as linear, bn or relu")
    match = _ITEM.fullmatch(text)
    if match is None:
        if text.count("(") != text.count(")"):
            raise ValueError("cannot read this: a parenthesis has no partner; expected them in pairs")
        raise ValueError(f"cannot read this; expected items joined by ->, such as {_joined(text)}")
    name = item_name(match["name"])
    if not is_item(name):
        known = list(dict.fromkeys(["norm", "act", *ITEMS, *offered()]))
        raise ValueError(f'unknown item "{brief(name)}".{instead_of(name, known) or _OWN} Known: {", ".join(known)}')
    options = dict(_split_options(match["options"] or "", name))
    try:
        return Item(name, ITEMS[name].options.model_validate(options))
    except ValidationError as error:
        problems = (_option_problem(name, detail) for detail in error.errors()[:_MAX_PROBLEMS])
        raise ValueError("; ".join(problems)) from None


def _joined(text: str) -> str:
    """Return the items in a text that joins them by something else with arrows between, or else an example."""
    names = [item_name(word) for word in re.split(r"[\s,;|+/&-]+", text)]
    known = len(names) > 1 and all(name in ITEMS or name in _EXAMPLE for name in names)
    return " -> ".join(names) if known else "bn(momentum=0.1) -> relu"


def _split_options(text: str, item: str) -> Iterator[tuple[str, str]]:
    seen = set()
    for part in text.split(",") if text.strip() else ():
        match = _OPTION.fullmatch(part.strip())
        if match is None:
            raise ValueError(
                f'cannot read the option "{brief(part.strip())}" of {item}; {_expected_option(item, part)}'
            )
        if match["key"] in seen:
            raise ValueError(f'option "{brief(match["key"])}" of {item} stands twice')
        seen.add(match["key"])
        yield match["key"], match["value"]


def _expected_option(item: ItemName, text: str) -> str:
    """Say how an option is written; the sizes that torch's layers begin with are none."""
    known = list(ITEMS[item].options.model_fields)
    if len(known) == 1:
        return f"expected name=value, such as {known[0]}={brief(text.strip()) or 0.5}"
    sizes = "; its sizes follow from what is before it" if ITEMS[item].role in ("layer", "norm") else ""
    return (f"expected name=value, of {', '.join(known)}" if known else "it takes none") + sizes


def _option_problem(item: ItemName, detail: ErrorDetails) -> str:
    option, known = str(detail["loc"][0]), list(ITEMS[item].options.model_fields)
    if option in known:
        return f"{item}({option}={brief(str(detail['input']))}): expected {option} to be {expectation(detail)}"
    if not known:
        return f'{item} takes no options, found "{brief(option)}"'
    return f'{item} has no option "{brief(option)}".{did_you_mean(option, known)} Known: {", ".join(known)}'


def names_in(line: str) -> set[str]:
    """Return the names in a block line, placeholders as `norm` and `act`."""
    return {text.split("(")[0].strip() for _, text in _split(line)}


def check_filling(key: str, text: str) -> None:
    """Check that `model.norm` names a norm (or none) and `model.activation` an activation.

    Raises:
        BlockError: when the item has another role, or cannot be read.
    """
    name = text.split("(")[0].strip()
    known = name == NO_NORM or is_item(name)
    allowed = (NO_NORM, *names_of("norm")) if key == "norm" else names_of("activation")
    if not known:
        allowed = (*allowed, *offered(GROUPS["norm" if key == "norm" else "activation"]))
    if not known or name not in allowed:
        problem = f'unknown {key} "{brief(name)}".{instead_of(name, allowed) or _OWN} Known: {", ".join(allowed)}'
        raise BlockError(problem)
    if (key, text.strip()) != ("norm", NO_NORM):
        parse_item(text)


def numbered_names(items: Iterable[Item]) -> list[str]:
    """Name the items of one block as a person would: `linear`, or `linear1` and `linear2` where a name repeats."""
    names = [item.name for item in items]
    totals = Counter(names)
    numbers: dict[str, Iterator[int]] = defaultdict(lambda: count(1))
    return [f"{name}{next(numbers[name])}" if totals[name] > 1 else name for name in names]
