"""The stream that a module draws from; what dropout and noisy_bn make of it is tested there."""

import torch

from bnexp.norms.random_stream import RandomStream

CPU = torch.device("cpu")


def draw(stream):
    return torch.rand(4, generator=stream.on(CPU))


def test_it_goes_on_from_draw_to_draw_and_starts_from_its_seed():
    stream, twin = RandomStream(3), RandomStream(3)
    first, second = draw(stream), draw(stream)
    assert not torch.equal(first, second)
    assert torch.equal(draw(twin), first)
    assert not torch.equal(draw(RandomStream(4)), first)


def test_its_state_is_a_copy_from_which_another_goes_on():
    stream, other = RandomStream(3), RandomStream(9)
    assert stream.get_state() is None
    draw(stream)
    state = stream.get_state()
    expected = draw(stream)
    other.set_state(state)
    assert torch.equal(other.get_state(), state)
    assert torch.equal(draw(other), expected)
    other.set_state(None)
    assert torch.equal(draw(other), draw(RandomStream(9)))
