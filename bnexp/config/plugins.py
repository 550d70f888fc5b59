"""Register norms and activations of others, refuse what cannot be one, and know which of them a network has."""

import re
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from bnexp.config import aliases
from bnexp.config.block import BlockError, parse_block, parse_item
from bnexp.config.items import ITEMS, GroupedOptions, ItemKind, ItemName, Options, Over
from bnexp.config.plugin_code import Source, run_file
from bnexp.config.wording import brief, one_of
from bnexp.errors import ConfigError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")
_LONG = 200
_SWITCHES = ("subtracts_mean", "scale_invariant", "nonlinear", "learned_per_value")


def register(name: ItemName, kind: ItemKind, source: Source) -> None:
    """Make a name of the block notation out of a norm or an activation of others.

    The same module may register its name again, as in a notebook; nobody else may.

    Raises:
        ConfigError: the name, the options or the facts cannot be, with file and line of the registration.
    """
    problem = _wrong_name(name, source) or _wrong_facts(kind) or _wrong_options(kind)
    if problem:
        raise ConfigError(f"{source.where}: {brief(str(name))}: {problem}")
    before = ITEMS.get(name)
    ITEMS[name] = kind
    aliases.know(name)
    parse_block.cache_clear()  # it may hold the options of an earlier registration
    try:
        _refuse_unwritable(name)
    except BlockError as error:
        del ITEMS[name]
        if before is not None:
            ITEMS[name] = before
        raise ConfigError(f"{source.where}: {name}: its defaults cannot be written in a block: {error}") from None


def load(path: Path) -> None:
    """Run a file that registers norms or activations, as `--plugin` asks.

    Raises:
        ConfigError: it cannot be read, is wrong, or registers nothing; with its line.
    """
    run_file(path)
    if not any(kind.source and kind.source.path == str(path.absolute()) for kind in ITEMS.values()):
        raise ConfigError(f"--plugin {path}: it registers nothing; expected a call of bnexp.plugins.register_norm")


def _wrong_name(name: object, source: Source) -> str | None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "expected a name of small letters, digits and _, such as mad"
    own = ITEMS[name].source if name in ITEMS else None
    if own is not None:
        if own.module == source.module:
            return None
        return f"it is registered by {own.where} already; expected another name"
    taken = aliases.is_taken(name)
    return f"this name is read as {taken}, which bnexp has; expected another name" if taken else None


def _wrong_facts(kind: ItemKind) -> str | None:
    if not isinstance(kind.summary, str) or not kind.summary.strip() or brief(kind.summary, _LONG) != kind.summary:
        return f"summary: expected one line of at most {_LONG} letters, as in `bnexp catalog`"
    if not callable(kind.build):
        return "module: expected a class, or a function, that makes the module of (shape, options)"
    if kind.over not in get_args(Over):
        return f"over: expected {one_of(get_args(Over))}, found {brief(repr(kind.over))}"
    if kind.divides_by not in ("standard deviation", "root mean square"):
        return f"divides_by: expected standard deviation or root mean square, found {brief(repr(kind.divides_by))}"
    for fact in _SWITCHES:
        if not isinstance(getattr(kind, fact), bool):
            return f"{fact}: expected True or False, found {brief(repr(getattr(kind, fact)))}"
    for fact in ("learned_per_feature", "learned_per_layer"):
        count = getattr(kind, fact)
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            return f"{fact}: expected a whole number, 0 or more, found {brief(repr(count))}"
    if kind.over == "none" and (kind.subtracts_mean or kind.scale_invariant):
        return "subtracts_mean, scale_invariant: of no values, where over is none; expected over to say which"
    return None


def _wrong_options(kind: ItemKind) -> str | None:
    options: object = kind.options
    if not isinstance(options, type) or not issubclass(options, Options):
        return f"options: expected a class below bnexp.plugins.Options, found {brief(repr(options))}"
    if kind.over == "group" and not issubclass(options, GroupedOptions):
        return "over is group: expected options below bnexp.plugins.GroupedOptions, which say how many groups"
    if required := [key for key, field in options.model_fields.items() if field.is_required()]:
        return f"options: {one_of(required)} has no default; expected one, such as {required[0]}: float = 1e-5"
    try:
        options.model_validate(options().model_dump())
    except ValidationError as error:
        first = error.errors()[0]
        return f"options: the default of {first['loc'][0]} is refused: {brief(first['msg'], 200)}"
    return None


def _refuse_unwritable(name: ItemName) -> None:
    """Refuse options whose values do not come back from a block as they were.

    Raises:
        BlockError: they do not.
    """
    defaults = ITEMS[name].options()
    written = ", ".join(f"{key}={_in_a_block(value)}" for key, value in defaults.model_dump().items())
    if (read := parse_item(f"{name}({written})" if written else name).options) != defaults:
        raise BlockError(f"{name}({written}) is read as {read!r}")


def _in_a_block(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
