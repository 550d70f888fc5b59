"""A lesson written as text: each form of a line, and what has no place."""

import pytest

from bnexp.document.table import number_table
from bnexp.document.values import Heading, Text
from bnexp.lessons.prose import compose_page

PAGE = """
# topic: what it is about

Of {source}, {ratio:.1f}
over two lines.
?few Only {count}.
?!few Many.
? That is all.

## 1. A table
[x] [against]
?few Nothing but this.

## Test it
bnexp train demo \
--name run
Look at
the curve.
"""
X = number_table("x", "input", ("a",), [("row", (1.0,))])


def test_a_page_is_title_headings_tables_paragraphs_and_commands() -> None:
    lesson = compose_page(
        PAGE, [X], source="a file", ratio=2.0, count=3, few=True, against=Text("Close.", {"apart": 0.0})
    )
    assert (lesson.topic, lesson.title) == ("topic", "what it is about")
    assert list(lesson.parts) == [
        Text("Of a file, 2.0 over two lines. Only 3. That is all.", {"ratio": 2.0, "count": 3}),
        Heading("1. A table"),
        X,
        Text("Close.", {"apart": 0.0}),
        Text("Nothing but this."),
    ]
    assert list(lesson.experiment.commands) == ["bnexp train demo --name run"]
    assert lesson.experiment.look_for == "Look at the curve."


def test_a_paragraph_without_sentences_is_left_out_and_its_numbers_are_kept() -> None:
    lesson = compose_page(PAGE, [X], source="a file", ratio=2.0, count=3, few=False, against=Text(""))
    assert lesson.parts[0] == Text("Of a file, 2.0 over two lines. Many. That is all.", {"ratio": 2.0, "count": 3})
    assert Text("") == lesson.parts[-1]  # the one that was placed
    assert lesson.numbers["count"] == 3


def test_a_part_without_a_place_is_refused() -> None:
    other = number_table("other", "input", ("a",), [("row", (1.0,))])
    with pytest.raises(ValueError, match="no place in the text for other"):
        compose_page(PAGE, [X, other], source="a file", ratio=2.0, count=3, few=True, against=Text(""))


@pytest.mark.parametrize("missing", ["few", "ratio", "against"])
def test_a_name_without_a_value_is_an_error(missing: str) -> None:
    values = {"source": "a file", "ratio": 2.0, "count": 3, "few": True, "against": Text("")}
    del values[missing]
    with pytest.raises(KeyError, match=missing):
        compose_page(PAGE, [X], **values)


@pytest.mark.parametrize(("few", "headings"), [(True, ["1. Few", "2. All"]), (False, ["2. All"])])
def test_a_section_below_a_condition_is_said_or_not_as_a_whole(few: bool, headings: list[str]) -> None:
    page = "# topic: title\n\nFirst.\n\n?few ## 1. Few\n[x]\nOf {few_only}.\n\nMore.\n\n## 2. All\nLast.\n\n"
    page += "## Test it\nbnexp check\n"
    parts, values = ([X], {"few_only": "these"}) if few else ([], {})
    lesson = compose_page(page, parts, few=few, **values)
    assert [part.text for part in lesson.parts if isinstance(part, Heading)] == headings
    texts = [part.text for part in lesson.parts if isinstance(part, Text)]
    assert texts == ["First.", *(["Of these.", "More."] if few else []), "Last."]
