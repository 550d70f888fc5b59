"""The JSON Schema of a config file, for editors: pydantic's own, widened to what a file may leave out or take back.

An editor sees one file, before `base:` is merged and nulls are taken out. So a file may have `base` and then say only a
difference, may leave out `name`, and may write null for any key. Whatever `load_config` accepts, this schema accepts.
"""

from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bnexp.config.keys import spots_at, variants
from bnexp.config.schema import Config
from bnexp.config.section import Section

_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_NULL = {"type": "null"}


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a config file."""
    schema = plain_json_schema(Config)
    for section in (schema, *schema["$defs"].values()):
        section.pop("required", None)
        section["properties"] = {key: _or_null(value) for key, value in section["properties"].items()}
    _let_variants_take_back(schema)
    base = {"type": ["string", "null"], "description": "a config, relative to this file, that this one changes"}
    requirements = _requirements(Config)
    requirements["required"].remove("name")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "bnexp config",
        "properties": {"base": base, **schema["properties"]},
        "if": {"required": ["base"], "properties": {"base": {"type": "string"}}},
        "else": requirements,
    }


def plain_json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return pydantic's JSON Schema of a model, with the bounds that it leaves in its own words put right.

    pydantic writes `ge` instead of `minimum` where a validator stands between the bound and the type.
    """
    schema: dict[str, Any] = _with_plain_bounds(model.model_json_schema())
    return schema


def _with_plain_bounds(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {_BOUNDS.get(key, key): _with_plain_bounds(value) for key, value in schema.items()}
    return [_with_plain_bounds(entry) for entry in schema] if isinstance(schema, list) else schema


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Let a value be null as well, except where it tells the variant of a union."""
    if "const" in schema:
        return schema
    if "oneOf" in schema:
        # Under a base, a variant may be said without its name: then several fit.
        kept = {key: value for key, value in schema.items() if key not in ("oneOf", "discriminator")}
        return kept | {"anyOf": [*schema["oneOf"], _NULL]}
    if "$ref" in schema:
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return {"anyOf": [{"$ref": schema["$ref"]}, _NULL], **rest}
    if "anyOf" in schema:
        return schema | {"anyOf": [*(branch for branch in schema["anyOf"] if branch != _NULL), _NULL]}
    if "enum" in schema:
        return schema | {"enum": [*schema["enum"], None], "type": [schema["type"], "null"]}
    return schema | {"type": [schema["type"], "null"]}


def _let_variants_take_back(schema: dict[str, Any]) -> None:
    """Let `optimizer: {name: adam, momentum: null}` take back a key that only another variant knows."""
    for field in Config.model_fields:
        spots = [spot for spot in spots_at((field,)) if spot.variant]
        keys = [key for spot in spots for key in spot.section.model_fields]
        for spot in spots:
            properties = schema["$defs"][spot.section.__name__]["properties"]
            schema["$defs"][spot.section.__name__]["properties"] = dict.fromkeys(keys, _NULL) | properties


def _requirements(section: type[Section]) -> dict[str, Any]:
    """Return the keys that a file without a base must have, in this section and below."""
    required = [key for key, field in section.model_fields.items() if field.is_required()]
    below = {key: found for key, field in section.model_fields.items() if (found := _requirements_below(field))}
    return ({"required": required} if required else {}) | ({"properties": below} if below else {})


def _requirements_below(field: FieldInfo) -> dict[str, Any]:
    told_by, sections = field.discriminator, variants(field)
    if not isinstance(told_by, str):
        return _requirements(sections[None]) if sections else {}
    conditions = [
        {"if": {"required": [told_by], "properties": {told_by: {"const": name}}}, "then": _requirements(section)}
        for name, section in sections.items()
        if len(_requirements(section)["required"]) > 1
    ]
    return {"required": [told_by]} | ({"allOf": conditions} if conditions else {})
