"""The JSON Schema of a config, for editors: what may stand where, in each kind of a section only its own keys.

It is pydantic's own, widened to what a file may leave out or take back. An editor sees one file, before `base:` is
merged and nulls are taken out: it may have `base` and say only a difference, may leave out `name`, and may write null
for any key. Whatever `load_config` accepts, the schema accepts, but for names that only a `--plugin` knows.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bnexp.config.items import names_of
from bnexp.config.keys import SectionSpot, spots_at, variants
from bnexp.config.patterns import activation_pattern, block_pattern, kind_pattern, norm_pattern
from bnexp.config.schema import Config
from bnexp.config.section import Section

Schema = dict[str, Any]
DRAFT = "https://json-schema.org/draft/2020-12/schema"
_JSON_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_NULL = {"type": "null"}
_OTHER = "a key of another kind, which only null takes back"
_UNDERSCORED = r"^[0-9]+(_[0-9]+)+$"
"""`50_000`, which is a number in a config and a word for an editor."""
_WITH_EXPONENT = r"^([0-9]+(_[0-9]+)+|([0-9]+[.]?|[0-9]*[.][0-9]+)[eE][-+]?[0-9]+)$"
"""And `5e-4`, a number in a config and a word for readers of YAML 1.1, such as PyYAML."""


def config_schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of a config file."""
    schema = plain_json_schema(Config)
    sections = [schema, *schema["$defs"].values()]
    for section in sections:
        section.pop("required", None)
        section["properties"] = {key: _or_null(_relaxed(value)) for key, value in section["properties"].items()}
    for key in Config.model_fields:
        spots = spots_at((key,))
        if spots and spots[0].variant:
            schema["properties"][key] = _by_kind(spots, schema["properties"][key], schema["$defs"])
    schema["$defs"] |= block_definitions()
    for spot in spots_at(("model",)):
        properties = schema["$defs"][spot.section.__name__]["properties"]
        properties |= {key: _refined(properties[key], key) for key in _PATTERNED}
    base = {"type": ["string", "null"], "description": "a config, relative to this file, that this one changes"}
    requirements = _requirements(Config)
    requirements["required"].remove("name")
    return {
        "$schema": DRAFT,
        **schema,
        "title": "bnexp config",
        "properties": {"base": base, **schema["properties"]},
        "if": {"required": ["base"], "properties": {"base": {"type": "string"}}},
        "else": requirements,
    }


def plain_json_schema(model: type[BaseModel]) -> Schema:
    """Return pydantic's JSON Schema of a model, with JSON Schema's names for all bounds.

    pydantic writes `ge` instead of `minimum` where a validator stands between the bound and the type.
    """

    def plain(schema: Any) -> Any:
        if isinstance(schema, dict):
            return {_JSON_BOUNDS.get(key, key): plain(value) for key, value in schema.items()}
        return [plain(entry) for entry in schema] if isinstance(schema, list) else schema

    schema: Schema = plain(model.model_json_schema())
    return schema


@cache
def _properties(section: type[Section]) -> Schema:
    properties: Schema = plain_json_schema(section)["properties"]
    return properties


def key_schema(spots: Sequence[SectionSpot], key: str) -> Schema:
    """Return what a key may hold in one of some sections, null too, by itself: as an axis of a sweep has it.

    A key that holds a section may hold any.
    """
    if key in _PATTERNED and spots[0].keys == ("model",):
        return _refined({}, key)
    if spots_at((*spots[0].keys, key)):
        return {"type": ["object", "array", "string", "boolean", "null"]}
    if key == spots[0].discriminator:
        return {"anyOf": [_choice(spots), _NULL]}
    found: list[Schema] = []
    for spot in spots:
        own = _or_null(_relaxed(_properties(spot.section)[key]))
        own = {name: value for name, value in own.items() if name not in ("default", "description")}
        if own not in found:
            found.append(own)
    return found[0] if len(found) == 1 else {"anyOf": found}


# What model.norm, model.activation and model.block may say


_PATTERNED = ("norm", "activation", "block")


def block_definitions() -> Schema:
    """Return the definitions of a norm, an activation and a block."""
    norms, activations = ["none", *names_of("norm")], [*names_of("activation")]
    # `norm: false` is read as none; without a `type`, no editor offers true and false.
    or_false: Schema = {"not": {"anyOf": [{"const": True}, {"type": ["number", "array", "object"]}]}}
    blocks = ["linear -> norm -> act", "conv -> norm -> act", "conv -> norm -> act -> conv -> norm -> add -> act"]
    own = "one of your own is known to: bnexp schema --plugin FILE.py"
    norm = f"expected {', '.join(norms)}, with options of its own, such as bn(momentum=0.01); {own}"
    activation = f"expected {', '.join(activations)}, with options of its own, such as leaky_relu(slope=0.1); {own}"
    block = f"expected items of the block notation with arrows between, such as {blocks[0]}; {own}"
    return {
        "norm": or_false | _written(norm_pattern(), norms, norm),
        "activation": or_false | _written(activation_pattern(), activations, activation),
        "block": {"type": ["string", "null"]} | _written(block_pattern(), blocks, block),
    }


