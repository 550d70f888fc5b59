import io
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from bnexp.document.table import Cell, Column, Sample, Table, TableLayout
from bnexp.document.terminal import print_document
from bnexp.document.terminal_table import wrapped

COLUMNS = (
    Column("name", "arm"),
    Column("model.block", "model.block", short="block"),
    Column("curve", "curve", "curve", give_up=6),
    Column("test", "test %", "sample"),
    *(Column(f"figure{rank}", f"figure {rank}", "sample", give_up=rank) for rank in range(5)),
    Column("n", "n", "number"),
    Column("status", "status"),
)


def table_of(arms: int, keys: int = 0) -> Table:
    figure = Cell("97.07 ± 0.12", sample=Sample(0.9707, 0.0012, 3))
    figures = {f"figure{rank}": figure for rank in range(5)} | {
        "test": figure,
        "n": Cell("3", 3),
        "curve": Cell("▁" * 12),
    }
    more = tuple(Column(f"data.key{key}", f"data.key{key}") for key in range(keys))
    rows = tuple(
        {
            "name": Cell(f"mnist_mlp_bn_after_{arm}"),
            "model.block": Cell("linear -> bn(momentum=0.01) -> relu"),
            "status": Cell("2 finished, 1 diverged at step 12 in block1.linear"),
            **{column.key: Cell("0.12345678") for column in more},
            **figures,
        }
        for arm in range(arms)
    )
    return Table(
        (*COLUMNS[:2], *more, *COLUMNS[2:]), rows, ("a note of some words, which is wrapped where it must be",)
    )


def printed(table: Table, width: int, *, layout: TableLayout = "arms", color: bool = False) -> str:
    file = io.StringIO()
    console = Console(
        file=file, width=width, force_terminal=color, color_system="standard" if color else None, highlight=False
    )
    print_document(console, [replace(table, layout=layout)])
    return file.getvalue()


@settings(deadline=None)
@given(arms=st.integers(1, 8), keys=st.integers(0, 5), width=st.integers(60, 260))
def test_nothing_is_wider_than_the_terminal_and_no_number_is_cut(arms: int, keys: int, width: int) -> None:
    text = printed(table_of(arms, keys), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "…" not in text
    figures = re.findall(r"97\.07 ± 0\.12", text)
    assert len(figures) >= arms
    assert len(figures) == text.count("97.") == text.count("±") == text.count("0.12\n") + text.count("0.12 ")
    assert text.count("0.12345678") == arms * keys


def test_a_wide_terminal_has_one_line_an_arm() -> None:
    lines = printed(table_of(3), 260).splitlines()
    assert [line.split()[0] for line in lines[2:5]] == [f"mnist_mlp_bn_after_{arm}" for arm in range(3)]
    assert lines[2].count("97.07 ± 0.12") == 6
    assert "left out" not in "\n".join(lines)


def test_two_arms_stand_beside_each_other_with_every_figure() -> None:
    text = printed(table_of(2), 80)
    assert text.count("97.07 ± 0.12") == 2 * 6
    assert re.search(r"test % +97\.07 ± 0\.12 +97\.07 ± 0\.12", text)
    assert "left out" not in text


def test_many_arms_leave_out_the_lesser_columns_and_name_them() -> None:
    text = " ".join(printed(table_of(8), 80).split())
    assert text.count("97.07 ± 0.12") == 8
    assert "left out at this width: figure 0, figure 1, figure 2, figure 3, figure 4;" in text
    assert "curve test % n status" in text


def test_too_many_keys_give_several_pieces() -> None:
    text = printed(table_of(5, keys=5), 60)
    assert text.count("97.07 ± 0.12") == 5 * 6
    assert len(re.findall("^arm", text, re.MULTILINE)) > 1


def test_a_list_is_never_transposed() -> None:
    assert re.findall("^arm.*test %", printed(table_of(2), 80, layout="records"), re.MULTILINE)


def test_a_redundant_column_goes_without_a_word() -> None:
    columns = (Column("name", "arm"), Column("status", "status", give_up=-1, redundant=True))
    rows = (
        {"name": Cell("a" * 20), "status": Cell("3 finished")},
        {"name": Cell("b" * 20), "status": Cell("3 finished")},
    )
    text = printed(Table(columns, rows), 16, layout="records")
    assert "status" not in text
    assert "left out" not in text


def test_markup_in_a_name_is_only_a_name() -> None:
    rows = ({"name": Cell("[red]x[/red] :smile: \x1b[2J"), "n": Cell("[bold]3", 3)},)
    text = printed(
        Table((Column("name", "arm"), Column("n", "n", "number")), rows, ("[blink]note[/]",)), 100, color=True
    )
    assert "[red]x[/red] :smile: \\x1b[2J" in text
    assert "[bold]3" in text
    assert "[blink]note[/]" in text
    assert "\x1b[2J" not in text


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("linear -> bn -> relu", 13, ["linear -> bn", "-> relu"]),
        ("mnist_mlp_bn", 8, ["mnist_", "mlp_bn"]),
        ("val % best", 5, ["val %", "best"]),
        ("abcdef", 4, ["abcd", "ef"]),
        ("0.12", 4, ["0.12"]),
        ("", 4, [""]),
    ],
)
def test_where_words_are_broken(text: str, width: int, lines: list[str]) -> None:
    assert wrapped(text, width) == lines


@given(st.text(max_size=60), st.integers(2, 30))
def test_wrapping_keeps_every_character_and_the_width(text: str, width: int) -> None:
    text = " ".join(text.split())
    lines = wrapped(text, width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_bars_are_drawn_where_there_is_room_and_go_without_a_word() -> None:
    columns = (Column("layer", "layer"), Column("std", "std", "number"), Column("bar", "", "bar"))
    rows = tuple(
        {"layer": Cell(name), "std": Cell(str(std)), "bar": Cell("", std)} for name, std in (("a", 1.0), ("b", 100.0))
    )
    wide, narrow = (printed(Table(columns, rows), width, layout="records") for width in (30, 14))
    lengths = [line.count("█") for line in wide.splitlines()[2:]]
    assert lengths[0] == 1 < lengths[1]
    assert "█" not in narrow
    assert "left out" not in narrow
    assert max(map(cell_len, narrow.splitlines())) <= 14


def test_a_grouped_column_says_each_value_once_with_an_empty_line_between() -> None:
    columns = (Column("key", "key", grouped=True), Column("name", "name"))
    rows = tuple({"key": Cell(key), "name": Cell(name)} for key, name in ("xa", "xb", "yc"))
    lines = printed(Table(columns, rows), 40, layout="records").splitlines()
    assert [line.split() for line in lines[2:]] == [["x", "a"], ["b"], [], ["y", "c"]]


def test_wrapped_columns_of_records_share_the_room() -> None:
    columns = (Column("a", "a"), Column("b", "b"))
    rows = ({"a": Cell("word " * 30), "b": Cell("word " * 30)},)
    head = printed(Table(columns, rows), 60, layout="records").splitlines()[0]
    assert head.index("b") == pytest.approx(31, abs=2)
