"""A lesson for programs: every number by its key, in full precision, as strict JSON."""

import json

from bnexp.lessons.lesson import Lesson
from bnexp.lessons.topics import TOPICS
from bnexp.store.run_folder import finite_or_null


def to_json(lesson: Lesson) -> str:
    """Write a lesson's numbers, and the commands that test it."""
    return _written(
        {
            "topic": lesson.topic,
            "title": lesson.title,
            "numbers": lesson.numbers,
            "commands": list(lesson.experiment.commands),
        }
    )


def topics_to_json() -> str:
    """Write the topics in the order of reading, each with its question and its options."""
    return _written(
        [
            {"topic": name, "question": topic.question, "options": sorted(topic.options)}
            for name, topic in TOPICS.items()
        ]
    )


def _written(value: object) -> str:
    return json.dumps(finite_or_null(value), indent=2, allow_nan=False) + "\n"
