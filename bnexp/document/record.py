"""A lesson for programs: every number by its key, in full precision, as strict JSON."""

import json

from bnexp.document.lesson import Lesson
from bnexp.files import finite_or_null


def to_json(lesson: Lesson) -> str:
    """Write a lesson's numbers, and the commands that test it."""
    return to_strict_json(
        {
            "topic": lesson.topic,
            "title": lesson.title,
            "numbers": lesson.numbers,
            "commands": list(lesson.experiment.commands),
        }
    )


def to_strict_json(value: object) -> str:
    """Write a value as indented JSON; a number that is not finite becomes null."""
    return json.dumps(finite_or_null(value), indent=2, allow_nan=False) + "\n"
