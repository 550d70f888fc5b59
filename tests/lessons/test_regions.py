"""The picture of which values share a statistic: against the letters worked out by hand and the counts that follow."""

from itertools import product

import pytest

from bnexp.document.lesson import Regions
from bnexp.lessons.regions import image_regions, matrix_regions, of_batch, of_example, of_group


def letters(picture: Regions) -> dict[str, list[str]]:
    return {name: ["".join(row) for _, row in rows] for name, rows in picture.blocks}


def test_a_matrix_shares_down_the_columns_along_the_rows_or_in_groups() -> None:
    picture = matrix_regions("regions", 2, 4, {"bn": of_batch, "ln": of_example, "gn": of_group(4, 2)})
    assert letters(picture) == {"bn": ["ABCD", "ABCD"], "ln": ["AAAA", "BBBB"], "gn": ["AABB", "CCDD"]}
    assert picture.numbers["regions"] == {
        "bn": {"statistics": 4, "values_per_statistic": 2},
        "ln": {"statistics": 2, "values_per_statistic": 4},
        "gn": {"statistics": 4, "values_per_statistic": 2},
    }


def test_images_share_by_channel_by_image_or_by_both() -> None:
    picture = image_regions("regions", (2, 2, 1, 3), {"bn": of_batch, "ln": of_example, "in": of_group(2, 2)})
    assert letters(picture) == {
        "bn": ["AAA", "BBB", "AAA", "BBB"],
        "ln": ["AAA", "AAA", "BBB", "BBB"],
        "in": ["AAA", "BBB", "CCC", "DDD"],
    }


@pytest.mark.parametrize(("channels", "groups"), [(4, 1), (4, 4), (6, 3), (8, 2)])
def test_every_statistic_is_of_as_many_values_as_is_said(channels: int, groups: int) -> None:
    picture = image_regions("regions", (3, channels, 2, 2), {"gn": of_group(channels, groups)})
    drawn = "".join(letters(picture)["gn"])
    assert {drawn.count(letter) for letter in drawn} == {4 * channels // groups}
    assert picture.numbers["regions"]["gn"] == {
        "statistics": 3 * groups,
        "values_per_statistic": 4 * channels // groups,
    }


@pytest.mark.parametrize(("examples", "features"), list(product([2, 1000], [2, 90])))
def test_a_large_matrix_is_drawn_smaller_and_that_is_said(examples: int, features: int) -> None:
    picture = matrix_regions("regions", examples, features, {"bn": of_batch, "ln": of_example})
    assert ("drawn for" in picture.title) == (examples > 6 or features > 8)
    assert {(len(rows), len(rows[0][1])) for _, rows in picture.blocks} == {(min(examples, 6), min(features, 8))}
