"""What holds of every lesson: it fits, says no number that it did not compute, and ends with commands that run."""

import base64
import hashlib
import io
import json
import math
import re
import shlex
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from rich.console import Console

from bnexp.blueprint import draw
from bnexp.config.loading import load_config
from bnexp.document.exports import to_json
from bnexp.document.figure import figure_styles
from bnexp.document.mathml import formula_lines, to_mathml
from bnexp.document.page import to_html
from bnexp.document.table import Table
from bnexp.document.terminal import command_lines, print_document, to_text
from bnexp.document.values import Heading, Lesson, Play, Text
from bnexp.lessons.registry import LESSONS
from bnexp.lessons.request import LessonOptions, request_of
from bnexp.lessons.topics import TOPICS

DOCUMENT = Path(__file__).parents[2] / "bnexp" / "document"

LONG = pytest.mark.long
_TAUGHT: dict[str, Lesson] = {}


@pytest.fixture(params=TOPICS)
def lesson(request: pytest.FixtureRequest) -> Lesson:
    """Each lesson as it is taught without options, computed once."""
    return taught(request.param)


def taught(topic: str) -> Lesson:
    if topic not in _TAUGHT:
        _TAUGHT[topic] = LESSONS[topic](request_of(topic, LessonOptions()))
    return _TAUGHT[topic]


@cache
def page_of(topic: str) -> str:
    return to_html(taught(topic))


def test_topics_are_the_lessons_in_one_order() -> None:
    assert list(TOPICS) == list(LESSONS)


def test_a_lesson_fits_a_page_of_100_columns_and_has_no_color_in_a_pipe(lesson: Lesson) -> None:
    lines = to_text(lesson).split("\n")
    assert max(map(len, lines)) <= 100
    assert "\x1b" not in "".join(lines)
    assert not [line for line in lines if line != line.rstrip()]


@pytest.mark.parametrize("width", [50, 100])
def test_commands_can_be_copied_to_a_shell_as_they_are_shown(lesson: Lesson, width: int) -> None:
    for command in lesson.experiment.commands:
        lines = list(command_lines(command, width))
        joined = "\n".join(lines).replace("\\\n", "")  # as a shell joins them
        assert shlex.split(joined) == shlex.split(command)
        assert all(len(line) <= width + 2 for line in lines) or width == 50


@pytest.mark.parametrize("width", [pytest.param(40, marks=LONG), pytest.param(60, marks=LONG), 79])
def test_in_a_narrow_terminal_lines_fit_and_no_number_is_lost(lesson: Lesson, width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=False, highlight=False)
    print_document(console, lesson)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert [line for line in text.split("\n") if len(line) > width and line.strip().count(" --") > 1] == []
    assert [line for line in text.split("\n") if len(line) > width and "bnexp" not in line and "--" not in line] == []
    narrow, wide = (set(decimals(one)) for one in (text, to_text(lesson)))
    assert wide - narrow == set()


def decimals(text: str) -> Iterator[str]:
    """Yield the numbers with decimals of a text, but for how far the axes of a scatter reach."""
    shown = "\n".join(line for line in text.split("\n") if "each axis" not in line)
    # A word broken at the end of a line goes on in the next one; numbers are never broken.
    yield from re.findall(r"(?<![\w.])-?\d+\.\d+(?:e[+-]\d+)?%?", shown)


def numbers_in(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from numbers_in(one)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)
    elif isinstance(value, str):
        yield from (float(word) for word in re.findall(r"-?\d+\.\d+", value))


def shows(word: str, value: float) -> bool:
    """Tell whether a word is a value, rounded to the word's digits."""
    number, exponent, _ = word.rstrip("%").partition("e")
    digits = len(number.partition(".")[2])
    value = 100 * value if word.endswith("%") else value
    written = f"{value:.{digits}{'e' if exponent else 'f'}}"
    return float(written) == float(word.rstrip("%"))


def unknown_numbers(lesson: Lesson) -> list[str]:
    """Return what a lesson shows and did not compute."""
    known = list(numbers_in(json.loads(to_json(lesson))))
    text = to_text(lesson).partition("\nTest it\n")[0]
    return [word for word in dict.fromkeys(decimals(text)) if not any(shows(word, value) for value in known)]


def test_every_number_shown_was_computed_and_is_in_the_json(lesson: Lesson) -> None:
    assert unknown_numbers(lesson) == []


def test_json_is_strict_and_no_key_is_there_twice(lesson: Lesson) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    written = json.loads(to_json(lesson), parse_constant=refuse)
    assert written["topic"] == lesson.topic
    keys = [key for part in lesson.parts for key in part.numbers]
    assert sorted(keys) == sorted(set(keys)) == sorted(written["numbers"])
    assert keys
    assert all(math.isfinite(value) for value in numbers_in(written))


