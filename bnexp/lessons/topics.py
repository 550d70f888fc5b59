"""Every lesson by its name, in the order of reading, and what it can be asked to teach on. Torch is not loaded."""

from dataclasses import dataclass
from typing import Literal

Option = Literal["example", "input", "gamma", "beta", "eps", "momentum", "groups", "seed", "data_dir"]


@dataclass(frozen=True)
class Topic:
    """What a lesson answers, and the options that it takes."""

    question: str
    options: frozenset[Option] = frozenset()


_DRAWN: frozenset[Option] = frozenset({"seed"})
_MATRIX: frozenset[Option] = frozenset({"example", "input", "gamma", "beta", "eps"})
TOPICS: dict[str, Topic] = {
    "batchnorm": Topic("What does it compute, forward, at inference and backward?", _MATRIX | {"momentum"}),
    "saturation": Topic("How does a badly initialized tanh layer die, and what mends it?", _DRAWN),
    "placement": Topic("What does the next layer see: norm before, or after the activation?", _DRAWN),
    "shift": Topic("Do the inputs of a layer move while the layers below it train?", _DRAWN),
}
