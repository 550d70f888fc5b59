"""Every lesson by its name, in the order of reading, with the options that it takes. Torch is not loaded."""

import re
from dataclasses import dataclass
from typing import Literal

from bnexp.errors import ConfigError, did_you_mean

Option = Literal["example", "input", "gamma", "beta", "eps", "momentum", "groups", "seed"]


@dataclass(frozen=True)
class Topic:
    """What a lesson answers, and the options that it takes."""

    question: str
    options: frozenset[Option] = frozenset()


_MATRIX: frozenset[Option] = frozenset({"example", "input", "gamma", "beta", "eps"})
_DRAWN: frozenset[Option] = frozenset({"seed"})

TOPICS: dict[str, Topic] = {
    "batchnorm": Topic("What does it compute, forward, at inference and backward?", _MATRIX | {"momentum"}),
    "training-vs-inference": Topic(
        "Why does the network compute something else once it is trained?", _DRAWN | {"momentum"}
    ),
    "folding": Topic("What is left of it when the network is deployed?", _DRAWN),
    "hand-written": Topic("Does it train as well when it is written by hand, on real digits?", _DRAWN),
    "bias": Topic("Why is a bias lost before batch, but not before layer normalization?", _DRAWN),
    "identity": Topic("Can a network undo the normalization where it does harm?", _DRAWN),
    "coupling": Topic("How does one example's output change with its companions in the batch?", _DRAWN),
    "layernorm": Topic("What changes when each example is normalized by itself?", _MATRIX),
    "rmsnorm": Topic("What is left of layer normalization without the mean?", _MATRIX - {"beta"}),
    "groupnorm": Topic("What lies between layer and instance normalization?", _MATRIX | {"groups"}),
    "instancenorm": Topic("What is forgotten when each channel of each image stands alone?", frozenset({"eps"})),
    "saturation": Topic("How does a badly initialized tanh layer die, and what mends it?", _DRAWN),
    "placement": Topic("What does the next layer see: norm before, or after the activation?", _DRAWN),
    "whitening": Topic("What do centering, standardizing and whitening do to a cloud?", _DRAWN),
    "shift": Topic("Do the inputs of a layer move while the layers below it train?", _DRAWN),
}

ALIASES = {"bn": "batchnorm", "ln": "layernorm", "gn": "groupnorm", "in": "instancenorm", "rms": "rmsnorm"}
"""The names that norms have in a config."""


def _plain(name: str) -> str:
    """Return a name without case, hyphens, underscores and a number of dimensions: `BatchNorm1d` is batchnorm."""
    return re.sub(r"[-_\s]|[12]d$", "", name.lower())


def topic_named(name: str) -> str:
    """Return the topic of a name: a topic itself, or a norm as a config names it.

    Raises:
        ConfigError: there is none; the nearest is named.
    """
    spelled = {_plain(known): topic for known, topic in (*zip(TOPICS, TOPICS, strict=True), *ALIASES.items())}
    topic = spelled.get(_plain(name), name)
    if topic not in TOPICS:
        raise ConfigError(
            f'no lesson "{name}".{did_you_mean(name, TOPICS)} Lessons: {", ".join(TOPICS)}; '
            "`bnexp explain` says what each answers"
        )
    return topic
