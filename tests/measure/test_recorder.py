"""The recorder watches between start and stop, and only then."""

import torch
from torch import nn

from bnexp.measure.recorder import Recorder


def test_it_keeps_what_comes_out_between_start_and_stop() -> None:
    layer, recorder = nn.Linear(2, 2), Recorder()
    x = torch.ones(1, 2)
    layer(x)
    recorder.start({"layer": layer})
    y = layer(x)
    outputs = recorder.stop()
    layer(2 * x)
    assert set(outputs) == {"layer"}
    assert torch.equal(outputs["layer"], y)
    assert not outputs["layer"].requires_grad
    assert recorder.stop() == {}


def test_a_second_start_does_not_watch_twice() -> None:
    layer, recorder = nn.ReLU(), Recorder()
    recorder.start({"layer": layer})
    recorder.start({"layer": layer})
    assert len(layer._forward_hooks) == 1
    recorder.stop()
    assert not layer._forward_hooks
