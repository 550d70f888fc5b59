"""Wait for the device, bring numbers from it, and read how much memory was in use."""

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


def in_a_row(figures: Sequence[Tensor], rows: Sequence[Tensor] = ()) -> Tensor:
    """Return figures of shape () in float32, and behind them rows (n,) of float64, as one tensor."""
    together = torch.stack([figure.float() for figure in figures]) if figures else torch.empty(0)
    return torch.cat([together.to(rows[0].device).double(), *rows]) if rows else together


def numbers_of(figures: Sequence[Tensor], rows: Sequence[Tensor] = ()) -> list[float]:
    """Bring figures of shape () in float32, and behind them rows (n,) of float64, to Python, all in one transfer."""
    numbers: list[float] = in_a_row(figures, rows).tolist()
    return numbers


_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MOST = -1, -3, 2**31 - 1  # of glibc's malloc.h
_MOST_BEFORE_2_35 = 32 << 20
"""Bytes: a larger threshold was refused, and what is larger is asked of Linux each time."""


def keep_memory() -> None:
    """Keep memory that one step frees in this process for the next, where the C library is glibc.

    Returned to Linux, it comes back page by page, each cleared first: a tenth of a step with large feature maps, in
    some runs and not in others. Where malloc's own variables are set, they decide.
    """
    decided = any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")
    library = _c_library()
    if library is not None and not decided:
        # either call ends malloc's own adaption: without the first, every tensor above 128 KiB would come from Linux
        library.mallopt(_MMAP_THRESHOLD, _MOST) or library.mallopt(_MMAP_THRESHOLD, _MOST_BEFORE_2_35)
        library.mallopt(_TRIM_THRESHOLD, _MOST)


@functools.cache
def _c_library() -> Any:
    """Return the C library of this process where it is glibc, else None."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None


def forget_peak(device: torch.device) -> None:
    """Count the largest memory from now on, on Linux and on a CUDA device: what ran here before has its own."""
    _earlier["largest"] = max(_earlier["largest"], _resident_mib() or 0.0)
    _earlier["forgotten"] = False
    if (library := _c_library()) is not None:
        library.malloc_trim(0)  # what the run before it gave back, and was kept for the next step
    with contextlib.suppress(OSError):  # not Linux, or a system that lets nobody write there
        Path("/proc/self/clear_refs").write_text("5")
        _earlier["forgotten"] = True
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_mib(device: torch.device) -> dict[str, float | None]:
    """Return the largest memory in MiB: of this process since it began, and since `forget_peak`; None if unknown.

    `process` is since the process began, `run` the same since `forget_peak`, `device` that of torch on CUDA since then.
    """
    resident = _resident_mib()
    return {
        "process": None if resident is None else max(resident, _earlier["largest"]),
        "run": resident if _earlier["forgotten"] else None,
        "device": torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None,
    }


_earlier = {"largest": 0.0, "forgotten": False}
"""The largest memory of this process before the system was told to forget it, and whether it did."""


def _resident_mib() -> float | None:
    """Return the largest memory of this process that the system remembers."""
    try:
        import resource
    except ImportError:  # Windows has no such count
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
