"""What a file tells before its pixels, and where that gives the label away."""

import pytest

from bnexp.data.sources.traits import telltale_traits

PNG, JPEG, GRAY = ("PNG", "in color"), ("JPEG", "in color"), ("PNG", "gray")


def told(*, train, test=None):
    """Return the sentences on images given as (label, traits, count)."""
    parts = {"train": train, "test": test or train}
    each = {part: [(label, one) for label, one, count in rows for _ in range(count)] for part, rows in parts.items()}
    traits = {part: [one for _, one in rows] for part, rows in each.items()}
    return telltale_traits(traits, {part: [label for label, _ in rows] for part, rows in each.items()}, ["a", "b", "c"])


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ([(0, PNG, 9), (1, JPEG, 9)], ["class a, and no others, are PNG"]),
        ([(0, PNG, 9), (1, GRAY, 9)], ["class a, and no others, are in color"]),
        ([(0, JPEG, 9), (1, GRAY, 9)], ["class a, and no others, are JPEG, in color"]),
        ([(0, PNG, 9), (1, JPEG, 9), (2, JPEG, 9)], ["class a, and no others, are PNG"]),
        ([(0, PNG, 9), (1, PNG, 9), (2, JPEG, 9)], ["class a, class b, and no others, are PNG"]),
        ([(0, PNG, 199), (0, JPEG, 1), (1, JPEG, 99)], ["class a, and no others, are PNG"]),
        ([(0, PNG, 9), (0, JPEG, 1), (1, JPEG, 9)], []),
        ([(0, PNG, 9), (1, PNG, 9), (2, PNG, 9)], []),
        ([(0, PNG, 2), (1, JPEG, 9)], []),
    ],
)
def test_what_divides_as_the_classes_do_is_told_once(train, expected):
    found = told(train=train)
    assert len(found) == len(expected)
    assert all(part in sentence and "by that alone" in sentence for part, sentence in zip(expected, found, strict=True))


def test_what_divides_as_the_parts_do_is_told():
    (found,) = told(train=[(0, PNG, 9), (1, PNG, 9)], test=[(0, JPEG, 5), (1, JPEG, 5)])
    assert found.startswith("all images of train, and no others, are PNG: the score may")
