"""Figures as files of their own: all panels of one in one file, the colors of the page on white, and its words."""

from xml.etree import ElementTree

import pytest

from bnexp.document.figure import Histogram, Lines, Regions, Scatter, figure_styles
from bnexp.document.svg_files import figure_files
from bnexp.document.values import Heading

SVG = "{http://www.w3.org/2000/svg}"
FIGURES = [
    Lines("lines", "curves of <a>", "step", (0.0, 1.0), {"a": (0.0, 1.0), "b": (1.0, 0.5)}),
    Histogram("histogram", "shares", (0.0, 0.5, 1.0), {"b": (0.25, 0.75), "a": (1.0, 0.0), "c": (0.5, 0.5)}),
    Scatter("scatter", "clouds", {"c": [(1.0, 2.0)]}),
    Regions("regions", "equal letters", (("bn", (("row 1", ("A", "B")), ("row 2", ("A", "B")))),), {"bn": 2}),
]


@pytest.fixture(scope="module")
def files() -> dict[str, ElementTree.Element]:
    return {key: ElementTree.fromstring(svg) for key, svg in figure_files([Heading("no figure"), *FIGURES])}


def test_each_figure_is_one_file_with_all_its_panels_and_the_words_of_its_title(files: dict) -> None:
    assert list(files) == [figure.key for figure in FIGURES]
    panels = {key: len(svg.findall(f"{SVG}svg")) for key, svg in files.items()}
    assert panels == {"lines": 1, "histogram": 3, "scatter": 1, "regions": 0}
    for figure in FIGURES:
        svg = files[figure.key]
        assert svg.findtext(f"{SVG}title") == figure.title
        assert svg.attrib["aria-labelledby"] == "title description"
        assert len(svg.findall(f".//{SVG}desc")) == 1
    said = files["histogram"].findtext(f"{SVG}desc") or ""
    assert said.startswith("b, share (%): 0 to 0.5: 25 %; 0.5 to 1: 75 %. a, share (%): 0 to 0.5: 100 %;")
    assert (files["scatter"].findtext(f"{SVG}desc") or "").startswith("c: (1, 2)")
    assert files["regions"].findtext(f"{SVG}desc") == "bn: row 1 A B; row 2 A B."


def test_a_file_needs_no_page_and_has_the_colors_of_one(files: dict) -> None:
    styles = figure_styles(FIGURES)
    for key, svg in files.items():
        text = ElementTree.tostring(svg, encoding="unicode")
        assert "currentColor" not in text
        assert "var(" not in text
        assert "data-plot" not in text
        for style in styles.get(key, {}).values():
            assert style.color in text


def test_panels_lie_beside_and_below_each_other_within_the_picture(files: dict) -> None:
    for svg in files.values():
        width, height = (float(side) for side in svg.attrib["viewBox"].split()[2:])
        boxes = [
            [float(panel.attrib[side]) for side in ("x", "y", "width", "height")] for panel in svg.findall(f"{SVG}svg")
        ]
        for number, (x, y, wide, high) in enumerate(boxes):
            assert x + wide <= width
            assert y + high <= height
            assert all(x >= ox + ow or ox >= x + wide or y >= oy + oh for ox, oy, ow, oh in boxes[:number])


def test_a_long_title_stands_in_several_lines_and_the_picture_is_not_wider_for_it() -> None:
    def drawn(title: str) -> ElementTree.Element:
        [(_, svg)] = figure_files([Scatter("scatter", title, {"a": [(1.0, 2.0)]})])
        return ElementTree.fromstring(svg)

    short, long = drawn("cloud"), drawn("one word after another " * 4)
    (_, _, wide, high), (_, _, as_wide, higher) = (map(float, svg.attrib["viewBox"].split()) for svg in (short, long))
    lines = [float(text.attrib["y"]) for text in long.findall(f"{SVG}text")]
    assert (wide, len(lines) > 1) == (as_wide, True)
    moved = float(long.find(f"{SVG}g").attrib["transform"].removeprefix("translate(0 ").removesuffix(")"))
    assert moved == higher - high == lines[-1] - lines[0]
