"""`bnexp explain`: a lesson with numbers computed on the spot."""

from dataclasses import replace
from pathlib import Path

from bnexp.document.exports import to_json, to_strict_json
from bnexp.document.show import page_file, show_document, write_out, write_page
from bnexp.errors import ConfigError, visible
from bnexp.lessons.request import LessonOptions, request_of
from bnexp.lessons.topics import TOPICS, topic_named


def explain(topic: str | None, options: LessonOptions, *, json: bool = False, html: Path | None = None) -> None:
    """Print a lesson, or without a topic the list of all in the order of reading.

    With `json` it is every number in full precision; with `html` a page is written to this file, in place of the text.
    """
    if topic is None:
        _list(options, json=json, html=html)
        return
    topic = topic_named(topic)
    request = request_of(topic, options)
    page = None if html is None else _place_of_page(html, options)

    # Only what computes pays for loading torch.
    from bnexp.lessons.registry import LESSONS

    lesson = replace(LESSONS[topic](request), read=request.batch.read)
    if page is not None:
        write_page(page, lesson, f"bnexp explain {lesson.topic}")
    if json:
        write_out(to_json(lesson))
    elif page is not None:
        write_out(f"{visible(str(html))}: written; a browser opens it, without any other file\n")
    else:
        show_document(lesson)


def _place_of_page(html: Path, options: LessonOptions) -> Path:
    """Return the file that the page is moved to, which must not be the one that the lesson is computed on."""
    page = page_file(html, "--html")
    try:
        if options.input is not None and options.input.exists() and page.exists() and page.samefile(options.input):
            raise ConfigError(f"--html {html}: that is the file of --input, which the page would replace")
    except OSError as error:
        raise ConfigError(f"--html {html}: {error.strerror}") from None
    return page


def _list(options: LessonOptions, *, json: bool, html: Path | None) -> None:
    if options != LessonOptions() or html is not None:
        raise ConfigError("expected a lesson with these options, such as `bnexp explain batchnorm`")
    if json:
        topics = [
            {"topic": name, "question": topic.question, "options": sorted(topic.options)}
            for name, topic in TOPICS.items()
        ]
        write_out(to_strict_json(topics))
        return
    width = max(map(len, TOPICS))
    lines = [f"{number:>2}  {name:<{width}}  {TOPICS[name].question}" for number, name in enumerate(TOPICS, start=1)]
    write_out("\n".join(["The lessons of `bnexp explain TOPIC`, in the order of reading:", "", *lines, ""]))
