"""Histograms hand over the values themselves."""

import torch
from torch import nn

from bnexp.probes.histograms import Histograms


def test_outputs_and_gradients_are_handed_over() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    items = {"linear": network[0], "relu": network[1]}
    probe = Histograms(every=1)
    x = torch.randn(5, 3)
    probe.before(items)
    y = network(x)
    y.sum().backward()
    found = probe.after(items).histograms
    assert set(found) == {"activation/linear", "activation/relu", "gradient/linear"}
    torch.testing.assert_close(found["activation/relu"], y.detach())
    torch.testing.assert_close(found["gradient/linear"], network[0].weight.grad)
    assert not any(values.requires_grad for values in found.values())
