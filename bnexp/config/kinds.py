"""Drop the settings of the old kind where a config changes the kind of its base, such as sgd to adam, and say so."""

from collections.abc import Iterator
from typing import Any

from bnexp.config.aliases import kind_name
from bnexp.config.keys import SECTIONS, SectionSpot, spots_at
from bnexp.config.nested import Place
from bnexp.config.wording import brief, shown

_CHOICES = {spot.keys[0]: str(spot.discriminator) for spot in SECTIONS.values() if spot.discriminator}
"""The sections whose kind a key chooses, and that key: `optimizer` and `name`."""


def leave_behind(values: dict[str, Any], change: dict[str, Any], origins: dict[Place, str]) -> list[str]:
    """Delete from `values` the keys that were chosen for the kind of a section that `change` replaces.

    These are keys that the new kind lacks, or has with another default, such as `optimizer.lr`. Keys that `change`
    sets, and those with the same default in both kinds, stay.

    Returns:
        A note for each section whose kind changes: the keys left out, and those that stay.
    """
    return [note for section, key in _CHOICES.items() for note in _of_section(values, change, section, key, origins)]


def _of_section(
    values: dict[str, Any], change: dict[str, Any], section: str, key: str, origins: dict[Place, str]
) -> Iterator[str]:
    before, after = values.get(section), change.get(section)
    if not isinstance(before, dict) or not isinstance(after, dict):
        return
    kinds = {str(spot.variant): spot for spot in spots_at((section,))}
    old, new = (kinds.get(str(kind_name(section, key, part.get(key), list(kinds)))) for part in (before, after))
    if old is None or new is None or old is new:
        return
    inherited = [name for name in before if name not in after and name != key and before[name] is not None]
    left = [name for name in inherited if _is_of_old(name, old, new)]
    kept = [name for name in inherited if name not in left and name in new.section.model_fields]
    if not left:
        return
    left_out = [f"{old.key(name)} {shown(before[name])}{_instead(name, new)}" for name in left]
    where = origins.get((section, left[0]), "").rpartition(":")[0]
    for name in left:
        del before[name]
        origins.pop((section, name), None)
    stays = f"; {', '.join(f'{name} {shown(before[name])}' for name in kept)} stays" if kept else ""
    at = brief(where, 100) or "the base"
    yield f"{at} has {old.key(key)}: {old.variant}, and this is {new.variant}: left out {', '.join(left_out)}{stays}"


def _is_of_old(name: str, old: SectionSpot, new: SectionSpot) -> bool:
    """Tell whether a key belongs to the old kind: the new one lacks it, or has another default."""
    field, instead = old.section.model_fields.get(name), new.section.model_fields.get(name)
    return field is not None and (instead is None or instead.default != field.default)


def _instead(name: str, new: SectionSpot) -> str:
    """Return the default of the new kind for a key, in brackets; empty where it has none."""
    field = new.section.model_fields.get(name)
    return "" if field is None or field.is_required() else f" ({new.variant} takes {shown(field.default)})"
