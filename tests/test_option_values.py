"""What stands behind an option is read in every way to write it, and what is none is refused."""

import pytest

from bnexp.errors import ConfigError
from bnexp.option_values import read_names, read_seeds, read_shard, read_workers


@pytest.mark.parametrize(
    ("texts", "seeds"),
    [
        ([], None),
        (["3"], [3]),
        (["1", "2"], [1, 2]),
        (["1,2"], [1, 2]),
        (["1, 2,"], [1, 2]),
        (["1 2"], [1, 2]),
        (["0-4"], [0, 1, 2, 3, 4]),
        (["0..2", "7"], [0, 1, 2, 7]),
        (["[1, 2]"], [1, 2]),
        (["5-5"], [5]),
    ],
)
def test_all_seeds_are_read(texts: list[str], seeds: list[int] | None) -> None:
    assert read_seeds(texts) == seeds


@pytest.mark.parametrize("texts", [["a"], ["1.5"], ["-1"], ["4-0"], [""], ["1,1"], ["0-2", "2"], ["0-5000"], ["1-2-3"]])
def test_what_is_no_seed_is_refused(texts: list[str]) -> None:
    with pytest.raises(ConfigError, match="--seed"):
        read_seeds(texts)


@pytest.mark.parametrize("texts", [["coupling", "cost"], ["coupling,cost"], ["[coupling, cost]", "cost"]])
def test_names_are_read_from_every_way_to_write_a_list(texts: list[str]) -> None:
    assert read_names(texts) == ["coupling", "cost"]


@pytest.mark.parametrize(("text", "workers"), [("auto", None), (" AUTO ", None), ("1", 1), ("12", 12)])
def test_workers_are_a_number_or_auto(text: str, workers: int | None) -> None:
    assert read_workers(text) == workers


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "all", "", "12345"])
def test_what_is_no_number_of_workers_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--workers"):
        read_workers(text)


@pytest.mark.parametrize(("text", "shard"), [(None, None), ("1/4", (1, 4)), (" 4 / 4 ", (4, 4))])
def test_a_shard_is_one_part_of_several(text: str | None, shard: tuple[int, int] | None) -> None:
    assert read_shard(text) == shard


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/b", ""])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--shard"):
        read_shard(text)
