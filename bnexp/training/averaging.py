"""`training.ema`: an exponential moving average of the weights, kept beside those that are trained."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bnexp.measure.restore import copies_of, put, restored


class WeightAverage:
    """Averages the parameters of a network over the steps of its optimizer, from the initial ones on.

        average <- d average + (1 - d) weights,  d = min(decay, (1 + t) / (10 + t)) at the t-th step

    With a small d the first steps forget the initial weights, of which a constant 0.999 would still hold 37% after a
    thousand steps. Running statistics are not averaged: in the place of its weights, those of the network remain.

    Source: Polyak & Juditsky 1992, https://doi.org/10.1137/0330046, for averaging; d as TensorFlow has it, with
    `num_updates`, https://www.tensorflow.org/api_docs/python/tf/train/ExponentialMovingAverage
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._names, self._parameters = zip(*network.named_parameters(), strict=True)
        self.decay, self.steps = decay, 0
        on_cuda = self._parameters[0].device.type == "cuda"
        # On the device, where a CUDA graph reads at each step what it is then.
        self.weight: float | Tensor = torch.zeros((), device=self._parameters[0].device) if on_cuda else 0.0
        self.weights = copies_of(self._parameters)
        self.best = copies_of(self._parameters)
        """The average at the step whose own weights did best on the validation part."""

    def update(self) -> None:
        """Take in the weights that a step has made."""
        self.weigh(self.count())
        self.take_in()

    def count(self) -> float:
        """Count a step, and return how much it weighs."""
        self.steps += 1
        return 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))

    def weigh(self, weight: float) -> None:
        """Set how much the weights of a step weigh that are taken in next."""
        if isinstance(self.weight, Tensor):
            self.weight.fill_(weight)
        else:
            self.weight = weight

    @torch.no_grad()
    def take_in(self) -> None:
        """Take in the weights of the step just taken."""
        if isinstance(self.weight, float):
            torch._foreach_lerp_(self.weights, self._parameters, self.weight)
            return
        for average, parameter in zip(self.weights, self._parameters, strict=True):
            average.lerp_(parameter, self.weight)

    def keep_best(self) -> None:
        """Keep the average as it is now as that of the best step."""
        put(self.best, self.weights)

    @contextlib.contextmanager
    def in_place(self, *, best: bool = False) -> Iterator[None]:
        """Let the network have the averaged weights until the context ends, those of now or of the best step."""
        with restored(self._parameters):
            put(self._parameters, self.best if best else self.weights)
            yield

    def state_dict(self) -> dict[str, Any]:
        """Return the steps taken in, and both averages by the names of the parameters."""
        averages = {"weights": self.weights, "best": self.best}
        return {
            "steps": self.steps,
            **{key: dict(zip(self._names, values, strict=True)) for key, values in averages.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from the averages of an earlier session."""
        self.steps = state["steps"]
        put(self.weights, [state["weights"][name] for name in self._names])
        put(self.best, [state["best"][name] for name in self._names])
