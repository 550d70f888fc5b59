"""What is asked of the machine."""

from pathlib import Path

import pytest
import torch

from bnexp.measure.machine import peak_mib


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the reference is Linux's own count")
def test_peak_memory_is_what_the_system_counts() -> None:
    held = torch.ones(2**26)  # 256 MiB
    counted = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    found = peak_mib(torch.device("cpu"))
    assert found["process"] == pytest.approx(int(counted.split()[1]) / 1024, rel=0.02)
    assert found["device"] is None
    assert held.sum() == 2**26
