"""Keeps what steps change, on its device, and puts it back: for steps that are taken ahead, or recorded and tried."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from bnexp.measure.restore import put_random_states, put_torch_states, random_states, streams_of, torch_states
from bnexp.norms.random_stream import RandomStream
from bnexp.training.build import TrainingRun


class Kept(Protocol):
    """Keeps what steps change, and puts it back."""

    def keep(self) -> None:
        """Keep it as it is now."""

    def put_back(self) -> None:
        """Let it be as it was kept, bit for bit."""

    def tensors(self) -> list[Tensor]:
        """Return all tensors that the steps write into."""

    def forget(self) -> None:
        """Give the memory of the copies back."""


class KeptState:
    """Keeps what the steps of a run change, on its device, and where its random streams stand."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        # Listed once: to walk through the modules takes longer than to copy what they have.
        self._of_network = [*run.network.parameters(), *run.network.buffers()]
        self._streams = streams_of(run.network)
        # bnexp's own steps draw from torch alone.
        own = run.has_own_code
        self._random, self._put_random = (random_states, put_random_states) if own else (torch_states, put_torch_states)
        self._copies: list[Tensor] = []
        self._host: dict[str, Any] = {}

    @torch.no_grad()
    def keep(self) -> None:
        """Keep it as it is now."""
        tensors, average = self.tensors(), self._run.train_step.average
        if len(self._copies) != len(tensors):
            self._copies = [torch.empty_like(tensor) for tensor in tensors]
        copy_all(self._copies, tensors)
        self._host = {
            "random": self._random(self._run.device),
            "streams": {name: stream.get_state() for name, stream in self._streams.items()},
            "averaged": average.steps if average is not None else 0,
        }

    @torch.no_grad()
    def put_back(self) -> None:
        """Let it be as it was kept, bit for bit."""
        copy_all(self.tensors(), self._copies)
        self._put_random(self._host["random"], self._run.device)
        for name, stream in self._streams.items():
            stream.set_state(self._host["streams"][name])
        if (average := self._run.train_step.average) is not None:
            average.steps = self._host["averaged"]

    def tensors(self) -> list[Tensor]:
        """Return all tensors that steps write into: weights, buffers, optimizer, loss scaling, averages."""
        step = self._run.train_step
        optimizer = [value for state in step.optimizer.state.values() for value in state.values() if value is not None]
        averages = step.average.weights if step.average is not None else []
        return [*self._of_network, *optimizer, *step.scaler.tensors, *averages]

    def forget(self) -> None:
        """Give the memory of the copies back."""
        self._copies = []

    @property
    def streams(self) -> list[RandomStream]:
        """The random streams that the steps draw from."""
        return list(self._streams.values())


@dataclass(frozen=True)
class KeptTogether:
    """Keeps what the steps of several runs change."""

    states: Sequence[KeptState]

    def keep(self) -> None:
        """Keep it as it is now."""
        for state in self.states:
            state.keep()

    def put_back(self) -> None:
        """Let it be as it was kept, bit for bit."""
        for state in self.states:
            state.put_back()

    def forget(self) -> None:
        """Give the memory of the copies back."""
        for state in self.states:
            state.forget()

    def tensors(self) -> list[Tensor]:
        """Return all tensors that the steps write into."""
        return [tensor for state in self.states for tensor in state.tensors()]


def copy_all(to: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Copy values into tensors, those of a kind in one go."""
    for dtype in dict.fromkeys(value.dtype for value in values):
        pairs = [pair for pair in zip(to, values, strict=True) if pair[1].dtype == dtype]
        torch._foreach_copy_([into for into, _ in pairs], [value for _, value in pairs])
