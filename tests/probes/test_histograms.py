"""Histograms are those of the outputs and of the gradients."""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

from bnexp.config.probes_section import ProbeSchedule
from bnexp.measure.subject import Look
from bnexp.measure.tally import tally
from bnexp.probes.histograms import Histograms


def test_outputs_and_gradients_are_counted(look_at: Callable[..., Look]) -> None:
    network = nn.Sequential(OrderedDict(linear=nn.Linear(3, 2), relu=nn.ReLU()))
    x = torch.randn(5, 3)
    probe, look = Histograms(ProbeSchedule(every=1)), look_at(network, x)
    probe.before(look)
    y = network(x)
    y.sum().backward()
    found = probe.after_backward(look).histograms
    assert set(found) == {"activation/linear", "activation/relu", "gradient/linear"}
    assert torch.equal(found["activation/relu"], tally(y.detach()))
    assert torch.equal(found["gradient/linear"], tally(network[0].weight.grad))
