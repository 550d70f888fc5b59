import csv
import io
import json
from xml.etree import ElementTree

import markdown
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bnexp.document.exports import to_csv, to_json, to_latex, to_markdown, to_plain
from bnexp.document.table import Cell, Column, Sample, Table, facts, number_table
from bnexp.document.values import Document, Heading, Text, TryIt
from bnexp.document.writing import readable

COLUMNS = (
    Column("name", "arm"),
    Column("test_accuracy", "test %", "sample"),
    Column("n", "n", "number"),
    Column("curve", "curve", "curve", audience="people"),
    Column("device", "device", audience="machines"),
)


def table_of(*names: str, notes: tuple[str, ...] = ()) -> Table:
    figures = {
        "test_accuracy": Cell("33.33 ± 1.00", sample=Sample(1 / 3, 0.01, 3)),
        "n": Cell("3", 3),
        "curve": Cell("▁█"),
        "device": Cell("cpu", "cpu"),
    }
    return Table(COLUMNS, tuple({"name": Cell(name, name), **figures} for name in names), notes)


def test_plain_is_one_aligned_line_a_row() -> None:
    assert to_plain([table_of("a", "longer", notes=("so it is",))]) == (
        "arm           test %  n  curve\na       33.33 ± 1.00  3  ▁█\nlonger  33.33 ± 1.00  3  ▁█\nnote: so it is\n"
    )


def test_wide_characters_stay_aligned() -> None:
    lines = to_plain([table_of("深層", "abcd")]).splitlines()
    assert lines[1].index("33.33") == lines[2].index("33.33") - 2


def test_csv_has_full_precision_and_units() -> None:
    (row,) = csv.DictReader(io.StringIO(to_csv(table_of("a"))))
    assert row == {
        "name": "a",
        "test_accuracy_mean": repr(1 / 3),
        "test_accuracy_std": "0.01",
        "test_accuracy_n": "3",
        "n": "3",
        "device": "cpu",
    }


def test_an_empty_sample_has_no_mean_in_csv_and_json() -> None:
    table = Table(COLUMNS, ({"name": Cell("a", "a")},))
    (row,) = csv.DictReader(io.StringIO(to_csv(table)))
    assert [row[f"test_accuracy_{key}"] for key in ("mean", "std", "n")] == ["", "", "0"]
    assert json.loads(to_json(table))["rows"][0]["test_accuracy"] == {"mean": None, "std": None, "n": 0}


def test_json_has_full_precision_and_notes() -> None:
    assert json.loads(to_json(table_of("a", notes=("so",)))) == {
        "rows": [{"name": "a", "test_accuracy": {"mean": 1 / 3, "std": 0.01, "n": 3}, "n": 3, "device": "cpu"}],
        "notes": ["so"],
    }


def test_markdown_escapes_what_would_end_a_cell() -> None:
    lines = to_markdown([table_of("a|b", notes=("x",))]).splitlines()
    assert lines[1] == "| --- | ---: | ---: | --- |"
    assert lines[2] == r"| a\|b | 33.33 ± 1.00 | 3 | ▁█ |"
    assert lines[-1] == "- x"


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1+1", "-1-1", "@SUM(A1)", "-x"])
def test_text_that_a_spreadsheet_would_run_comes_after_an_apostrophe(name: str) -> None:
    table = Table((Column("name", "arm"), Column(name, name)), ({"name": Cell(name, name), name: Cell("b", "b")},))
    header, row = csv.reader(io.StringIO(to_csv(table)))
    assert (header, row) == (["name", f"'{name}"], [f"'{name}", "b"])


@pytest.mark.parametrize("name", ["-1", "+0.5", "-1e-3", "a=b", "linear -> bn"])
def test_numbers_and_harmless_text_come_as_they_are_in_csv(name: str) -> None:
    (row,) = csv.DictReader(io.StringIO(to_csv(table_of(name))))
    assert row["name"] == name


def test_a_negative_figure_stays_a_number_in_csv() -> None:
    table = Table((Column("change", "change", "number"),), ({"change": Cell("-0.5", -0.5)},))
    assert to_csv(table) == "change\n-0.5\n"


