"""Probe `histograms`: the distribution of activations and of gradients, for TensorBoard."""

from torch import Tensor

from bnexp.config.probes_section import ProbeSchedule
from bnexp.measure.recorder import Recorder
from bnexp.measure.subject import Look
from bnexp.probes.probe import Probe, Reading


class Histograms(Probe):
    """All values of each item's output and of each item's gradient.

    activation/<item>       the output, (B, ...)
    gradient/<item>         the gradient of the item's weight or gamma
    """

    watches = True

    def __init__(self, schedule: ProbeSchedule) -> None:
        super().__init__(schedule)
        self._recorder = Recorder()

    def before(self, look: Look) -> None:
        """Watch the coming forward pass."""
        self._recorder.start(look.subject.items)

    def after_backward(self, look: Look) -> Reading:
        """Hand over the values."""
        values: dict[str, Tensor] = {f"activation/{name}": output for name, output in self._recorder.stop().items()}
        for name, module in look.subject.items.items():
            weight = getattr(module, "weight", None)
            if weight is not None and weight.grad is not None:
                values[f"gradient/{name}"] = weight.grad.detach().clone()
        return Reading(histograms=values)
