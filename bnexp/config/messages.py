"""Messages for people, made from pydantic's errors: the place, the key, what was found, what was expected."""

import re
from typing import get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from bnexp.config.aliases import key_name, kind_name
from bnexp.config.block import BlockError
from bnexp.config.keys import SECTIONS, SectionSpot, keys_of, spots_at
from bnexp.config.naming import run_name_of
from bnexp.config.nested import Place
from bnexp.config.wording import brief, expectation, number_meant, one_of, shown
from bnexp.errors import did_you_mean, nearest

MAX_SHOWN = 8
_MAX_EXPLAINED = 100
"""Errors that are written out, to leave out those that say the same; those beyond are only counted."""
REPLACED: dict[Place, str] = {
    ("probes", "evaluation_modes", "batches"): "Now it is counted in training examples: "
    "probes.evaluation_modes.recomputed_over=5000",
}
"""Keys of earlier versions that are no more, and what to write instead; in stored configs they are passed over."""


def explain(error: ValidationError, origins: dict[Place, str], source: str) -> str:
    """Return one message for all errors, one or a few lines each.

    `origins` says where each key stands, as `file:line` or the command line's words; `source` names the config.
    """
    errors = error.errors()
    details = [detail for detail in errors if not _follows_from_another(detail, errors)]
    lines = list(dict.fromkeys(_explain_one(detail, origins, source) for detail in details[:_MAX_EXPLAINED]))
    more = len(lines[MAX_SHOWN:]) + len(details[_MAX_EXPLAINED:])
    return "\n".join([*lines[:MAX_SHOWN], *([f"(and {more} more)"] if more else [])])


def unknown_key(keys: Place, origins: dict[Place, str], source: str, *, with_dots: bool = False) -> str:
    """Return the message for a key that no variant of the config knows; `with_dots`, its hint is a whole key, too."""
    spots = spots_at(keys[:-1])
    hint = _where_instead(keys[-1], spots)
    if with_dots:
        every = [spot.key(name) for spot in SECTIONS.values() for name in spot.section.model_fields]
        above = "".join(f"{key}." for key in keys[:-1])
        hint = re.sub(r'Did you mean "([^".]+)"', rf'Did you mean "{above}\1"', hint)
        hint = hint or did_you_mean(_dotted(keys), every)
    return f"{_origin(keys, origins, source)}: unknown key {_dotted(keys)}.{hint}"


def _explain_one(detail: ErrorDetails, origins: dict[Place, str], source: str) -> str:
    keys = keys_of(detail["loc"])
    if detail["type"].startswith("union_tag"):
        keys = (*keys, str(spots_at(keys)[0].discriminator))
    at = _origin(keys, origins, source)
    match detail["type"]:
        case "extra_forbidden":
            return f"{at}: unknown key {_dotted(keys)}.{_where_instead(keys[-1], [SECTIONS[detail['loc'][:-1]]])}"
        case "missing" if isinstance(keys[-1], int):  # an entry of a list of fixed length
            length, at = len(get_args(_field(detail["loc"][:-1]).annotation)), _breadcrumb(keys[:-1], origins, source)
            return f"{at}: expected a list of {length}, found {shown(detail['input'])}"
        case "missing":
            spot = SECTIONS[detail["loc"][:-1]]
            if spot.variant and keys not in origins:  # the key that chose the variant is what asks for this one
                at = _origin((*spot.keys, str(spot.discriminator)), origins, source)
            return f"{at}: {_dotted(keys)} is missing: {_field(detail['loc']).description}"
        case "union_tag_not_found":
            return f"{at}: {_dotted(keys)} is missing; expected {one_of(_names(keys[:-1]))}{_class_meant(detail, keys)}"
        case "value_error":
            return _own_words(detail["ctx"]["error"], keys, origins, source)
    return f"{_breadcrumb(keys, origins, source)}: {_problem(detail, keys)}"


