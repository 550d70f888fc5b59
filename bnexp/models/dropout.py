"""Dropout that draws from a stream of its own."""

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """Set units to zero with probability p in training, and divide the rest by 1 - p; the identity at inference.

        y = x * m / (1 - p),  m ~ Bernoulli(1 - p), drawn anew for each unit of each example

    torch's own module draws from the one global stream, so that anything else that draws moves its masks. This one has
    a generator for its place in the network: two arms that differ only in normalization drop the same units.

    Args:
        p: probability of zero, 0 <= p < 1.
        seed: seed of its stream.

    Shape:
        Any, kept.

    Source: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html
    """

    def __init__(self, p: float, seed: int) -> None:
        super().__init__()
        self.p = p
        self.seed = seed
        self._generator: torch.Generator | None = None  # made on the device of the first input
        self._state: Tensor | None = None  # where a loaded stream goes on

    def forward(self, x: Tensor) -> Tensor:
        """Drop units of x in training."""
        if not self.training or self.p == 0:
            return x
        kept = torch.empty_like(x).bernoulli_(1 - self.p, generator=self._generator_on(x.device))
        return x * kept.div_(1 - self.p)

    def _generator_on(self, device: torch.device) -> torch.Generator:
        if self._generator is None or self._generator.device != device:
            self._generator = torch.Generator(device).manual_seed(self.seed)
            if self._state is not None:
                self._generator.set_state(self._state)
                self._state = None
        return self._generator

    def get_extra_state(self) -> Tensor | None:
        """Return the state of the stream, so that a state dict holds it; None before the first draw."""
        return self._generator.get_state() if self._generator is not None else self._state

    def set_extra_state(self, state: Tensor | None) -> None:
        """Continue the stream where `state` was taken; None starts it from its seed."""
        self._generator, self._state = None, None if state is None else state.cpu()

    def extra_repr(self) -> str:
        """Return what `print` shows in the parentheses."""
        return f"p={self.p}"
