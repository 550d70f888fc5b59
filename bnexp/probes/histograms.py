"""Probe `histograms`: the distribution of activations and of gradients, for TensorBoard."""

from torch import Tensor

from bnexp.probes.probe import Items, Reading
from bnexp.probes.recorder import Recorder


class Histograms:
    """All values of each item's output and of each item's gradient.

        activation/<item>       the output, (B, ...)
        gradient/<item>         the gradient of the item's weight or gamma

    Args:
        every: steps between two looks; sparse by default, since histograms cost.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._recorder = Recorder()

    def before(self, items: Items) -> None:
        """Watch the coming forward pass."""
        self._recorder.start(items)

    def after(self, items: Items) -> Reading:
        """Hand over the values."""
        values: dict[str, Tensor] = {f"activation/{name}": output for name, output in self._recorder.stop().items()}
        for name, module in items.items():
            weight = getattr(module, "weight", None)
            if weight is not None and weight.grad is not None:
                values[f"gradient/{name}"] = weight.grad.detach().clone()
        return Reading(histograms=values)
