"""The map of the schema: every section by its place, from which messages and the reference find a key."""

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args, get_origin

from pydantic.fields import FieldInfo

from bnexp.config.aliases import key_name
from bnexp.config.nested import Place
from bnexp.config.schema import Config
from bnexp.config.section import Section


@dataclass(frozen=True)
class SectionSpot:
    """One section, and the keys that lead to it, such as ("optimizer",).

    Attributes:
        variant: its name where several sections may stand at the same keys, such as "sgd".
        discriminator: the key whose value is the variant's name, such as "name".
        default: the section that a config without it has; None where it is required or of another variant.
    """

    keys: tuple[str, ...]
    variant: str | None
    discriminator: str | None
    section: type[Section]
    default: Section | None = None

    def key(self, name: str | int) -> str:
        """Return the full name of a key in this section, such as `optimizer.lr`."""
        return ".".join([*self.keys, str(name)])


def variants(field: FieldInfo) -> dict[str | None, type[Section]]:
    """Return the sections that may stand in a field: one under None, or one per name where a key decides."""
    candidates = (field.annotation, *get_args(field.annotation))
    sections = [section for section in candidates if isinstance(section, type) and issubclass(section, Section)]
    if not isinstance(field.discriminator, str):
        return dict.fromkeys([None], sections[0]) if sections else {}
    return {
        name: section for section in sections for name in get_args(section.model_fields[field.discriminator].annotation)
    }


def _spots(place: Place, spot: SectionSpot) -> Iterator[tuple[Place, SectionSpot]]:
    yield place, spot
    for key, field in spot.section.model_fields.items():
        discriminator = field.discriminator if isinstance(field.discriminator, str) else None
        for variant, section in variants(field).items():
            below = (*place, key) if variant is None else (*place, key, variant)
            default = field.default if isinstance(field.default, section) else None
            yield from _spots(below, SectionSpot((*spot.keys, key), variant, discriminator, section, default))


SECTIONS: dict[Place, SectionSpot] = dict(_spots((), SectionSpot((), None, None, Config)))
"""Every section of the schema, by its place as pydantic gives it: the name of a union's variant is one of the parts."""


def keys_of(place: Place) -> Place:
    """Return the keys that lead to a place, without the names of variants."""
    length = next(length for length in range(len(place), -1, -1) if place[:length] in SECTIONS)
    return (*SECTIONS[place[:length]].keys, *place[length:])


def spots_at(keys: Place) -> list[SectionSpot]:
    """Return the sections that may stand at these keys: none, one, or the variants of a union."""
    return [spot for spot in SECTIONS.values() if spot.keys == keys]


def key_called(name: str) -> str | None:
    """Return the key of the config that a word means: by its whole path, another tool's name, or its last word."""
    spelled = name.replace("-", "_").removeprefix("trainer.")
    if theirs := key_name(spelled):
        return theirs
    if is_known(tuple(spelled.split("."))) and spelled != "name":
        return spelled
    found = {spot.key(spelled) for spot in SECTIONS.values() if spelled in spot.section.model_fields}
    return found.pop() if len(found) == 1 else None


def is_known(keys: Place) -> bool:
    """Tell whether some variant of the config has a key at this place."""
    return any(keys[-1] in spot.section.model_fields for spot in spots_at(keys[:-1]))


def takes_only(key: str, wanted: type) -> bool:
    """Tell whether a key takes values of one kind, such as lists (tuple), in every variant that has it."""
    *above, last = key.split(".")
    fields = [field for spot in spots_at(tuple(above)) if (field := spot.section.model_fields.get(last))]
    annotations = [field.annotation for field in fields]
    kinds = [get_args(kind) if get_origin(kind) is types.UnionType else (kind,) for kind in annotations]
    return bool(kinds) and all(any(wanted in (part, get_origin(part)) for part in parts) for parts in kinds)
