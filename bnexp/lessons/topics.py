"""Every lesson by its name, in the order of reading, with the options that it takes. Torch is not loaded."""

import re
from dataclasses import dataclass
from typing import Literal

from bnexp.config.items import ACTIVATION_NAMES, NORM_NAMES
from bnexp.errors import ConfigError, nearest

Option = Literal["example", "input", "gamma", "beta", "eps", "momentum", "groups", "seed"]


@dataclass(frozen=True)
class Topic:
    """What a lesson answers, the options that it takes, and the other names by which it is found.

    Those are the norms that it teaches, as a config names them, and the words that people look for it by.
    """

    question: str
    options: frozenset[Option] = frozenset()
    names: tuple[str, ...] = ()


_MATRIX: frozenset[Option] = frozenset({"example", "input", "gamma", "beta", "eps"})
_DRAWN: frozenset[Option] = frozenset({"seed"})

TOPICS: dict[str, Topic] = {
    "batchnorm": Topic(
        "What does it compute, forward, at inference and backward?",
        _MATRIX | {"momentum"},
        ("bn", "batch", "batch-normalization", "normalization", "norm", "backward", "gradient"),
    ),
    "training-vs-inference": Topic(
        "Why does the network compute something else once it is trained?",
        _DRAWN | {"momentum"},
        (
            *("training", "train", "inference", "eval", "evaluation", "train-vs-eval", "running", "running-mean"),
            *("running-var", "running-statistics", "momentum", "unbiased", "batch_renorm"),
        ),
    ),
    "folding": Topic(
        "What is left of it when the network is deployed?", _DRAWN, ("fold", "fusing", "fuse", "deploy", "deployment")
    ),
    "hand-written": Topic(
        "Does it train as well when it is written by hand, on real digits?",
        _DRAWN,
        ("by-hand", "hand", "from-scratch", "scratch", "manual", "digits", "mnist"),
    ),
    "bias": Topic(
        "Why is a bias lost before batch, but not before layer normalization?", _DRAWN, ("biases", "redundant-bias")
    ),
    "identity": Topic(
        "Can a network undo the normalization where it does harm?",
        _DRAWN,
        ("gamma", "beta", "affine", "scale", "undo", "linear-regime"),
    ),
    "coupling": Topic(
        "How does one example's output change with its companions in the batch?",
        _DRAWN,
        ("batch-size", "companions", "noise", "regularization", "leakage", "ghost_bn", "sync_bn"),
    ),
    "layernorm": Topic(
        "What changes when each example is normalized by itself?",
        _MATRIX,
        ("ln", "ln_c", "layer", "layer-normalization", "transformer"),
    ),
    "rmsnorm": Topic(
        "What is left of layer normalization without the mean?",
        _MATRIX - {"beta"},
        ("rms", "root-mean-square", "rms-normalization"),
    ),
    "groupnorm": Topic(
        "What lies between layer and instance normalization?",
        _MATRIX | {"groups"},
        ("gn", "group", "groups", "group-normalization"),
    ),
    "instancenorm": Topic(
        "What is forgotten when each channel of each image stands alone?",
        frozenset({"eps"}),
        ("in", "instance", "instance-normalization", "style", "style-transfer"),
    ),
    "saturation": Topic(
        "How does a badly initialized tanh layer die, and what mends it?",
        _DRAWN,
        (
            *(
                "tanh",
                "sigmoid",
                "init",
                "initialization",
                "dead-units",
                "dead-neurons",
                "vanishing",
                "vanishing-gradient",
            ),
            *("exploding", "exploding-gradient", "kaiming", "he", "xavier", "glorot"),
        ),
    ),
    "placement": Topic(
        "What does the next layer see: norm before, or after the activation?",
        _DRAWN,
        ("place", "position", "before-or-after", "order", "relu", "activation", "pre-activation", "pre-norm"),
    ),
    "whitening": Topic(
        "What do centering, standardizing and whitening do to a cloud?",
        _DRAWN,
        ("whiten", "pca", "zca", "preprocess", "preprocessing", "standardize", "center", "conditioning"),
    ),
    "shift": Topic(
        "Do the inputs of a layer move while the layers below it train?",
        _DRAWN,
        ("ics", "covariate-shift", "internal-covariate-shift", "noisy_bn"),
    ),
}


def _plain(name: str) -> str:
    """Return a name without case, hyphens, underscores and a number of dimensions: `BatchNorm1d` is batchnorm."""
    return re.sub(r"[-_\s]|[123]d$", "", name.lower())


def topic_named(name: str) -> str:
    """Return the topic of a name, however it is spelled: its own, or another of `Topic.names`.

    Raises:
        ConfigError: there is none; the nearest name is given, or where else a norm or an activation is explained.
    """
    spelled = {_plain(known): (known, topic) for topic, one in TOPICS.items() for known in (*one.names, topic)}
    plain = _plain(name)
    if plain not in spelled:
        near = nearest(plain, spelled)
        meant = ""
        if plain in map(_plain, (*NORM_NAMES, *ACTIVATION_NAMES)):
            meant = " `bnexp catalog` has a line on it."
        elif near:
            known, topic = spelled[near]
            meant = f' Did you mean "{known}"{"" if known == topic else f", of the lesson {topic}"}?'
        raise ConfigError(
            f'no lesson "{name}".{meant} Lessons: {", ".join(TOPICS)}; `bnexp explain` says what each answers'
        )
    return spelled[plain][1]