def _field(place: Place) -> FieldInfo:
    return SECTIONS[place[:-1]].section.model_fields[str(place[-1])]


def _problem(detail: ErrorDetails, keys: Place) -> str:
    """Say what was found and what was expected of a value."""
    found = detail["input"]
    match detail["type"]:
        case "union_tag_invalid":
            return _unknown_word(found[keys[-1]], _names(keys[:-1])) + _network_meant(found[keys[-1]], keys)
        case "literal_error":
            return _unknown_word(found, re.findall(r"'([^']*)'", detail["ctx"]["expected"]))
        case "model_type" | "model_attributes_type":
            return f"expected keys and values, such as {_such_as(found, keys)}, found {shown(found)}"
        case "tuple_type" if isinstance(found, int | float | str):
            return f"expected a list, such as {_as_list(found, detail)}, found {shown(found)}"
        case "string_type" if isinstance(found, int | float):
            return f'expected text, found {shown(found)}; in quotes, "{shown(found)}", it is text'
    if keys == ("name",) and isinstance(found, str) and found.strip():
        return f"expected {expectation(detail)}, found {shown(found)}; such a name is {run_name_of(found)}"
    hint = number_meant(found, keys, detail["type"].partition("_")[0])
    return f"expected {expectation(detail)}, found {shown(found)}{hint}"


def _as_list(found: object, detail: ErrorDetails) -> str:
    """Return a single value as the list that a key takes: twice where the key takes two."""
    if isinstance(found, str) and found.strip().startswith("["):
        return f"{brief(found.strip())} without quotes"
    if isinstance(found, str) and not found.strip().isdecimal():
        found = 32
    field = _field(detail["loc"]) if detail["loc"][:-1] in SECTIONS else None
    kinds = (field.annotation, *get_args(field.annotation)) if field else ()
    parts = next((get_args(kind) for kind in kinds if get_origin(kind) is tuple), ())
    return f"[{', '.join([brief(str(found))] * (1 if Ellipsis in parts else max(len(parts), 1)))}]"


def _own_words(error: Exception, keys: Place, origins: dict[Place, str], source: str) -> str:
    """Return the sentence of a validator of ours with its place; it may begin with the full name of its key."""
    if isinstance(error, BlockError) and keys == ("model",):
        keys = ("model", "block")
    first = tuple(str(error).split(maxsplit=1)[0].split("."))
    named = first[: len(keys)] == keys
    return f"{_origin(first, origins, source) if named else _breadcrumb(keys, origins, source)}: {error}"


