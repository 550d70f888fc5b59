"""The reference, made from the schema: `docs/config.md` for people, the JSON Schema for their editors."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from pydantic.fields import FieldInfo

from bnexp.config.datasets import DATASETS, OWN_DATASETS
from bnexp.config.items import ITEMS
from bnexp.config.json_schema import plain_json_schema
from bnexp.config.keys import SECTIONS, SectionSpot, spots_at
from bnexp.config.probes_section import ProbeSchedule
from bnexp.config.section import Section

_INTRODUCTION = """\
# The config

One YAML file says one strategy and its training recipe. Every key is checked before anything else happens, and a
mistake is answered with its file and line, what was found, what was expected and the nearest known name.

*Generated from the schema by `bnexp schema --markdown > docs/config.md`; a test keeps it current. `bnexp schema` prints
the JSON Schema, with which an editor completes and checks the keys.*

- `base: other.yaml` (relative to the file) takes another config and changes only what this one says, key by key.
- `key: null` takes a key back to its default, which is how a child gets rid of what its base sets.
- `--set data.batch_size=32` overrides any key from the command line; the value is read as YAML.
- `1e-4` and `50_000` are numbers, and only `true` and `false` are booleans; `no`, `off`, `010` and `1:30` are the words
  they look like.
"""

_BLOCK_NOTATION = """\
## The block notation

`model.block` is one line, the way the field draws it on a whiteboard: `linear -> bn -> relu`. Exactly what is written
is built, in that order.

    block  = item { "->" item }           the arrow character is an arrow too; spaces are free
    item   = name [ "(" [ option { "," option } ] ")" ]
    option = name "=" value

- `norm` and `act` stand for what `model.norm` and `model.activation` say, so that one can be varied without rewriting
  the other: `block: linear -> norm -> act`. A norm of `none` takes the item out.
- `bias: auto` leaves a layer's bias out exactly where the very next item subtracts a mean per feature, since there it
  cancels. Those items are marked "cancels a bias" below.
"""

_BOUNDS = {"exclusiveMinimum": "above", "minimum": "at least", "exclusiveMaximum": "below", "maximum": "at most"}
_TYPES = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text", "object": "keys"}


def config_reference() -> str:
    """Return `docs/config.md`: every key with its type, bounds, default and meaning, and the block notation."""
    parts = [_INTRODUCTION]
    for section, spots in groupby(SECTIONS.values(), key=lambda spot: spot.section):
        parts.append(_section(section, list(spots)))
    return "\n".join([*parts, _BLOCK_NOTATION, _items(), _item_options(), "## Datasets\n", _datasets()])


def _section(section: type[Section], spots: list[SectionSpot]) -> str:
    """Return heading and table of a section that stands at one or more spots."""
    first = spots[0]
    title = ", ".join(f"`{'.'.join(spot.keys)}`" for spot in spots) if first.keys else "At the top"
    if first.variant:
        title += f" with `{first.told_by}: {first.variant}`"
    level = "##" if len(first.keys) < 2 else "###"
    schema = plain_json_schema(section)
    rows = [_row(spot, key, schema["properties"][key]) for spot in spots for key in section.model_fields]
    return f"{level} {title}\n\n{section.__doc__}\n\n{markdown_table(('key', 'type', 'default', 'meaning'), rows)}"


def _row(spot: SectionSpot, key: str, schema: dict[str, Any]) -> list[str]:
    field = spot.section.model_fields[key]
    meaning = field.description or f"which {spot.keys[-1]}"
    return [f"`{spot.key(key)}`", type_in_words(schema), _default(spot, key, field), meaning]


def type_in_words(schema: dict[str, Any]) -> str:
    """Return the type and the bounds that a JSON Schema describes, such as `whole number, at least 1`."""
    if "anyOf" in schema or "oneOf" in schema:
        branches = schema.get("anyOf") or schema["oneOf"]
        words = [type_in_words(branch) for branch in branches if branch.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{_yaml(option)}`" for option in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        entries = schema.get("prefixItems")
        word, *bounds = type_in_words(entries[0] if entries else schema["items"]).split(", ", maxsplit=1)
        each = f", each {bounds[0]}" if bounds else ""
        return f"list of {len(entries)} {word}s{each}" if entries else f"list of {word}s{each}"
    limits = [f"{words} {schema[bound]:_}" for bound, words in _BOUNDS.items() if bound in schema]
    return ", ".join([_TYPES[schema.get("type", "object")], *limits])


def _default(spot: SectionSpot, key: str, field: FieldInfo) -> str:
    if field.is_required():
        named_after_file = (spot.keys, key) == ((), "name")
        return "the file's name" if named_after_file else "**required**"
    default = field.default
    if spot.keys:
        above = spots_at(spot.keys[:-1])[0].section.model_fields[spot.keys[-1]].default
        default = getattr(above, key) if isinstance(above, spot.section) else default
    return "not set" if default is None else f"`{_yaml(default)}`"


def _yaml(value: object) -> str:
    """Return a value as it would stand in a config."""
    if isinstance(value, Section):
        if isinstance(value, ProbeSchedule) and value.off:
            return "off"
        entries = {key: getattr(value, key) for key in type(value).model_fields}
        return "{" + ", ".join(f"{key}: {_yaml(entry)}" for key, entry in entries.items() if entry is not None) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(_yaml(entry) for entry in value) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _items() -> str:
    rows = []
    for name, kind in ITEMS.items():
        notes = "; cancels a bias" if kind.cancels_bias else ""
        options = ", ".join(f"{key}={_yaml(field.default)}" for key, field in kind.options.model_fields.items())
        rows.append([f"`{name}({options})`" if options else f"`{name}`", kind.role, kind.summary + notes])
    return markdown_table(("item, with its defaults", "role", "meaning"), rows)


def _item_options() -> str:
    rows = []
    for name, kind in ITEMS.items():
        properties = plain_json_schema(kind.options).get("properties", {})
        for key, field in kind.options.model_fields.items():
            words = type_in_words(properties[key])
            rows.append([f"`{name}`", f"`{key}`", words, f"`{_yaml(field.default)}`", field.description or ""])
    return markdown_table(("item", "option", "type", "default", "meaning"), rows)


def _datasets() -> str:
    rows = [
        [f"`{name}`", info.summary, " x ".join(map(str, info.shape)), str(info.classes)]
        for name, info in DATASETS.items()
    ]
    rows += [[f"`{name}`", summary, "as found", "as found"] for name, summary in OWN_DATASETS.items()]
    return markdown_table(("dataset", "what it holds", "shape (C, H, W)", "classes"), rows)


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    head = list(head)
    cells = [head, ["---"] * len(head), *([" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells) + "\n"
