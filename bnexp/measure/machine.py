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


class Marks:
    """Marks points in the work of a CUDA device, and tells the seconds between two, without waiting at either."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __call__(self) -> torch.cuda.Event:
        """Mark the point at which the device is done with what was asked of it until now."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def seconds(self, earlier: torch.cuda.Event, later: torch.cuda.Event) -> float:
        """Return the seconds between two points; waits until the device has come to the later one."""
        later.synchronize()
        return float(earlier.elapsed_time(later)) / 1e3


def numbers_of(figures: Sequence[Tensor]) -> list[float]:
    """Bring figures of shape () to Python, all in one transfer."""
    numbers: list[float] = torch.stack([figure.float() for figure in figures]).tolist() if figures else []
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
