"""Probe `histograms`: the distribution of activations and of gradients, for TensorBoard."""

import torch

from bnexp.measure.subject import Look
from bnexp.measure.tallies import tally_all
from bnexp.probes.probe import Figure, Reading, WatchingProbe


class Histograms(WatchingProbe):
    """Shows all values of each item's output, and of the gradient of its weight, as histograms, in TensorBoard only.

    Values that are not finite are left out of a histogram and counted in `non_finite/activation/<item>` and
    `non_finite/gradient/<item>`.
    """

    figures = (
        Figure(
            "activation/<item>",
            "the output of the item, (B, ...)",
            range="any number",
            comparable="yes where `activation_std` is; by eye only, since each histogram has an axis of its own",
            silent_on="which units and examples the values belong to",
        ),
        Figure(
            "gradient/<item>",
            "the gradient of the item's weight or gamma",
            range="any number",
            comparable="no, as `gradient_norm`: only its shape",
            silent_on="the gradient of single examples, which is averaged over the batch",
        ),
    )

    recordable = True

    def warm_up(self, device: torch.device) -> None:
        """Count three values, of two tensors."""
        tally_all([torch.zeros(2, device=device), torch.zeros(1, device=device)])

    def after_backward(self, look: Look) -> Reading:
        """Count the values."""
        values = {f"activation/{name}": output for name, output in self._recorder.stop().items()}
        for name, module in look.subject.items.items():
            weight = getattr(module, "weight", None)
            if weight is not None and weight.grad is not None:
                values[f"gradient/{name}"] = weight.grad.detach()
        return Reading(histograms=dict(zip(values, tally_all([*values.values()]), strict=True)))