def _follows_from_another(detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """Tell whether a list is called too short only because one of its entries was refused."""
    above = detail["loc"]
    below = (other for other in details if len(other["loc"]) > len(above) and other["loc"][: len(above)] == above)
    return detail["type"] == "too_short" and any(below)


def _where_instead(key: str | int, spots: list[SectionSpot]) -> str:
    """Return a hint for an unknown key: the variant or section that has it, a near key, or all known ones."""
    if key == "<<":
        return " No keys are merged here; base: names a file whose keys this one takes over"
    if str(key).isdecimal():
        return " A decimal comma? In a number it is a point, such as 0.1; and a list is in brackets, such as [32, 32]"
    if any(sign in str(key) for sign in ("->", "(", ")")):
        return ' In braces a block needs quotes: {block: "linear -> bn(momentum=0.1, eps=1e-3) -> relu"}'
    if not spots:
        return ""
    spot, name, siblings = spots[0], str(key), spots_at(spots[0].keys)
    if instead := REPLACED.get((*spot.keys, name)):
        return f" {instead}"
    if owners := _owners(name, siblings):
        return f" It belongs to {owners}, and this is {spot.variant}; null takes it back."
    known = list(dict.fromkeys(key for spot in spots for key in spot.section.model_fields))
    if theirs := key_name(name):
        return f' Did you mean "{theirs.removeprefix(spot.key(""))}"?'
    if hint := did_you_mean(name, known):
        return hint
    of_siblings = dict.fromkeys(key for sibling in siblings for key in sibling.section.model_fields)
    if near := nearest(name, of_siblings):
        return f' Did you mean "{near}"? It belongs to {_owners(near, siblings)}, and this is {spot.variant}.'
    elsewhere = {spot.key(name) for spot in SECTIONS.values() if name in spot.section.model_fields}
    if len(elsewhere) == 1:
        return f' Did you mean "{elsewhere.pop()}"?'
    return f" Known{' in ' + _dotted(spot.keys) if spot.keys else ''}: {', '.join(known)}"


def _owners(key: str, variants: list[SectionSpot]) -> str:
    """Return the variants that have a key, such as `optimizer.name: adam or adamw`; "" where none has."""
    names = [str(spot.variant) for spot in variants if key in spot.section.model_fields]
    return f"{variants[0].key(str(variants[0].discriminator))}: {one_of(names)}" if names else ""


def _unknown_word(found: object, known: list[str]) -> str:
    hint = did_you_mean(found, known) if isinstance(found, str) else ""
    return f"unknown {shown(found)}.{hint} Expected {one_of(known)}"


def _network_meant(found: object, keys: Place) -> str:
    """Return how a network is written that other tools have under a name with its depth, such as resnet18."""
    match = re.fullmatch(r"resnet[-_]?(\d+)", str(found).lower())
    if keys == ("model", "arch") and match:
        return f"; its depth is a key of its own: {{arch: resnet, depth: {match[1]}}}"
    return ""


def _class_meant(detail: ErrorDetails, keys: Place) -> str:
    """Return what is written for a kind under another key, such as `name` or `type`, and the `_target_` of Hydra."""
    found = detail["input"] if isinstance(detail["input"], dict) else {}
    spots, names = spots_at(keys[:-1]), _names(keys[:-1])
    for theirs, word in found.items():
        if isinstance(word, str) and not any(theirs in spot.section.model_fields for spot in spots):
            ours = kind_name(".".join(map(str, keys[:-1])), str(keys[-1]), word.rpartition(".")[2], names)
            if ours in names or theirs in ("_target_", "class_path"):
                example = f": {ours}" if ours in names else ""
                return f"; in place of {theirs} it is {keys[-1]}{example}, with its options beside it"
    return ""


def _such_as(found: object, keys: Place) -> str:
    """Return an example of a section, with the value that was found where it is clear which key it belongs to."""
    spot = spots_at(keys)[0]
    fields = list(spot.section.model_fields)
    if spot.discriminator or len(fields) == 1:
        example = shown(found) if len(fields) == 1 and type(found) is int else spot.variant or "..."
        named = kind_name(".".join(map(str, keys)), str(spot.discriminator), found, _names(keys))
        return f"{{{spot.discriminator or fields[0]}: {named if named in _names(keys) else example}}}"
    whole_number = type(found) is int and isinstance(spot.section.model_fields[fields[0]].default, int | None)
    return f"{{{fields[0]}: {shown(found) if whole_number else '...'}}}"


def _names(keys: Place) -> list[str]:
    """Return the names of the variants that may stand at these keys."""
    return [str(spot.variant) for spot in spots_at(keys)]


def _dotted(keys: Place) -> str:
    return brief(".".join(str(part) for part in keys), 100)


def _breadcrumb(keys: Place, origins: dict[Place, str], source: str) -> str:
    """Return where a key stands and its name, once: the origin `--set data.batch_size=0` says the name already."""
    at, name = _origin(keys, origins, source), _dotted(keys)
    return at if at.startswith((f"--set {name}=", f"--axis {name}=")) else f"{at}: {_dotted(keys)}"


def _origin(keys: Place, origins: dict[Place, str], source: str) -> str:
    """Return where a key stands, or the nearest key above it."""
    places = (keys[:length] for length in range(len(keys), 0, -1))
    return next((origins[place] for place in places if place in origins), source)
