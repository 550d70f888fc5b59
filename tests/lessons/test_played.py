"""What a reader moves: a page holds it, its first state stands before it, and who reads no page is told of it."""

import json
import re
from html import unescape

import pytest
import torch

from bnexp.document.exports import to_markdown
from bnexp.document.page import to_fragment, to_html
from bnexp.document.svg_files import figure_files
from bnexp.document.terminal import to_text
from bnexp.document.values import Heading, Play
from bnexp.lessons import saturation
from bnexp.lessons.played import MOST_BATCHES, MOST_EXAMPLES, batch_norm_play

PLAYS = {"batchnorm": batch_norm_play(), "saturation": saturation.play(saturation.draw(0))}


@pytest.fixture(params=PLAYS)
def play(request: pytest.FixtureRequest) -> Play:
    return PLAYS[request.param]


def test_a_page_holds_the_values_behind_the_figure_that_stands_for_them(play: Play) -> None:
    page = to_html([Heading("title", 1), play])
    section = re.search(r'</figure>\n<section id="play" class="play" data-play="([^"]*)" hidden></section>', page)
    assert section
    written = json.loads(unescape(section[1]))
    assert written["kind"] == play.kind
    assert written["values"] == json.loads(json.dumps(play.values))
    assert [control["name"] for control in written["controls"]] == [control.name for control in play.controls]
    assert page.count("<script") == 1
    assert f"PLAYED.{play.kind} = " in page
    assert "<section" not in to_fragment([play])
    assert [key for key, _ in figure_files([play])] == [play.still.key]


def test_a_control_begins_at_one_of_its_values_in_order(play: Play) -> None:
    for control in play.controls:
        assert control.start in control.values
        if not isinstance(control.start, str):
            assert list(control.values) == sorted(set(control.values))


def test_a_terminal_and_markdown_name_the_command_of_the_page(play: Play) -> None:
    for text in (to_text([play]), to_markdown([play])):
        words = " ".join(text.split())
        assert f"`bnexp explain {play.kind} --html {play.kind}.html` writes a page" in words
        assert all(control.label in words for control in play.controls)


def test_the_feature_has_the_mean_and_the_variance_that_are_said() -> None:
    draws = torch.tensor(PLAYS["batchnorm"].values["draws"], dtype=torch.float64)
    assert draws.shape == (MOST_BATCHES, MOST_EXAMPLES)
    error = (MOST_BATCHES * MOST_EXAMPLES) ** -0.5
    assert abs(draws.mean().item()) < 3 * error
    assert draws.var().item() == pytest.approx(1, abs=6 * error)
    assert (draws**3).mean().item() == pytest.approx(2**0.5, abs=0.5)  # its tail is to the right
