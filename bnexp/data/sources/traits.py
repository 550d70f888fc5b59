"""Say where the file tells the label: what its format, color, size or depth divides as the classes or the parts do."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from bnexp.config.wording import brief
from bnexp.document.writing import first_few

TRACE = 0.01
"""Part of a group up to which a trait counts as missing there, and from the other end as shared by all."""
FEW = 5
"""Images from which a group says something."""
SHOWN = 5
"""Groups that a sentence names."""

Traits = tuple[str, ...]
"""What is known of an image before its pixels, such as ("PNG", "gray", "28 x 28")."""


def telltale_traits(
    traits: Mapping[str, Sequence[Traits]], labels: Mapping[str, Sequence[int]], names: Sequence[str]
) -> list[str]:
    """Return a sentence for each division of the classes, or of the parts, that traits of the files repeat.

    Args:
        traits: of the images of the parts `train`, `val` and `test` (N each).
        labels: likewise.
        names: of the classes, in the order of the labels.
    """
    by_class, by_part = defaultdict[str, Counter[Traits]](Counter), defaultdict[str, Counter[Traits]](Counter)
    for part, found in traits.items():
        by_part[part].update(found)
        for label, one in zip(labels[part], found, strict=True):
            by_class[f"class {brief(names[label], 30)}"][one] += 1
    effect = "a network can tell the class by that alone, whatever the images show"
    between = "the score may measure that difference, and not what is learned"
    return [*_divided(by_class, effect), *_divided(by_part, between)]


def _divided(groups: Mapping[str, Counter[Traits]], effect: str) -> Iterator[str]:
    """Say which groups have a trait in all of their images, where the others have it in none."""
    sizes = {group: found.total() for group, found in groups.items()}
    counts = defaultdict[str, Counter[str]](Counter)
    for group, found in groups.items():
        for traits, count in found.items():
            for trait in traits:
                counts[trait][group] += count
    shared = defaultdict[tuple[str, ...], list[str]](list)
    for trait, of in counts.items():
        whole = tuple(group for group in groups if of[group] >= (1 - TRACE) * sizes[group])
        inside = sum(sizes[group] for group in whole)
        none_else = all(of[group] <= TRACE * sizes[group] for group in of if group not in whole)
        if none_else and min(inside, sum(sizes.values()) - inside) >= FEW:
            shared[whole].append(trait)
    told = set[frozenset[str]]()
    for whole, same in list(shared.items())[:SHOWN]:
        if frozenset(groups).difference(whole) in told:
            continue
        told.add(frozenset(whole))
        yield f"all images of {first_few(list(whole), SHOWN)}, and no others, are {', '.join(same)}: {effect}."
