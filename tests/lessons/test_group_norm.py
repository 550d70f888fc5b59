"""`groupnorm`: a matrix and two images against torch, the claims as properties, and groups that cannot be."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from bnexp.document.terminal import to_text
from bnexp.errors import ConfigError
from bnexp.lessons.group_norm import lesson
from bnexp.lessons.request import LessonOptions, request_of


def taught(**words: object) -> dict:
    return lesson(request_of("groupnorm", LessonOptions(**words))).numbers


def drawn(examples: int, features: int) -> list[list[float]]:
    generator = torch.Generator().manual_seed(features)
    x: torch.Tensor = 5 * torch.randn(examples, features, dtype=torch.float64, generator=generator) + 2
    return x.tolist()


@pytest.mark.parametrize(("features", "groups"), [(6, 1), (6, 2), (6, 3), (20, 5)])
def test_ones_own_matrix_is_what_torch_makes_of_it(
    features: int, groups: int, near: Callable, write_matrix: Callable
) -> None:
    numbers = taught(input=write_matrix(drawn(3, features)), groups=groups, eps=1e-3)
    x = torch.tensor(numbers["x"], dtype=torch.float64)
    near(numbers["y"], nn.GroupNorm(groups, features, eps=1e-3, dtype=torch.float64)(x))
    near(numbers["mean"], x.view(3, groups, -1).mean(2))
    near(numbers["var"], x.view(3, groups, -1).var(2, unbiased=False))
    assert numbers["difference_to_torch"] < 1e-12


def test_the_images_are_what_the_formula_says_and_torch_normalizes_them_alike(near: Callable) -> None:
    numbers = taught()
    for n, image in enumerate(numbers["images"]):
        for c, channel in enumerate(image):
            assert channel == [[(n + 2 * c + 1) * (2 * h + w + 1) % 13 for w in range(2)] for h in range(2)]
    x = torch.tensor(numbers["images"], dtype=torch.float64)
    near(numbers["y_of_images"], nn.GroupNorm(2, 4, dtype=torch.float64)(x))


def test_its_ends_are_layer_and_instance_normalization() -> None:
    one, two, four = (list(row.values())[1:] for row in taught()["distance_to_the_ends"])
    assert one[0] < 1e-12 < 0.1 < one[1]
    assert four[1] < 1e-12 < 0.1 < four[0]
    assert min(two) > 0.1


def test_companions_change_batch_norm_alone() -> None:
    changes = taught()["change_by_companions"]
    assert changes["group_norm"] == 0 < 0.1 < changes["batch_norm"]


def test_the_gradient_reaches_what_the_picture_shares() -> None:
    one = lesson(request_of("groupnorm", LessonOptions()))
    picture = next(part for part in one.parts if getattr(part, "key", "") == "regions_of_images")
    for name, rows in picture.blocks:
        shared = [letters[0] == "A" for _, letters in rows]
        reached = [row[name] > 1e-9 for row in one.numbers["reached_by_the_gradient"]]
        assert reached == shared, name


@pytest.mark.parametrize(("features", "expected"), [(2, 1), (3, 1), (4, 2), (6, 2), (9, 3), (15, 3)])
def test_without_the_option_the_fewest_groups_above_one_are_taken(
    features: int, expected: int, write_matrix: Callable
) -> None:
    numbers = taught(input=write_matrix(drawn(2, features)))
    assert len(numbers["mean"][0]) == expected


def test_one_group_and_pairs_are_named(near: Callable) -> None:
    assert "With one group, that is layer normalization." in " ".join(
        to_text(lesson(request_of("groupnorm", LessonOptions(groups=1)))).split()
    )
    of_pairs = lesson(request_of("groupnorm", LessonOptions(gamma="1,1,1,1", groups=2, eps=1e-12)))
    pairs = torch.tensor(of_pairs.numbers["x"], dtype=torch.float64).reshape(5, 2, 2)
    tells_the_larger = (pairs - pairs.flip(2)).sign().reshape(5, 4)  # 0 where both are equal
    near(of_pairs.numbers["x_hat"], tells_the_larger)
    assert "A group of two values" in to_text(of_pairs)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (3, "--groups 3: does not divide the 4 features of the built-in matrix; expected 1 or 2"),
        (0, "--groups 0: does not divide"),
        (-2, "--groups -2: does not divide"),
        (8, "--groups 8: does not divide"),
        (
            4,
            "--groups 4: each of 4 groups would hold 1 of the 4 features of the built-in matrix and give beta",
        ),
    ],
)
def test_groups_that_cannot_be_are_refused_with_those_that_would_do(groups: int, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        taught(groups=groups)


def test_a_single_column_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("height\n1\n2\n")
    for words in ({}, {"groups": 1}):
        with pytest.raises(ConfigError, match=r"\(line 1 names the columns\): one column, height: .* at least 2"):
            taught(input=path, **words)
