"""`bnexp explain`: a lesson with numbers computed on the spot, or all of them as a site."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from textwrap import fill

from bnexp.document.exports import to_json, to_strict_json
from bnexp.document.show import figure_texts, page_file, show_document, terminal, write_files, write_out, write_page
from bnexp.document.values import Lesson
from bnexp.document.writing import counted
from bnexp.errors import ConfigError, visible
from bnexp.lessons.request import LessonOptions, request_of
from bnexp.lessons.topics import TOPICS, topic_named

_TITLE = "Normalization, in lessons with numbers"

_PAGE = 100
"""Columns of a list that goes into a pipe."""


def explain(
    topic: str | None,
    options: LessonOptions,
    *,
    json: bool = False,
    html: Path | None = None,
    figures: Path | None = None,
    all: bool = False,
) -> None:
    """Print a lesson, or without a topic the list of all in the order of reading.

    With `json` it is every number in full precision; with `html` a page is written to this file, with `figures` each
    figure into this folder, in place of the text. With `all`, `html` is a folder for the pages of all lessons.
    """
    for option, folder in (("--figures", figures), *([("--html", html)] if all else [])):
        if folder is not None and os.path.isfile(folder):
            raise ConfigError(f"{option} {folder}: expected a folder, found a file")
    if all:
        _all(topic, options, json=json, html=html, figures=figures)
        return
    if topic is None:
        _list(options, json=json, written=html or figures)
        return
    topic = topic_named(topic)
    request = request_of(topic, options)
    page = None if html is None else _place_of_page(html, topic, options)

    # Only what computes pays for loading torch.
    from bnexp.lessons.registry import LESSONS

    lesson = replace(LESSONS[topic](request), read=request.batch.read)
    reports = []
    if figures is not None:
        reports.append(_write_figures(figures, [lesson]))
    if page is not None:
        write_page(page, lesson, f"bnexp explain {lesson.topic}")
        reports.append(f"{visible(str(html))}: written; a browser opens it, without any other file\n")
    if json:
        write_out(to_json(lesson))
    elif reports:
        write_out("".join(reports))
    else:
        show_document(lesson)


def _all(topic: str | None, options: LessonOptions, *, json: bool, html: Path | None, figures: Path | None) -> None:
    """Write all lessons as pages that lead to each other, and their figures."""
    if topic is not None or options != LessonOptions() or json:
        raise ConfigError("--all: expected no lesson and no other option than --html DIR and --figures DIR")
    if html is None and figures is None:
        raise ConfigError("--all: expected --html DIR, a folder for the pages, or --figures DIR; or both")
    from bnexp.document.site import INDEX, Chapter, site_pages
    from bnexp.lessons.registry import LESSONS

    lessons = [LESSONS[name](request_of(name, options)) for name in TOPICS]
    reports = ""
    if html is not None:
        chapters = {one.topic: Chapter(one, TOPICS[one.topic].question) for one in lessons}
        write_files(html, site_pages(_TITLE, chapters, "bnexp explain --all --html DIR"), "--html")
        reports += f"{visible(str(html / INDEX))}: written, and {counted(len(lessons), 'lesson')} beside it\n"
    if figures is not None:
        reports += _write_figures(figures, lessons)
    write_out(reports)


def _write_figures(folder: Path, lessons: Iterable[Lesson]) -> str:
    """Write the figures of lessons, named by both, and return what to say of them."""
    files = [(f"{one.topic}-{key}.svg", text) for one in lessons for key, text in figure_texts(one.parts)]
    if not files:
        raise ConfigError("--figures: this lesson has tables, but no figure")
    write_files(folder, files, "--figures")
    return f"{visible(str(folder))}: {counted(len(files), 'figure')} written\n"


def _place_of_page(html: Path, topic: str, options: LessonOptions) -> Path:
    """Return the file that the page is moved to, which must not be the one that the lesson is computed on."""
    if os.path.isdir(html):  # which answers for a name that is too long, too
        raise ConfigError(
            f"--html {html}: a folder; expected a file, such as {html / topic}.html, or `bnexp explain --all --html "
            f"{html}` for every lesson"
        )
    page = page_file(html, "--html")
    try:
        if options.input is not None and options.input.exists() and page.exists() and page.samefile(options.input):
            raise ConfigError(f"--html {html}: that is the file of --input, which the page would replace")
    except OSError as error:
        raise ConfigError(f"--html {html}: {error.strerror}") from None
    return page


def _list(options: LessonOptions, *, json: bool, written: Path | None) -> None:
    if options != LessonOptions() or written is not None:
        raise ConfigError(
            "expected a lesson with these options, such as `bnexp explain batchnorm`"
            + ("; or --all, for a folder with every lesson" if written is not None else "")
        )
    if json:
        topics = [
            {"topic": name, "question": topic.question, "options": sorted(topic.options), "names": topic.names}
            for name, topic in TOPICS.items()
        ]
        write_out(to_strict_json(topics))
        return
    width = max(map(len, TOPICS))
    console = terminal()
    room = console.width if console else _PAGE
    lines = [
        fill(f"{number:>2}  {name:<{width}}  {TOPICS[name].question}", room, subsequent_indent=" " * (width + 6))
        for number, name in enumerate(TOPICS, start=1)
    ]
    below = "A norm or a word, such as ln or tanh, finds its lesson, too. --all --html DIR: all of them as pages."
    head = "The lessons of `bnexp explain TOPIC`, in the order of reading:"
    write_out("\n".join([fill(head, room), "", *lines, "", fill(below, room), ""]))
