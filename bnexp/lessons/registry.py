"""Every lesson by its topic."""

from collections.abc import Callable

from bnexp.lessons import batch_norm, placement, saturation, shift
from bnexp.lessons.lesson import Lesson
from bnexp.lessons.request import Request

LESSONS: dict[str, Callable[[Request], Lesson]] = {
    "batchnorm": batch_norm.lesson,
    "saturation": saturation.lesson,
    "placement": placement.lesson,
    "shift": shift.lesson,
}
