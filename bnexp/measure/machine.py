"""Wait for the device, bring numbers from it, and read how much memory was in use."""

import sys
from collections.abc import Sequence

import torch
from torch import Tensor


def synchronize(device: torch.device) -> None:
    """Wait until the device is done, so that a clock measures its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def numbers_of(figures: Sequence[Tensor], rows: Sequence[Tensor] = ()) -> list[float]:
    """Bring figures of shape () in float32, and behind them rows (n,) of float64, to Python, all in one transfer."""
    together = torch.stack([figure.float() for figure in figures]) if figures else torch.empty(0)
    if rows:
        together = torch.cat([together.to(rows[0].device).double(), *rows])
    numbers: list[float] = together.tolist()
    return numbers


def forget_peak(device: torch.device) -> None:
    """Count the largest memory on a CUDA device from now on: earlier runs of this process have theirs."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_mib(device: torch.device) -> dict[str, float | None]:
    """Return the largest memory in MiB: of this process since it began, and on CUDA since `forget_peak`."""
    on_device = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
    try:
        import resource
    except ImportError:  # Windows has no such count
        return {"process": None, "device": on_device}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"process": peak / (2**20 if sys.platform == "darwin" else 2**10), "device": on_device}
