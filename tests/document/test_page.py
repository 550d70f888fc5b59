"""The page of a lesson: its pictures hold the same numbers as the terminal's."""

import re
from itertools import pairwise

import pytest

from bnexp.document.figure import Histogram, Lines, Regions, Scatter
from bnexp.document.page import to_html
from bnexp.document.svg import to_svg
from bnexp.document.table import Cell, Column, Sample, Table, number_table, word
from bnexp.document.values import Lesson, Part, TryIt, text

HISTOGRAM = Histogram("h", "shares", (-1.0, -0.99, 0.0, 1.0), {"one": (0.5, 0.25, 0.25), "other": (0.0, 0.0, 1.0)})
SCATTER = Scatter("s", "clouds", {"far": [(3.0, 4.0), (-1.0, 0.0)], "at the origin": [(0.0, 0.0)]})
LINES = Lines("l", "curves", "step", (0.0, 1.0, 2.0), {"up": (0.0, 1.0, 2.0), "nowhere": (0.0, float("nan"), 1.0)})
REGIONS = Regions("r", "areas", (("<block>", (("row 1", ("A", "B")), ("row 2", ("A", "B")))),), {"<block>": 2})


def page(*parts: Part) -> str:
    return to_html(Lesson("topic", "title", parts, TryIt(("bnexp train a.yaml --set b=1",), "look")))


@pytest.mark.parametrize("picture", [HISTOGRAM, SCATTER, LINES], ids=lambda one: type(one).__name__)
def test_a_picture_is_one_svg_with_its_names_as_text_and_the_same_each_time(picture: Histogram) -> None:
    svg = to_svg(picture)
    assert svg.startswith('<div class="at-page"><svg' if isinstance(picture, Lines) else "<svg")
    assert svg.count("<svg") == svg.count("</svg>") == 2  # two panels, or one in two sizes
    assert "metadata" not in svg
    names = {**getattr(picture, "series", {}), **getattr(picture, "clouds", {})}
    assert all(f">{name}</text>" in svg for name in names)
    assert to_svg(picture) == svg


def test_points_that_are_not_finite_are_left_out_of_a_cloud() -> None:
    for points in ([(float("nan"), 1.0), (2.0, 3.0)], [(float("inf"), 1.0)], []):
        svg = to_svg(Scatter("s", "cloud", {"odd": points}))
        assert "nan" not in svg.lower()
        assert "inf" not in svg.lower()


def test_pictures_of_one_page_share_no_identifier() -> None:
    found = re.findall(r'\bid="(m[0-9a-f]{8,}|p[0-9a-f]{8,})"', page(SCATTER, Scatter("t", "clouds", SCATTER.series)))
    assert len(found) == len(set(found)) > 0


def test_bins_of_a_histogram_are_alike_in_width_whatever_they_span() -> None:
    # A bin of 0.01 with half of the values beside one of 0.99: drawn to scale it would hardly be seen.
    outline = re.search(
        r'<path d="([^"]*?)" clip-path', to_svg(Histogram("h", "s", HISTOGRAM.edges, {"a": (1, 0.5, 0.2)}))
    )
    assert outline
    edges = sorted({round(float(x), 2) for x in re.findall(r"[ML] ([\d.]+) [\d.]+", outline[1])})
    widths = [right - left for left, right in pairwise(edges)]
    assert len(widths) == 3
    assert max(widths) == pytest.approx(min(widths), abs=0.02)


@pytest.mark.parametrize(("norm", "color"), [("none", "currentColor"), ("bn", "var(--blue)")])
def test_bars_in_a_color_that_a_dark_page_changes_change_with_it(norm: str, color: str) -> None:
    drawn = to_svg(Histogram("key", "title", (0.0, 1.0, 2.0), {norm: (0.5, 0.5)}))
    assert f'style="fill: {color}' in drawn
    assert not re.search("#000000|#0072b2", drawn), "no color of a light page is left"


def test_regions_are_colored_by_letter_and_their_names_are_text() -> None:
    html = page(REGIONS)
    assert "&lt;block&gt;" in html
    colors = dict(re.findall(r'<td style="background: (#\w+)">(\w)</td>', html))
    assert len(colors) == 2
    assert html.count(">A</td>") == html.count(">B</td>") == 2


def test_of_a_large_table_the_page_shows_what_the_terminal_does() -> None:
    cells = tuple((f"row {row}", tuple(float(row * 100 + column) for column in range(30))) for row in range(40))
    html = page(number_table("t", "large", tuple(f"c{column}" for column in range(30)), cells))
    assert "29 more rows" in html
    assert "14 more columns" in html
    assert html.count("<td") == 11 * 16 + 1


def test_long_commands_are_broken_for_a_shell() -> None:
    command = "bnexp train configs/demo.yaml" + " --set training.epochs=3" * 5
    html = to_html(Lesson("topic", "title", (), TryIt((command,), "look")))
    written = re.search(r"<pre>(.*?)</pre>", html, re.DOTALL)
    assert written
    assert " \\\n" in written[1]
    assert written[1].replace("\\\n", "").split() == command.split()


def test_a_figure_is_described_with_its_numbers_for_whoever_does_not_see_it() -> None:
    for figure, words in (
        (LINES, "up, step: 0: 0; 1: 1; 2: 2. nowhere, step: 0: 0; 2: 1."),
        (HISTOGRAM, "share (%): -1 to -0.99: 50 %; -0.99 to 0: 25 %; 0 to 1: 25 %."),
        (SCATTER, "(3, 4); (-1, 0)."),
    ):
        first = to_svg(figure).partition("</svg>")[0]
        assert 'role="img" aria-label="' in first
        assert f"{words}</desc>" in first


def test_cells_sort_by_their_values_and_headings_have_a_scope() -> None:
    columns = (Column("arm", "arm"), Column("score", "score %", "sample", descending=True))
    rows = ({"arm": word("bn"), "score": Cell("90.12 ± 0.30", sample=Sample(0.90123, 0.003, 3))}, {"arm": word("none")})
    html = to_html([Table(columns, rows, layout="arms")])
    assert '<th scope="col">arm</th><th scope="col" class="number" data-descending>score %</th>' in html
    assert '<th scope="row" class="short">bn</th>' in html
    assert '<td class="number" data-name="score %" data-value="0.90123">90.12 ± 0.30</td>' in html
    assert '<td class="number" data-name="score %" data-missing>-</td>' in html


def test_in_a_paragraph_code_formulas_and_powers_of_ten_are_marked_and_nothing_else() -> None:
    html = page(
        text(
            "`a < b` is {small:.1e}, not $x_hat$ < x_hats or $1 / B$ = 1 / Bs; exactly {none:.1e}", small=1e-5, none=0.0
        )
    )
    words = re.sub(r'<math alttext="(.*?)">.*?</math>', r"[\1]", html)
    assert (
        '<p><code>a &lt; b</code> is <span class="short">1.0e-05</span>, not [x_hat] &lt; x_hats or [1 / B] = 1 / Bs; '
        "exactly 0</p>"
    ) in words
