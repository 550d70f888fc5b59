"""Every lesson by its topic."""

from collections.abc import Callable

from bnexp.lessons import batch_norm, group_norm, hand_written, instance_norm, layer_norm, rms_norm, whitening
from bnexp.lessons.lesson import Lesson
from bnexp.lessons.request import Request

LESSONS: dict[str, Callable[[Request], Lesson]] = {
    "batchnorm": batch_norm.lesson,
    "hand-written": hand_written.lesson,
    "layernorm": layer_norm.lesson,
    "rmsnorm": rms_norm.lesson,
    "groupnorm": group_norm.lesson,
    "instancenorm": instance_norm.lesson,
    "whitening": whitening.lesson,
}
