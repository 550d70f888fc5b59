"""Tensors that are counted together are counted as numpy counts each in float64, on every way that a device takes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from bnexp.measure import samples
from bnexp.measure import tallies as module
from bnexp.measure.tallies import tally_all
from bnexp.measure.tally import counts_of
from bnexp.probes import activations
from bnexp.runs.rows import BINS, Counts
from kernels import kernels_of


@pytest.fixture(params=["cpu", "gpu", "gpu, in small matrices"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Take the way of the CPU, or that of a GPU: no value is asked for, and all are counted together."""
    monkeypatch.setattr(module, "waits", lambda device: request.param != "cpu")
    if "small" in request.param:
        monkeypatch.setattr(module, "_FEW", 100)
        monkeypatch.setattr(module, "_MOST", 400)
        monkeypatch.setattr(module, "_ROWS", 3)
    return str(request.param)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def binned(finite: NDArray[np.float64]) -> list[int]:
    """Return how many values lie in low + i w <= v < low + (i + 1) w, the largest in the last bin; equal ones in 0."""
    if not len(finite) or finite.min() == finite.max():
        return [len(finite), *[0] * (BINS - 1)]
    width = (finite.max() - finite.min()) / BINS
    places = np.searchsorted(finite.min() + np.arange(BINS) * width, finite, side="right") - 1
    return np.bincount(places, minlength=BINS).tolist()


def check(found: Counts, values: Tensor) -> None:
    doubles = values.double().flatten().numpy()
    finite = doubles[np.isfinite(doubles)]
    assert list(found.bins) == binned(finite)
    assert found.non_finite == len(doubles) - len(finite)
    if len(doubles):
        ends = (finite.min(), finite.max()) if len(finite) else (np.inf, -np.inf)
        assert (found.low, found.high) == ends
    assert found.total == pytest.approx(finite.sum(), rel=1e-12, abs=1e-13 * np.abs(finite).sum())
    assert found.total_of_squares == pytest.approx((finite**2).sum(), rel=1e-12)


def check_all(tensors: Sequence[Tensor]) -> None:
    before = [values.clone() for values in tensors]
    found = tally_all(tensors)
    for values, earlier, numbers in zip(tensors, before, found, strict=True):
        check(counts_of(numbers.tolist()), values)
        assert torch.equal(values.nan_to_num(7.0), earlier.nan_to_num(7.0))


STRANGE = torch.tensor([torch.nan, torch.inf, -torch.inf])
TENSORS = {
    "normal": draw(7, 50) * 3 + 1,
    "relu": draw(9, 40).relu(),
    "as large as relu": draw(9, 40, seed=1) - 100,
    "channels_last": draw(4, 3, 5, 5).to(memory_format=torch.channels_last),
    "with gaps": draw(20, 30).T[::2],
    "a column": draw(50, 3)[:, 1:2],
    "scalar": torch.tensor(-3.5),
    "one value": torch.tensor([[1e-3]]),
    "empty": torch.zeros(0, 5),
    "equal": torch.full((17,), 2.5),
    "equal and huge": torch.full((3, 3), -3e38),
    "equal to 0": torch.zeros(40),
    "bf16": draw(30, 20).bfloat16(),
    "bf16, small": draw(11).bfloat16(),
    "fp16": draw(12, 5).half(),
    "edges": torch.arange(129.0).view(3, 43),  # every other value lies on an edge
    "huge": draw(300).square() * 1e30,
    "from end to end": torch.linspace(-3.4e38, 3.4e38, 99),
    "tiny": torch.tensor([1e-45, 3e-45, 0.0, -1e-42]),
    "neighbours": torch.tensor([1.0, 1.0 + 2**-23]),
    "hardly below an edge": torch.tensor([-1.0, 1.0, -1e-20, 0.0, 1e-20]),
    "not finite": STRANGE.repeat(30),
    "some not finite": torch.cat([draw(200), STRANGE.repeat(3)]),
}


def test_tensors_of_unlike_sizes_and_types_are_each_counted_as_numpy_does(way: str) -> None:
    # Where a GPU compares with edges, a CPU divides: -1e-20 + 1 is 1 in float64.
    check_all([values for name, values in TENSORS.items() if way != "cpu" or name != "hardly below an edge"])


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_alone_is_counted_alike(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "waits", lambda device: True)
    check_all([TENSORS[name]])


def test_nothing_gives_no_tally() -> None:
    assert tally_all([]) == []


SIZES = st.lists(st.integers(0, 70), min_size=1, max_size=6)


@given(data=st.data(), sizes=SIZES, on_a_gpu=st.booleans())
def test_whole_numbers_of_any_scale_lie_in_their_true_bins(
    data: st.DataObject, sizes: list[int], on_a_gpu: bool
) -> None:
    tensors = list[Tensor]()
    for size in sizes:
        most = data.draw(st.sampled_from([1, 64, 1000, 2**20]))
        numbers = data.draw(st.lists(st.integers(-most, most), min_size=size, max_size=size))
        tensors.append(torch.tensor(numbers, dtype=torch.float32) * 2.0 ** data.draw(st.integers(-120, 100)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "waits", lambda device: on_a_gpu)
        check_all(tensors)


@given(data=st.data(), sizes=SIZES)
def test_any_float32_lies_where_float64_puts_it(data: st.DataObject, sizes: list[int]) -> None:
    floats = st.floats(width=32)
    tensors = [torch.tensor(data.draw(st.lists(floats, min_size=n, max_size=n)), dtype=torch.float32) for n in sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "waits", lambda device: True)
        check_all(tensors)


def test_twice_as_many_tensors_take_hardly_more_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "waits", lambda device: True)
    tensors = [*(draw(8, 100, seed=seed) for seed in range(20)), *(draw(3, seed=seed) for seed in range(20))]
    few, many = kernels_of(lambda: tally_all(tensors[::2])), kernels_of(lambda: tally_all(tensors))
    assert few < 60
    assert many <= few + 3


def test_a_large_tensor_is_counted_alone_and_small_ones_share_their_memory() -> None:
    sizes = [5_000_000, 2_000_000, 2_000_000, 2_000_000, 1000, 10]
    tensors = [torch.empty(size, device="meta") for size in sizes]
    together = [[values.numel() for values in some] for some in module._side_by_side(tensors)]
    assert together == [[5_000_000], [2_000_000, 2_000_000], [2_000_000, 1000], [10]]


@pytest.mark.parametrize("kept", [samples.spread_places, samples._places, module._column, activations._on])
def test_what_a_recorded_look_reads_is_never_let_go(kept: Any) -> None:
    assert kept.cache_info().maxsize is None
