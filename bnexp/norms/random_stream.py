"""A stream of random numbers that belongs to one module."""

from collections.abc import Callable

import torch
from torch import Tensor


class RandomStream:
    """A generator made on the device where it is first needed, whose state a state dict can hold.

    torch's modules draw from the one global stream, so that anything else that draws changes their numbers. With a
    stream for each place in the network, two arms that differ elsewhere draw the same.

    Where several processes divide a batch, `part` is where this one's begins and how many examples the whole has: each
    draws for all of them and keeps its own, so that the streams stay alike and the numbers are those of one process.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.part: tuple[int, int] | None = None
        self._generator: torch.Generator | None = None
        self._state: Tensor | None = None  # of a loaded stream, until its device is known

    @property
    def generator(self) -> torch.Generator | None:
        """The generator, once something was drawn."""
        return self._generator

    def on(self, device: torch.device) -> torch.Generator:
        """Return the generator, on this device."""
        if self._generator is None or self._generator.device != device:
            self._generator = torch.Generator(device).manual_seed(self.seed)
            if self._state is not None:
                self._generator.set_state(self._state)
                self._state = None
        return self._generator

    def fill(self, x: Tensor, draw: Callable[[Tensor, torch.Generator], Tensor]) -> Tensor:
        """Return a tensor like x, (B, ...), that `draw` has filled from the generator, in the order of its indices."""
        if self.part is None:
            return draw(x.new_empty(x.shape), self.on(x.device))
        first, examples = self.part
        return draw(x.new_empty(examples, *x.shape[1:]), self.on(x.device))[first : first + len(x)]

    def get_state(self) -> Tensor | None:
        """Return where the stream stands; None before the first draw."""
        return self._generator.get_state() if self._generator is not None else self._state

    def set_state(self, state: Tensor | None) -> None:
        """Continue where a state was taken; None starts from the seed."""
        if state is not None and self._generator is not None:
            self._generator.set_state(state.cpu())  # the same one: a CUDA graph knows the generators that it draws from
        else:
            self._generator, self._state = None, None if state is None else state.cpu()

    def reseed(self, seed: int) -> None:
        """Start the stream of another seed."""
        self.seed, self._generator, self._state = seed, None, None
