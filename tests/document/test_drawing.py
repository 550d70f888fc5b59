"""Pictures in letters: regions stand side by side where they fit, each under its name, and no letter is lost."""

from bnexp.document.figure import Regions
from bnexp.document.terminal_figure import figure_lines, region_colors

ROWS = [("image 1", ["A", "A", "B"]), ("image 2", ["C", "C", "D"])]
PICTURE = Regions("regions", "equal letters", [("one", ROWS), ("another one", ROWS)], {"one": 2, "another one": 2})


def drawn(picture: Regions, width: int) -> list[str]:
    return [line.plain for line in figure_lines(picture, width)]


def test_blocks_stand_side_by_side_under_their_names() -> None:
    assert drawn(PICTURE, 100) == [
        "          one     another one",
        "image 1   A A B   A A B",
        "image 2   C C D   C C D",
    ]


def test_where_they_do_not_fit_they_stand_one_below_the_other() -> None:
    lines = drawn(PICTURE, 25)
    assert max(map(len, lines)) <= 25
    assert [line.strip() for line in lines if "A" not in line and "C" not in line] == ["one", "another one"]
    assert "".join(lines).count("A A B") == "".join(drawn(PICTURE, 100)).count("A A B") == 2


def test_equal_letters_have_one_color_and_neighbors_differ() -> None:
    colors = region_colors(PICTURE)
    assert list(colors) == ["A", "B", "C", "D"]
    assert len(set(colors.values())) == 4
    line = list(figure_lines(PICTURE, 100))[1]
    styles = [str(span.style) for span in line.spans if line.plain[span.start] == "A"]
    assert styles == [colors["A"]] * 4