READERS = {
    "markdown": lambda text: markdown.markdown(text, extensions=["tables"]),
    "markdown_it": lambda text: MarkdownIt("commonmark", {"html": True}).enable("table").render(text),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a|<img src=x>", "&lt;b>", "`<b>`", "[a](javascript:x)"])
def test_no_html_comes_through_markdown(reader: str, name: str) -> None:
    page = READERS[reader](to_markdown([table_of(name, notes=(name,))]))
    text = ElementTree.fromstring(f"<page>{page}</page>")
    tags = {element.tag for element in text.iter()}
    assert tags <= {"page", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    assert next(text.iter("td")).text == next(text.iter("li")).text == name


@given(st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_any_name_keeps_the_shape_of_every_output(names: list[str]) -> None:
    table = table_of(*names)
    for text in (to_plain([table]), to_markdown([table])):
        lines = text.removesuffix("\n").split("\n")
        assert len(lines) == len(names) + (1 if text == to_plain([table]) else 2)
        assert all(line.isprintable() for line in lines)
    assert len(list(csv.reader(io.StringIO(to_csv(table))))) == len(names) + 1
    assert [row["name"] for row in json.loads(to_json(table))["rows"]] == names


def test_a_text_without_end_is_cut_for_people_and_whole_for_machines() -> None:
    endless = "x" * 1_000_000
    assert readable(endless) == "x" * 997 + "..."
    assert readable("x" * 1000) == "x" * 1000
    table = table_of(endless, notes=(endless,))
    assert max(len(to_plain([table])), len(to_markdown([table]))) < 10_000
    assert endless in to_csv(table)
    assert json.loads(to_json(table))["rows"][0]["name"] == endless


DOCUMENT: Document = [
    Heading("a <title>", level=1),
    facts([("batches", "12 x 32"), ("data", "some")]),
    Text("of `x|y` | two", lead="warning"),
    Heading("next"),
    facts([("status", "done")], title="finished", least=8),
    number_table("key", "numbers", ["a"], [("row", [1 / 3])], ("a = 1/3",)),
    TryIt(["bnexp ls"], "look"),
]


def test_a_document_is_a_line_per_row_and_paragraph_in_a_pipe() -> None:
    assert to_plain(DOCUMENT).split("\n")[:6] == [
        "batches  12 x 32",
        "data     some",
        "warning: of `x|y` | two",
        "",
        "finished",
        "  status    done",
    ]


def test_a_document_in_markdown_keeps_code_and_escapes_the_rest() -> None:
    written = to_markdown(DOCUMENT)
    assert "# a &lt;title>\n" in written
    assert r"warning: of `x|y` \| two" in written
    assert "**numbers**" in written
    assert "| row | 0.3333 |" in written
    assert "```\nbnexp ls\n```" in written


def test_a_table_without_rows_is_written() -> None:
    assert to_plain([facts([])]) == ""
    assert to_plain([Table(COLUMNS, ())]) == "arm  test %  n  curve\n"


def test_latex_takes_every_letter_for_itself() -> None:
    table = table_of("[a_b] & 50 % of $x^2$", r"\input{x}~<y>|#", notes=("so\nit is",))
    lines = to_latex([Heading("left out", 1), table]).splitlines()
    assert lines[0] == r"% needs \usepackage{booktabs}"
    assert lines[1] == r"\begin{tabular}{lrr}"  # no curve, and nothing for machines
    assert lines[5] == r"{}[a\_b] \& 50 \% of \$x\textasciicircum{}2\$ & 33.33 $\pm$ 1.00 & 3 \\"
    assert lines[6].startswith(r"\textbackslash{}input\{x\}\textasciitilde{}\textless{}y\textgreater{}\textbar{}\# & ")
    assert lines[-1] == r"% so\nit is"


def test_json_has_further_tables_by_their_keys_and_the_notes_of_all() -> None:
    more = Table((Column("lr", "lr", "number"),), ({"lr": Cell("0.1", 0.1)},), ("of rates",), key="rates")
    both = json.loads(to_json(table_of("a", notes=("of arms",)), more, table_of("b")))
    assert both["rates"] == [{"lr": 0.1}]
    assert both["notes"] == ["of arms", "of rates"]
    assert [row["name"] for row in both["rows"]] == ["a"]


def test_statistics_of_a_sample_are_those_that_its_column_names() -> None:
    column = Column("x", "x", "sample", statistics=("mean", "low", "n", "p"))
    cell = Cell("1 [0, 2]", sample=Sample(1.0, 0.5, 3), more={"low": 0.0, "high": 2.0})
    table = Table((column,), ({"x": cell}, {}))
    assert json.loads(to_json(table))["rows"] == [
        {"x": {"mean": 1.0, "low": 0.0, "n": 3, "p": None}},
        {"x": {"mean": None, "low": None, "n": 0, "p": None}},
    ]
    assert to_csv(table) == "x_mean,x_low,x_n,x_p\n1.0,0.0,3,\n,,0,\n"
