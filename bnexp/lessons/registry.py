"""Every lesson by its topic."""

from collections.abc import Callable

from bnexp.lessons import batch_norm, hand_written, whitening
from bnexp.lessons.lesson import Lesson
from bnexp.lessons.request import Request

LESSONS: dict[str, Callable[[Request], Lesson]] = {
    "batchnorm": batch_norm.lesson,
    "hand-written": hand_written.lesson,
    "whitening": whitening.lesson,
}
