import io
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from bnexp.document.table import Cell, Column, Sample, Table, TableLayout, sort_rows
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


_WORDS = st.sampled_from(
    ["bn", "normalization", "mnist_mlp_bn/seed0", "linear -> bn(momentum=0.01) -> relu", "96.13 ± 0.02 %", "x" * 40, ""]
)
_FIGURES = st.sampled_from(["97.07 ± 0.12", "335,882", "-1.25e-05", "318/3180", "-", "0.1234 (2 of 3)"])


@st.composite
def _tables(draw: st.DrawFn) -> Table:
    """Draw a table: the first column is of words, the second of numbers and never left out, the others of either."""
    numeric = [False, True, *draw(st.lists(st.booleans(), max_size=6))]
    whole = draw(st.booleans())
    ranks = [None, None, *draw(st.lists(st.none() | st.integers(0, 9), min_size=6, max_size=6))]
    columns = tuple(
        Column(f"key{place}", f"column {place}", "number" if number else "text", give_up=rank, whole=whole)
        for place, (number, rank) in enumerate(zip(numeric, ranks, strict=False))
    )
    rows = draw(st.lists(st.tuples(*(_FIGURES if number else _WORDS for number in numeric)), min_size=1, max_size=4))
    cells = tuple({f"key{place}": Cell(text) for place, text in enumerate(row)} for row in rows)
    return Table(columns, cells, ("a note on 1,234,567 examples in a_folder_of_a_long_name/seed0/metrics.jsonl",))


@settings(deadline=None, max_examples=40)
@given(_tables(), st.integers(30, 120), st.sampled_from(["records", "arms"]))
def test_no_line_is_too_wide_no_number_is_cut_and_what_is_left_out_is_named(
    table: Table, width: int, layout: TableLayout
) -> None:
    text = printed(table, width, layout=layout)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "1,234,567" in text
    named = " ".join(text.split()).rpartition("left out at this width: ")[2] if "left out at" in text else ""
    for column in table.columns:
        texts = [cell.text for row in table.rows if (cell := row[column.key]).text != "-"]
        if column.header in named:
            assert column.give_up is not None
        elif column.kind == "number":
            assert all(text.count(shown) >= texts.count(shown) for shown in texts)
        else:
            words = [word for shown in texts for word in re.split(r"[ _/=,]", shown)]
            assert all(word in text for word in words if len(word) < width // 3)


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
    assert "left out at this width: figure 0, figure 1, figure 2, figure 3, figure 4; a wider terminal" in text
    assert "curve test % n status" in text


def test_too_many_keys_give_several_pieces() -> None:
    text = printed(table_of(5, keys=5), 60)
    assert text.count("97.07 ± 0.12") == 5 * 6
    assert len(re.findall("^arm", text, re.MULTILINE)) > 1


def test_a_list_is_never_transposed() -> None:
    assert re.findall("^arm.*test %", printed(table_of(2), 80, layout="records"), re.MULTILINE)


def test_a_long_text_hangs_below_its_row_where_that_is_shorter() -> None:
    columns = (Column("name", "dataset"), Column("n", "n", "number"), Column("summary", "what it holds"))
    summary = Cell("handwritten Japanese, 60,000 + 10,000 (downloaded)")
    rows = tuple({"name": Cell(name), "n": Cell("10"), "summary": summary} for name in ("mnist", "kmnist", "qmnist"))
    narrow, wide = (printed(Table(columns, rows), width, layout="records").splitlines() for width in (26, 60))
    assert narrow[:2] == ["dataset   n", "    what it holds"]
    assert narrow[3:7] == ["mnist    10", "    handwritten Japanese,", "    60,000 + 10,000", "    (downloaded)"]
    assert wide[2] == "mnist    10  handwritten Japanese, 60,000 + 10,000"


def test_no_terminal_is_too_narrow_for_the_column_that_rows_are_sorted_by() -> None:
    table = table_of(8)
    sorted_by = next(column for column in table.columns if column.key == "figure0")
    text = " ".join(printed(sort_rows(table, sorted_by), 80).split())
    assert "left out at this width: curve, figure 1, figure 2, figure 3, figure 4;" in text
    assert text.count("97.07 ± 0.12") == 16


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_a_name_is_never_broken_and_a_long_one_stands_above_its_row(width: int) -> None:
    names = ["cnn_ln/seed0", "resnet_preact_bn_long_training/seed1", "mnist_mlp_bn/seed3"]
    columns = (
        Column("run", "run", whole=True),
        *(Column(f"figure{rank}", f"figure {rank}", "number", give_up=rank) for rank in range(9)),
        Column("started", "started", whole=True),
    )
    figures = {f"figure{rank}": Cell("97.07") for rank in range(9)}
    rows = tuple({"run": Cell(name), "started": Cell("11-18 12:00"), **figures} for name in names)
    lines = printed(Table(columns, rows), width, layout="records").splitlines()
    assert max(map(len, lines)) <= width
    assert [line.split()[0] for line in lines if "seed" in line] == names
    assert sum(line.endswith("11-18 12:00") for line in lines) == 3
    alone = [line for line in lines if line.endswith(("seed0", "seed1", "seed3"))]
    assert alone == {50: names[1:], 120: []}.get(width, [names[1]])


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
        ("a word of 60,000 examples", 9, ["a word of", "60,000", "examples"]),
        ("sync_bn(momentum, eps, affine)", 14, ["sync_", "bn(momentum,", "eps, affine)"]),
        ("lr=0.001,momentum=0.9", 9, ["lr=0.001,", "momentum=", "0.9"]),
        ("normalization1234.5", 8, ["normaliz", "ation", "1234.5"]),
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
