"""The roofline of a training step: what matrix products and memory of this machine allow.

Matrix products and convolutions of a step, forward and backward, are counted on the plain network, each with its
multiplications and additions and with the bytes that it must read and write. Everything else is taken to be fused
into them for nothing, but for the optimizer, which reads weight, gradient and momentum and writes two of them:

    seconds a step >= sum over products of max(operations / rate, bytes / bandwidth) + optimizer's bytes / bandwidth

Rate and bandwidth are measured right before, with the same number of threads and the same precision: the rate is that
of a large matrix product or of a large 3 x 3 convolution, whichever is higher, and the bandwidth that of a large copy,
which reads and writes. Small networks lie in caches that are faster than that copy, so 100 % is no wall for them.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmarks.rivals import Rival
from bnexp.measure.machine import synchronize

FLOATS_OF_SGD = 5
"""Numbers that SGD with momentum moves a parameter: it reads three and writes two."""


@dataclass(frozen=True)
class Peaks:
    """What a machine can do: operations/s of its best large product, and bytes/s of a large copy."""

    matmul: float
    convolution: float
    bandwidth: float

    @property
    def rate(self) -> float:
        """Operations/s of the better of the two."""
        return max(self.matmul, self.convolution)


def _fastest(work: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Return the seconds of the fastest of several rounds, after one that does not count."""
    seconds = []
    for _ in range(rounds + 1):
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def peaks_of(device: torch.device, dtype: torch.dtype, *, small: bool = False) -> Peaks:
    """Measure what the machine can do at its best, in a type of numbers."""
    on_gpu, rounds = device.type == "cuda", 1 if small else 5
    size = 64 if small else 8192 if on_gpu else 2048
    batch, channels, pixels = (2, 8, 8) if small else (512, 256, 32) if on_gpu else (32, 64, 32)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    x = torch.randn(batch, channels, pixels, pixels, device=device, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    source = torch.empty(1_000 if small else 2**28 if on_gpu else 2**25, device=device).fill_(1)  # 128 MiB on a CPU
    target = torch.empty_like(source)
    with torch.no_grad():
        return Peaks(
            matmul=2 * size**3 / _fastest(lambda: a @ b, device, rounds),
            convolution=2
            * 9
            * batch
            * channels**2
            * pixels**2
            / _fastest(lambda: functional.conv2d(x, kernel, padding=1), device, rounds),
            bandwidth=2 * source.nbytes / _fastest(lambda: target.copy_(source), device, rounds),
        )


class Products(TorchDispatchMode):
    """Counts operations and bytes of every matrix product and convolution that runs inside."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counted: list[tuple[float, float]] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        if (count := flop_registry.get(function.overloadpacket)) is not None:
            moved = sum(leaf.nbytes for leaf in tree_leaves((args, out)) if isinstance(leaf, Tensor))
            self.counted.append((float(count(*args, **(kwargs or {}), out_val=out)), float(moved)))
        return out


def counted_step(rival: Rival) -> tuple[list[tuple[float, float]], float]:
    """Return operations and bytes of each product of a step, and the bytes that its optimizer moves."""
    network = rival.network()
    batch = min(rival.batch, len(rival.dataset.train))
    x, y = rival.inputs()(rival.dataset.train.images[:batch]), rival.dataset.train.labels[:batch]
    with Products() as products:
        with rival.precision():
            logits = network(x)
        functional.cross_entropy(logits.float(), y).backward()
    return products.counted, FLOATS_OF_SGD * _bytes_of(network)


def _bytes_of(network: nn.Module) -> float:
    return float(sum(parameter.nbytes for parameter in network.parameters()))


def roofline(rival: Rival, *, small: bool = False) -> dict[str, float]:
    """Return the examples/s that the machine allows, and what they follow from."""
    narrow = rival.config.training.precision != "fp32"
    peaks = peaks_of(rival.device, torch.bfloat16 if narrow else torch.float32, small=small)
    products, of_optimizer = counted_step(rival)
    operations, moved = (sum(each) for each in zip(*products, strict=True))
    least = sum(max(work / peaks.rate, size / peaks.bandwidth) for work, size in products)
    step = least + of_optimizer / peaks.bandwidth
    return {
        "examples_per_s": rival.batch / step,
        "step_ms": 1000 * step,
        "gflop_per_step": operations / 1e9,
        "mb_per_step": (moved + of_optimizer) / 1e6,
        "matmul_gflop_per_s": peaks.matmul / 1e9,
        "convolution_gflop_per_s": peaks.convolution / 1e9,
        "copy_gb_per_s": peaks.bandwidth / 1e9,
    }
