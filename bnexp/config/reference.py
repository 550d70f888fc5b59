"""The reference, made from the schema: `docs/config.md`, for people."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from bnexp.config.data_section import DATASET_SUMMARIES, DATASETS
from bnexp.config.items import ITEMS
from bnexp.config.json_schema import plain_json_schema
from bnexp.config.keys import SECTIONS, SectionSpot
from bnexp.config.probes_section import ProbeSchedule
from bnexp.config.schema import Config
from bnexp.config.section import Section

_INTRODUCTION = """\
# The config

One YAML file says one strategy and its training recipe. Every key is checked before anything else happens, and a
mistake is answered with its file and line, what was found, what was expected and the nearest known name.

*Generated from the schema by `bnexp schema --markdown > docs/config.md`; a test keeps it current.*

`bnexp schema` prints the JSON Schema, with which an editor completes keys and names, shows what they mean, and marks
what is wrong: `norm: bnn`, `momentum` with adam, `stages` of an mlp. It is configs/schema.json, which the first line of
every packaged config names; `bnexp schema > schema.json` leaves it beside your own:

    # yaml-language-server: $schema=schema.json

Editors with the YAML language server (VS Code with its YAML extension, Neovim, Emacs, ...) read that line; bnexp reads
nothing of it. `bnexp schema --plugin mad.py` knows the names that mad.py registers, too.

- `base: other.yaml` (relative to the file) or `base: resnet_bn` (one that comes with bnexp, in `bnexp catalog`) takes
  another config and changes only what this one says, key by key.
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
  cancels (`batch_renorm` subtracts one, too, but adds what its running mean lags behind). Those items are marked
  "cancels a bias" below.
"""

_HEAD = ("key", "type", "default", "meaning")
_BOUNDS = {"exclusiveMinimum": "above", "minimum": "at least", "exclusiveMaximum": "below", "maximum": "at most"}
_TYPES = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text", "object": "keys"}


def config_reference() -> str:
    """Return `docs/config.md`: every key with its type, bounds, default and meaning, and the block notation."""
    groups: dict[object, list[SectionSpot]] = {}
    for spot in SECTIONS.values():
        groups.setdefault(spot.keys if spot.variant else spot.section, []).append(spot)
    sections = [_union(spots) if spots[0].variant else section_reference(spots) for spots in groups.values()]
    notation = [_BLOCK_NOTATION, _items(), _item_options()]
    return "\n".join([_INTRODUCTION, *sections, *notation, "## Datasets\n", _datasets()])


def section_reference(spots: list[SectionSpot]) -> str:
    """Return heading and table of a section that stands at one or more places."""
    section, keys = spots[0].section, spots[0].keys
    title = ", ".join(f"`{'.'.join(spot.keys)}`" for spot in spots) if keys else "At the top"
    rows = [row for spot in spots for row in _rows(spot).values()]
    return f"{'##' if len(keys) < 2 else '###'} {title}\n\n{section.__doc__}\n\n{markdown_table(_HEAD, rows)}"


def _union(spots: list[SectionSpot]) -> str:
    """Return the tables of the variants of a section: first the keys that all of them have, then the keys of each."""
    keys, discriminator = spots[0].keys, str(spots[0].discriminator)
    rows = [_rows(spot) for spot in spots]
    shared = {key: row for key, row in rows[0].items() if all(other.get(key) == row for other in rows)}
    meaning = str(Config.model_fields[keys[0]].description)
    title = ".".join(keys)
    table = markdown_table(_HEAD, [_choice(spots), *shared.values()])
    text = [f"## `{title}`\n\n{meaning[0].upper()}{meaning[1:]}.\n\n{table}"]
    for section, same in groupby(spots, key=lambda spot: spot.section):
        first, *others = same
        names = "".join(f", `{spot.variant}`" for spot in others)
        own = [row for key, row in _rows(first).items() if key not in (discriminator, *shared)]
        text.append(f"### `{title}` with `{discriminator}: {first.variant}`{names}\n\n{section.__doc__}\n")
        text += [markdown_table(_HEAD, own)] if own else []
    return "\n".join(text)


def _choice(spots: list[SectionSpot]) -> list[str]:
    """Return the row of the key that chooses between variants."""
    key = str(spots[0].discriminator)
    fields = [spot.section.model_fields[key] for spot in spots]
    meaning = next((field.description for field in fields if field.description), f"which {spots[0].keys[-1]}")
    default = next((f"`{field.default}`" for field in fields if not field.is_required()), "**required**")
    return [f"`{spots[0].key(key)}`", type_text({"enum": [spot.variant for spot in spots]}), default, meaning]


def _rows(spot: SectionSpot) -> dict[str, list[str]]:
    """Return the row of each key of a section: full name, type, default, meaning."""
    properties = plain_json_schema(spot.section)["properties"]
    return {
        key: [f"`{spot.key(key)}`", type_text(properties[key]), _default(spot, key), field.description or ""]
        for key, field in spot.section.model_fields.items()
    }


def type_text(schema: dict[str, Any]) -> str:
    """Return the type and the bounds that a JSON Schema describes, such as `whole number, at least 1`."""
    if "anyOf" in schema or "oneOf" in schema:
        branches = schema.get("anyOf") or schema["oneOf"]
        branch_texts = [type_text(branch) for branch in branches if branch.get("type") != "null"]
        return " or ".join(dict.fromkeys(branch_texts))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{_yaml(option)}`" for option in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        entries = schema.get("prefixItems")
        word, *bounds = type_text(entries[0] if entries else schema["items"]).split(", ", maxsplit=1)
        each = f", each {bounds[0]}" if bounds else ""
        many = word if word.endswith("s") else f"{word}s"
        return f"list of {len(entries)} {many}{each}" if entries else f"list of {many}{each}"
    limits = [f"{words} {schema[bound]:_}" for bound, words in _BOUNDS.items() if bound in schema]
    return ", ".join([_TYPES[schema.get("type", "object")], *limits])


def _default(spot: SectionSpot, key: str) -> str:
    field = spot.section.model_fields[key]
    if field.is_required():
        named_after_file = (spot.keys, key) == ((), "name")
        return "the file's name" if named_after_file else "**required**"
    default = field.default if spot.default is None else getattr(spot.default, key)
    return "not set" if default is None or default in ({}, ()) else f"`{_yaml(default)}`"


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
            default, meaning = f"`{_yaml(field.default)}`", field.description or ""
            rows.append([f"`{name}`", f"`{key}`", type_text(properties[key]), default, meaning])
    return markdown_table(("item", "option", "type", "default", "meaning"), rows)


def _datasets() -> str:
    sizes = {name: (" x ".join(map(str, info.shape)), str(info.classes)) for name, info in DATASETS.items()}
    rows = [
        [f"`{name}`", summary, *sizes.get(name, ("as found", "as found"))]
        for name, summary in DATASET_SUMMARIES.items()
    ]
    return markdown_table(("dataset", "what it holds", "shape (C, H, W)", "classes"), rows)


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    head = list(head)
    cells = [head, ["---"] * len(head), *([" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells) + "\n"
