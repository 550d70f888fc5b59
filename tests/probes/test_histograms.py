"""Histograms hand over the values themselves."""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

from bnexp.config.probes_section import ProbeSchedule
from bnexp.measure.subject import Look
from bnexp.probes.histograms import Histograms


def test_outputs_and_gradients_are_handed_over(look_at: Callable[..., Look]) -> None:
    network = nn.Sequential(OrderedDict(linear=nn.Linear(3, 2), relu=nn.ReLU()))
    x = torch.randn(5, 3)
    probe, look = Histograms(ProbeSchedule(every=1)), look_at(network, x)
    probe.before(look)
    y = network(x)
    y.sum().backward()
    found = probe.after_backward(look).histograms
    assert set(found) == {"activation/linear", "activation/relu", "gradient/linear"}
    torch.testing.assert_close(found["activation/relu"], y.detach())
    torch.testing.assert_close(found["gradient/linear"], network[0].weight.grad)
    assert not any(values.requires_grad for values in found.values())