def _written(pattern: str, examples: Sequence[str], message: str) -> Schema:
    """Return what is known of a text; `patternErrorMessage` is what editors say where it does not fit."""
    return {"pattern": pattern, "patternErrorMessage": message, "examples": list(examples)}


def _refined(schema: Schema, key: str) -> Schema:
    """Return the schema of a key that holds a norm, an activation or a block."""
    return {"$ref": f"#/$defs/{key}"} | {name: schema[name] for name in ("description", "default") if name in schema}


# Sections of several kinds


def _by_kind(spots: Sequence[SectionSpot], schema: Schema, definitions: Schema) -> Schema:
    """Return the schema of a section of several kinds: the key that chooses one says which keys may stand beside it.

    Where that key is not given, as under a base, any of them may. A null takes back a key of another kind.
    """
    chooser, section = str(spots[0].discriminator), spots[0].keys[-1]
    keys = dict.fromkeys(key for spot in spots for key in spot.section.model_fields)
    names = list(dict.fromkeys(spot.section.__name__ for spot in spots))
    for name in names:
        own = definitions[name]["properties"]
        own[chooser] = {}  # the choice is made above
        if others := [key for key in keys if key not in own]:
            definitions[name]["patternProperties"] = {
                f"^({'|'.join(others)})$": {"type": "null", "errorMessage": _OTHER}
            }
    branch: Schema = {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in names]}
    for spot in reversed(spots):
        pattern = {"type": "string", "pattern": kind_pattern([spot], _known(spots))}
        definitions[f"{section}.{spot.variant}"] = {"required": [chooser], "properties": {chooser: pattern}}
        branch = {"if": _is_kind(spot), "then": {"$ref": f"#/$defs/{spot.section.__name__}"}, "else": branch}
    definitions[f"{section}.{chooser}"] = _choice(spots)
    chosen = {"type": "object", "properties": {chooser: {"$ref": f"#/$defs/{section}.{chooser}"}}, **branch}
    kept = {name: schema[name] for name in ("description", "default") if name in schema}
    return kept | {"type": ["object", "null"], "if": {"type": "object"}, "then": chosen}


def _is_kind(spot: SectionSpot) -> Schema:
    """Return the condition that a section says to be of a kind, in any spelling."""
    return {"$ref": f"#/$defs/{spot.keys[-1]}.{spot.variant}"}


def _known(spots: Sequence[SectionSpot]) -> list[str]:
    return [str(spot.variant) for spot in spots]


def _choice(spots: Sequence[SectionSpot]) -> Schema:
    """Return the schema of the key that chooses between kinds."""
    fields = [spot.section.model_fields[str(spot.discriminator)] for spot in spots]
    meaning = next((field.description for field in fields if field.description), "")
    optional = [] if all(field.is_required() for field in fields) else [_NULL]
    spelled = {"type": "string", "pattern": kind_pattern(spots, _known(spots))}
    return {"description": meaning, "anyOf": [{"enum": _known(spots)}, spelled, *optional]}


# What a file without a base must have


def _requirements(section: type[Section]) -> Schema:
    """Return the keys that a file without a base must have, in this section and below."""
    required = [key for key, field in section.model_fields.items() if field.is_required()]
    below = {key: needs for key, field in section.model_fields.items() if (needs := _requirements_below(key, field))}
    return ({"required": required} if required else {}) | ({"properties": below} if below else {})


def _requirements_below(name: str, field: FieldInfo) -> Schema:
    discriminator, sections = field.discriminator, variants(field)
    if not isinstance(discriminator, str):
        return _requirements(sections[None]) if sections else {}
    if not all(section.model_fields[discriminator].is_required() for section in sections.values()):
        return {}  # one of the variants is the default
    spots = spots_at((name,))
    conditions = [
        {"if": _is_kind(spot), "then": needs}
        for spot in spots
        if len((needs := _requirements(spot.section))["required"]) > 1
    ]
    return {"required": [discriminator]} | ({"allOf": conditions} if conditions else {})


# What a file may leave out, take back, or write in another way


def _relaxed(schema: Any) -> Any:
    """Return a schema without titles, whose numbers may be written with underscores or an exponent."""
    if isinstance(schema, list):
        return [_relaxed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    relaxed = {key: _relaxed(value) for key, value in schema.items() if key != "title" or isinstance(value, dict)}
    if relaxed.get("type") in ("integer", "number"):
        pattern = _UNDERSCORED if relaxed["type"] == "integer" else _WITH_EXPONENT
        relaxed |= {"type": [relaxed["type"], "string"], "pattern": pattern}
    return relaxed


def _or_null(schema: Schema) -> Schema:
    """Let a value be null as well."""
    if "const" in schema:
        return schema
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        options = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
        return schema | options | {"type": [*kinds, "null"]}
    rest = dict(schema)
    rest.pop("discriminator", None)
    branches = rest.pop("anyOf", None) or rest.pop("oneOf", None) or [{"$ref": rest.pop("$ref")}]
    return rest | {"anyOf": [*(branch for branch in branches if branch != _NULL), _NULL]}
