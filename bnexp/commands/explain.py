"""`bnexp explain`: a lesson with numbers computed before the reader's eyes."""

from pathlib import Path

from rich.console import Console

from bnexp.errors import BnexpError, ConfigError, visible
from bnexp.lessons.asking import Words, request_of
from bnexp.lessons.topics import TOPICS
from bnexp.output import write_out
from bnexp.store.atomic import write_text_atomically


def explain(topic: str | None, words: Words, *, json: bool = False, html: Path | None = None) -> None:
    """Print a lesson, or without a topic the list of all in the order of reading.

    Args:
        topic: the lesson.
        words: its options, as they were typed.
        json: every number in full precision, in place of the text.
        html: write a page to this file in place of the text; one that is there is replaced.

    Raises:
        ConfigError: no such lesson, an option that it does not take, numbers that cannot be taught on, or no place for
            the page.
        BnexpError: a file cannot be written, or the data of a lesson cannot be had.
    """
    if topic is None:
        _list(words, json, html)
        return
    request = request_of(topic, words)
    if html is not None and (html.is_dir() or not html.parent.is_dir()):
        raise ConfigError(f"--html {html}: expected a file in a folder that is there")

    # Only what computes pays for loading torch.
    from bnexp.lessons.registry import LESSONS
    from bnexp.lessons.views.record import to_json
    from bnexp.lessons.views.terminal import print_lesson, to_text

    lesson = LESSONS[topic](request)
    if html is not None:
        from bnexp.lessons.views.page import to_html

        try:
            write_text_atomically(html, to_html(lesson))
        except OSError as error:
            raise BnexpError(f"{html}: {error.strerror}") from None
    if json:
        write_out(to_json(lesson))
    elif html is not None:
        write_out(f"{visible(str(html))}: written; a browser opens it, without any other file\n")
    else:
        console = Console(highlight=False)
        if console.is_terminal:
            print_lesson(console, lesson)
        else:
            write_out(to_text(lesson))


def _list(words: Words, json: bool, html: Path | None) -> None:
    from bnexp.lessons.views.record import topics_to_json

    if words != Words() or html is not None:
        raise ConfigError("expected a lesson with these options, such as `bnexp explain batchnorm`")
    if json:
        write_out(topics_to_json())
        return
    width = max(map(len, TOPICS))
    lines = [
        f"{number:>2}  {name:<{width}}  {topic.question}" for number, (name, topic) in enumerate(TOPICS.items(), 1)
    ]
    write_out("\n".join(["The lessons of `bnexp explain TOPIC`, in the order of reading:", "", *lines, ""]))
