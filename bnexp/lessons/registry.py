"""Every lesson by its topic."""

from collections.abc import Callable

from bnexp.lessons import batch_norm, bias, coupling, identity, training_vs_inference
from bnexp.lessons.lesson import Lesson
from bnexp.lessons.request import Request

LESSONS: dict[str, Callable[[Request], Lesson]] = {
    "batchnorm": batch_norm.lesson,
    "training-vs-inference": training_vs_inference.lesson,
    "bias": bias.lesson,
    "identity": identity.lesson,
    "coupling": coupling.lesson,
}
