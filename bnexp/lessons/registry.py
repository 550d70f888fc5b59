"""Every lesson by its topic."""

from collections.abc import Callable

from bnexp.document.values import Lesson
from bnexp.lessons import (
    batch_norm,
    bias,
    coupling,
    folding,
    group_norm,
    hand_written,
    identity,
    instance_norm,
    layer_norm,
    placement,
    rms_norm,
    saturation,
    shift,
    training_vs_inference,
    whitening,
)
from bnexp.lessons.request import Request

LESSONS: dict[str, Callable[[Request], Lesson]] = {
    "batchnorm": batch_norm.lesson,
    "training-vs-inference": training_vs_inference.lesson,
    "folding": folding.lesson,
    "hand-written": hand_written.lesson,
    "bias": bias.lesson,
    "identity": identity.lesson,
    "coupling": coupling.lesson,
    "layernorm": layer_norm.lesson,
    "rmsnorm": rms_norm.lesson,
    "groupnorm": group_norm.lesson,
    "instancenorm": instance_norm.lesson,
    "saturation": saturation.lesson,
    "placement": placement.lesson,
    "whitening": whitening.lesson,
    "shift": shift.lesson,
}