class Page(HTMLParser):
    """Collects tags, attributes and text, and holds that tags are closed in order."""

    VOID = frozenset({"meta", "link", "br", "path", "use", "rect", "circle", "line"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag == "math":
            self.words.append(str(dict(attrs)["alttext"]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.scripts.append(data)
        elif not {"style", "math"} & {*self.open}:
            self.words.append(data)


def test_the_page_is_whole_runs_its_one_script_and_asks_nobody(lesson: Lesson) -> None:
    page = Page(page_of(lesson.topic))
    assert page.open == []
    assert not {"iframe", "img", "object"} & page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "src"]
    played = [part.kind for part in lesson.parts if isinstance(part, Play)]
    names = ["page.js", *(["play.js"] if played else []), *(f"play_{kind}.js" for kind in played)]
    assert "".join(page.scripts) == "".join((DOCUMENT / name).read_text() for name in names)
    links = [str(value) for name, value in page.attributes if name.endswith("href")]
    assert not [value for value in links if not value.startswith("#") and value != "data:,"]
    policies = [str(value) for name, value in page.attributes if name == "content" and "script-src" in str(value)]
    digest = base64.b64encode(hashlib.sha256("".join(page.scripts).encode()).digest()).decode()
    assert policies == [f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:"]
    text = " ".join("".join(page.words).split())
    for part in lesson.parts:
        if isinstance(part, Text):
            assert " ".join(part.text.replace("`", "").split()) in text


def test_every_formula_is_set_as_mathematics(lesson: Lesson) -> None:
    for part in lesson.parts:
        if isinstance(part, Text):
            assert all(to_mathml(formula).startswith("<math") for formula in part.formulas)
        elif isinstance(part, Table):
            words = [re.sub(r"<math.*?</math>|<code>.*?</code>", "", line) for line in formula_lines(part.formula)]
            assert [line for line in words if re.search(r"[=^/\[]|sqrt|eps", line)] == []


def test_a_color_is_one_arm_and_an_arm_one_color_through_a_page(lesson: Lesson) -> None:
    shown = {
        (re.sub(r", \d+ %$", "", name), style.color)
        for styles in figure_styles(lesson.parts).values()
        for name, style in styles.items()
    }
    assert len({name for name, _ in shown}) == len({color for _, color in shown}) == len(shown)


def test_every_figure_and_table_of_a_page_has_an_identifier_of_its_own(lesson: Lesson) -> None:
    html = page_of(lesson.topic)
    identifiers = re.findall(r' id="([^"]+)"', html)
    assert len(identifiers) == len(set(identifiers))
    assert {part.key for part in lesson.parts if not isinstance(part, Text | Heading)} <= {*identifiers}
    assert "<figure>" not in html


def test_a_lesson_taught_twice_is_the_same(lesson: Lesson) -> None:
    torch.manual_seed(12345)  # whatever was drawn before
    torch.rand(7)
    state = torch.get_rng_state()
    again = LESSONS[lesson.topic](request_of(lesson.topic, LessonOptions()))
    assert again == lesson
    assert torch.equal(torch.get_rng_state(), state)  # a lesson draws from a generator of its own


@pytest.mark.parametrize("topic", ["placement", "whitening", "instancenorm"])
def test_a_page_made_twice_is_the_same(topic: str) -> None:
    assert page_of(topic) == to_html(taught(topic))


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=LONG)])
@pytest.mark.parametrize("topic", [name for name, one in TOPICS.items() if "seed" in one.options])
def test_other_seeds_give_other_numbers_which_fit_the_page_and_are_in_the_json(topic: str, seed: int) -> None:
    other = LESSONS[topic](request_of(topic, LessonOptions(seed=seed)))
    assert max(map(len, to_text(other).split("\n"))) <= 100
    assert other.numbers != taught(topic).numbers
    assert unknown_numbers(other) == []


def test_the_commands_at_the_end_can_be_run(lesson: Lesson) -> None:
    assert lesson.experiment.look_for
    arms: set[str] = set()
    for command in lesson.experiment.commands:
        program, verb, *words = shlex.split(command)
        assert program == "bnexp"
        given = {flag: [words[at + 1] for at, word in enumerate(words) if word == flag] for flag in ("--set", "--name")}
        if verb in ("train", "check"):
            config = load_config(Path(words[0]), given["--set"])
            draw(config, Path("nowhere"))
            arms |= {*given["--name"]} or {config.name}
        elif verb == "compare":
            compared = {
                word for at, word in enumerate(words) if not word.startswith("-") and words[at - 1] != "--target"
            }
            assert compared <= arms
        else:
            assert verb in ("probe", "fold", "board", "explain")
