import pytest

from bnexp.document.table import Cell, Column, Sample, Table, find_column, sort_rows
from bnexp.errors import ConfigError

NAME = Column("name", "arm")
RATE = Column("optimizer.lr", "optimizer.lr", short="lr")
TEST = Column("test_accuracy", "test %", "sample", descending=True)


def table(*values: tuple[str, object, float | None]) -> Table:
    rows = tuple(
        {
            "name": Cell(name, name),
            "optimizer.lr": Cell(str(rate), rate),
            "test_accuracy": Cell() if test is None else Cell(str(test), sample=Sample(test, None, 1)),
        }
        for name, rate, test in values
    )
    return Table((NAME, RATE, TEST), rows)


def order(sorted_table: Table) -> str:
    return "".join(row["name"].text for row in sorted_table.rows)


def test_the_highest_accuracy_comes_first_and_what_is_not_known_last() -> None:
    assert order(sort_rows(table(("a", 1, 0.5), ("b", 1, None), ("c", 1, 0.9), ("d", 1, 0.5)), TEST)) == "cadb"


def test_numbers_are_sorted_as_numbers_and_before_words() -> None:
    rows = table(("a", 10, None), ("b", 9.5, None), ("c", "auto", None), ("d", None, None), ("e", 10**400, None))
    assert order(sort_rows(rows, RATE)) == "baecd"


@pytest.mark.parametrize("name", ["test_accuracy", "test %", "Test-Accuracy"])
def test_a_column_has_several_names(name: str) -> None:
    assert find_column([NAME, RATE, TEST], name) is TEST


def test_a_short_name_will_do() -> None:
    assert find_column([NAME, RATE, TEST], "lr") is RATE


def test_an_unknown_column_names_the_nearest_and_all() -> None:
    with pytest.raises(ConfigError) as error:
        find_column([NAME, RATE, TEST], "test_acuracy")
    assert 'Did you mean "test_accuracy"' in str(error.value)
    assert "name, optimizer.lr, test_accuracy" in str(error.value)
    assert error.value.exit_code == 2
