"""Styles of series: by the name, the same in every figure of a document, and never twice in one figure."""

import colorsys

from hypothesis import given
from hypothesis import strategies as st

from bnexp.document.figure import STYLES, Histogram, Lines, Regions, Scatter, figure_styles, styles_of


def test_a_known_norm_has_its_style_whatever_stands_beside_it() -> None:
    for names in (["bn", "none"], ["none", "ln", "bn"], ["other", "none", "bn", "one more"]):
        styles = styles_of(names)
        assert list(styles) == names
        assert (styles["bn"], styles["none"]) == (styles_of(["bn"])["bn"], styles_of(["none"])["none"])
    assert styles_of(["bn, seed 1"])["bn, seed 1"] == styles_of(["bn"])["bn"]


@given(st.lists(st.sampled_from(["bn", "bn, 1", "none", "no norm", "ln", *"abcdefghijklmnopqrstuvwxyz"]), unique=True))
def test_no_two_series_of_a_figure_look_alike(names: list[str]) -> None:
    styles = styles_of(names)
    assert list(styles) == names
    assert len(set(styles.values())) == len(names)
    if len(names) <= len(STYLES):
        assert len({style.color for style in styles.values()}) == len(names)


def test_in_grey_each_style_has_dashes_a_marker_and_a_hatch_of_its_own() -> None:
    for attribute in ("dashes", "marker", "hatch"):
        assert len({getattr(style, attribute) for style in STYLES}) == len(STYLES)


def test_colors_are_dark_enough_for_white_paper() -> None:
    for style in STYLES:
        red, green, blue = (int(style.color[at : at + 2], 16) / 255 for at in (1, 3, 5))
        assert colorsys.rgb_to_hls(red, green, blue)[1] < 0.7


def test_a_name_keeps_its_style_in_later_figures_of_a_document() -> None:
    figures = [
        Lines("lines", "", "x", [0.0], {"a": [0.0], "b": [0.0]}),
        Regions("regions", "", [("bn", [("row", ["A"])])], {"bn": 1}),
        Histogram("histogram", "", [0.0, 1.0], {"c": [1.0], "b": [1.0]}),
        Scatter("scatter", "", {"b": [], "a": [], "c": []}),
    ]
    styles = figure_styles(figures)
    assert list(styles) == ["lines", "histogram", "scatter"]
    assert styles["histogram"]["b"] == styles["scatter"]["b"] == styles["lines"]["b"]
    assert styles["scatter"]["a"] == styles["lines"]["a"]
    assert styles["scatter"]["c"] not in (styles["lines"]["a"], styles["lines"]["b"])


def test_no_two_names_of_a_document_share_a_color_while_there_are_others() -> None:
    names = [["a", "b", "c"], ["b", "d"], ["e", "a", "bn"], ["f"]]
    figures = [Lines(f"figure {at}", "", "x", [0.0], {name: [0.0] for name in one}) for at, one in enumerate(names)]
    colors: dict[str, set[str]] = {}
    for styles in figure_styles(figures).values():
        for name, style in styles.items():
            colors.setdefault(name, set()).add(style.color)
    assert {len(of_one) for of_one in colors.values()} == {1}
    assert len({color for of_one in colors.values() for color in of_one}) == len(colors) == len(STYLES)


def test_percentiles_of_an_arm_share_its_color_and_differ_in_their_dashes() -> None:
    styles = styles_of(["none, 15 %", "none, 85 %", "bn, 15 %", "bn, 85 %"])
    low, high, other, _ = styles.values()
    assert low.color == high.color == styles_of(["none"])["none"].color != other.color
    assert low.dashes != high.dashes
    assert len(set(styles.values())) == 4
