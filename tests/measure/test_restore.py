"""Extra passes leave no trace: buffers, the streams of the modules and torch's own are put back."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from bnexp.measure.restore import restored, undisturbed
from bnexp.models.dropout import Dropout


def network_after(passes: int) -> nn.Sequential:
    """Return a network with buffers and a stream, after so many passes in training."""
    with torch.random.fork_rng(devices=[]):
        network = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), Dropout(0.5, seed=3))
    for _ in range(passes):
        network(inputs())
    return network


def inputs() -> Tensor:
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


def stream_of(network: nn.Sequential) -> Tensor | None:
    state: Tensor | None = network[2].stream.get_state()
    return state


@pytest.mark.parametrize("passes", [0, 2])
@pytest.mark.parametrize("stopped", [False, True], ids=["to the end", "stopped by an exception"])
def test_what_a_pass_changes_is_put_back(passes: int, stopped: bool) -> None:
    network = network_after(passes)
    twin = copy.deepcopy(network)
    buffers, generator = {name: buffer.clone() for name, buffer in network.named_buffers()}, torch.get_rng_state()
    try:
        with undisturbed(network):
            network(inputs())
            torch.rand(5)
            assert network[1].num_batches_tracked == passes + 1
            if stopped:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in network.named_buffers())
    assert torch.equal(torch.get_rng_state(), generator)
    if passes == 0:
        assert stream_of(network) is None
    else:
        assert torch.equal(stream_of(network), stream_of(twin))
    for _ in range(3):
        assert torch.equal(network(inputs()), twin(inputs()))


def test_the_generator_of_mps_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the device, which few machines have."""
    network, states, on_mps = network_after(0), {"mps": torch.tensor([1])}, SimpleNamespace(device=torch.device("mps"))
    monkeypatch.setattr(network, "parameters", lambda: iter([on_mps]))
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda device: states[str(device)].clone())
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda state, device: states.update({str(device): state}))
    generator = torch.get_rng_state()
    with undisturbed(network):
        states["mps"] = torch.tensor([2])
        torch.rand(5)
    assert states["mps"].item() == 1
    assert torch.equal(torch.get_rng_state(), generator)


def test_an_exception_is_passed_on() -> None:
    with pytest.raises(ZeroDivisionError), undisturbed(network_after(1)):
        raise ZeroDivisionError


def test_the_buffers_stay_the_same_tensors() -> None:
    network = network_after(0)
    before = list(network.buffers())
    with undisturbed(network):
        network(inputs())
    assert all(now is buffer for now, buffer in zip(network.buffers(), before, strict=True))


def test_parameters_gradients_and_modes_are_left_alone() -> None:
    network = network_after(0)
    with undisturbed(network):
        network(inputs()).sum().backward()
        network.eval()
        with torch.no_grad():
            network[0].weight.zero_()
    assert not network.training
    assert network[0].weight.grad is not None
    assert not network[0].weight.any()


def test_parameters_are_put_back_bit_for_bit_also_after_an_error() -> None:
    parameter = nn.Parameter(torch.tensor([0.1, float("nan"), -0.0]))
    bits = parameter.detach().clone().view(torch.int32)

    def fail_halfway() -> None:
        with restored([parameter]), torch.no_grad():
            parameter.fill_(7.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert torch.equal(parameter.detach().view(torch.int32), bits)
