"""A stream of random numbers that belongs to one module."""

import torch
from torch import Tensor


class RandomStream:
    """A generator made on the device where it is first needed, whose state a state dict can hold.

    torch's modules draw from the one global stream, so that anything else that draws changes their numbers. With a
    stream for each place in the network, two arms that differ elsewhere draw the same.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._generator: torch.Generator | None = None
        self._state: Tensor | None = None  # of a loaded stream, until its device is known

    def on(self, device: torch.device) -> torch.Generator:
        """Return the generator, on this device."""
        if self._generator is None or self._generator.device != device:
            self._generator = torch.Generator(device).manual_seed(self.seed)
            if self._state is not None:
                self._generator.set_state(self._state)
                self._state = None
        return self._generator

    def get_state(self) -> Tensor | None:
        """Return where the stream stands; None before the first draw."""
        return self._generator.get_state() if self._generator is not None else self._state

    def set_state(self, state: Tensor | None) -> None:
        """Continue where a state was taken; None starts from the seed."""
        self._generator, self._state = None, None if state is None else state.cpu()

    def reseed(self, seed: int) -> None:
        """Start the stream of another seed."""
        self.seed, self._generator, self._state = seed, None, None
