"""The block notation: `linear -> bn(momentum=0.01) -> relu` becomes a tuple of items, exactly as written.

The grammar:

    block  = item { "->" item }           the arrow character is an arrow too; spaces are free
    item   = name [ "(" [ option { "," option } ] ")" ]
    option = name "=" value

`norm` and `act` stand for what `model.norm` and `model.activation` say; a norm of `none` takes the item out.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bnexp.config.items import ITEMS, ItemKind, ItemName, Options, names_of
from bnexp.config.wording import blanked, brief, expectation
from bnexp.errors import did_you_mean

NO_NORM = "none"
_EXAMPLE = {"norm": "bn(eps=1e-3)", "act": "leaky_relu(slope=0.1)"}
SHOWN = 120
"""Letters of a line that a message shows."""
_MAX_PROBLEMS = 2
_ARROW = re.compile(r"->|\u2192")
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
        return ITEMS[self.name]

    def __str__(self) -> str:
        """Return the item as a block writes it, with the options that are not the default."""
        given = [f"{key}={_shown(value)}" for key, value in self.options.model_dump(exclude_defaults=True).items()]
        return self.name + (f"({', '.join(given)})" if given else "")


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


class BlockError(ValueError):
    """A mistake in a block line: what was expected, and the line with a mark under the place.

    Where the whole of a value is wrong there is no place to mark, and `line` is None.
    """

    def __init__(self, line: str | None, start: int, end: int, problem: str) -> None:
        place = "" if line is None else "".join(f"\n    {shown}" for shown in _marked(line, start, end))
        super().__init__(brief(problem, 500) + place)


def _marked(line: str, start: int, end: int) -> tuple[str, str]:
    """Return a line, cut around the place if it is long, and the mark below it."""
    first = max(0, min(start - SHOWN // 4, len(line) - SHOWN))
    before, after = "... " if first else "", " ..." if len(line) > first + SHOWN else ""
    length = max(min(end, first + SHOWN) - start, 1)
    piece = blanked(line[first : first + SHOWN])
    return f"{before}{piece}{after}", " " * (len(before) + start - first) + "^" * length


def parse_block(line: str, norm: str | None = None, activation: str | None = None) -> tuple[Item, ...]:
    """Read a block line and fill its placeholders.

    Args:
        line: the block, such as `linear -> norm -> act`.
        norm: what `norm` stands for: an item such as `bn(eps=1e-3)`, or `none`.
        activation: what `act` stands for: an item such as `relu`.

    Raises:
        BlockError: with the item, its place in the line, what was expected and the nearest known name.
    """
    items: list[Item] = []
    fillings = {"norm": ("model.norm", norm), "act": ("model.activation", activation)}
    for number, (start, text) in enumerate(_split(line), start=1):
        where, name = f"item {number}: ", text.split("(")[0].strip()
        if name not in fillings:
            items.append(_parse_item(line, start, text, where))
            continue
        key, filling = fillings[name]
        if text.strip() != name:
            problem = f"{where}the options of {name} belong to {key}, such as {key}: {_EXAMPLE[name]}"
            raise BlockError(line, *_span(start, text), problem)
        if filling is None:
            problem = f"{where}{name} stands for {key}, which is not set; set it, such as {key}: {_EXAMPLE[name]}"
            raise BlockError(line, *_span(start, text), problem)
        if (name, filling) != ("norm", NO_NORM):
            items.append(parse_item(filling))
    return tuple(items)


def parse_item(text: str) -> Item:
    """Read one item, such as the `bn(eps=1e-3)` of `model.norm`."""
    return _parse_item(text, 0, text, "")


def _split(line: str) -> Iterator[tuple[int, str]]:
    """Yield (position, text) of the pieces between the arrows."""
    start = 0
    for arrow in _ARROW.finditer(line):
        yield start, line[start : arrow.start()]
        start = arrow.end()
    yield start, line[start:]


def _span(start: int, text: str) -> tuple[int, int]:
    """Return first and last column of `text` without the spaces around it."""
    first = start + len(text) - len(text.lstrip())
    return first, first + len(text.strip())


def _parse_item(line: str, start: int, text: str, where: str) -> Item:
    span = _span(start, text)
    if not text.strip():
        raise BlockError(line, *span, f"{where}nothing here; expected an item, such as linear, bn or relu")
    match = _ITEM.fullmatch(text.strip())
    if match is None:
        problem = f"{where}cannot read this; expected items joined by ->, such as bn(momentum=0.1) -> relu"
        raise BlockError(line, *span, problem)
    name = match["name"]
    if name not in ITEMS:
        known = ["norm", "act", *ITEMS]
        problem = f'{where}unknown item "{brief(name)}".{did_you_mean(name, known)} Known: {", ".join(known)}'
        raise BlockError(line, *span, problem)
    try:
        values = dict(_split_options(match["options"] or "", name))
        return Item(name, ITEMS[name].options.model_validate(values))
    except ValidationError as error:
        problem = "; ".join(_option_problem(name, detail) for detail in error.errors()[:_MAX_PROBLEMS])
        raise BlockError(line, *span, where + problem) from None
    except ValueError as error:
        raise BlockError(line, *span, f"{where}{error}") from None


def _split_options(text: str, item: str) -> Iterator[tuple[str, str]]:
    seen = set()
    for part in text.split(",") if text.strip() else ():
        match = _OPTION.fullmatch(part.strip())
        if match is None:
            raise ValueError(f'cannot read the option "{brief(part.strip())}" of {item}; expected name=value')
        if match["key"] in seen:
            raise ValueError(f'option "{brief(match["key"])}" of {item} stands twice')
        seen.add(match["key"])
        yield match["key"], match["value"]


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
    allowed = (NO_NORM, *names_of("norm")) if key == "norm" else names_of("activation")
    name = text.split("(")[0].strip()
    if name not in allowed:
        problem = f'unknown {key} "{brief(name)}".{did_you_mean(name, allowed)} Known: {", ".join(allowed)}'
        raise BlockError(None, 0, 0, problem)
    if (key, text.strip()) != ("norm", NO_NORM):
        parse_item(text)


def numbered_names(items: Iterable[Item]) -> list[str]:
    """Name the items of one block as a person would: `linear`, or `linear1` and `linear2` where a name repeats."""
    names = [item.name for item in items]
    totals = Counter(names)
    seen: dict[str, int] = dict.fromkeys(names, 0)
    numbered = []
    for name in names:
        seen[name] += 1
        numbered.append(f"{name}{seen[name]}" if totals[name] > 1 else name)
    return numbered
