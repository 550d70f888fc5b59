"""Dropout that draws from a stream of its own."""

from torch import Tensor, nn

from bnexp.norms.random_stream import RandomStream


class Dropout(nn.Module):
    """Set units to zero with probability p in training, and divide the rest by 1 - p; the identity at inference.

        y = x * m / (1 - p),  m ~ Bernoulli(1 - p), drawn anew for each unit of each example

    torch's own module draws from the one global stream, so that anything else that draws moves its masks. This one has
    a generator for its place in the network: two arms that differ only in normalization drop the same units.

    Shape: Any, kept.
    Source: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html
    """

    def __init__(self, p: float, seed: int) -> None:
        super().__init__()
        self.p = p
        self.stream = RandomStream(seed)

    def forward(self, x: Tensor) -> Tensor:
        """Drop units of x in training."""
        if not self.training or self.p == 0:
            return x
        # Filled in the order of indices, not of memory: the same mask whatever the memory format of x.
        mask = self.stream.fill(x, lambda empty, generator: empty.bernoulli_(1 - self.p, generator=generator))
        return x * mask / (1 - self.p)  # bf16 would round a mask of 1 / (1 - p), and every unit with it

    def get_extra_state(self) -> Tensor | None:
        """Return the state of the stream, so that a state dict holds it; None before the first draw."""
        return self.stream.get_state()

    def set_extra_state(self, state: Tensor | None) -> None:
        """Continue the stream where `state` was taken; None starts it from its seed."""
        self.stream.set_state(state)

    def extra_repr(self) -> str:
        """Return what `print` shows in the parentheses."""
        return f"p={self.p}"
