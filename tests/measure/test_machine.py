"""What is asked of the machine."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bnexp.measure.machine import forget_peak, keep_memory, peak_mib


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the reference is Linux's own count")
def test_peak_memory_is_what_the_system_counts() -> None:
    held = torch.ones(2**26)  # 256 MiB
    counted = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    found = peak_mib(torch.device("cpu"))
    assert found["process"] is not None
    assert found["process"] >= 0.98 * int(counted.split()[1]) / 1024  # of which Linux may have been told to forget
    assert found["device"] is None
    assert held.sum() == 2**26


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="only Linux forgets")
def test_a_run_does_not_count_the_memory_of_the_process_before_it() -> None:
    cpu = torch.device("cpu")
    held = torch.ones(2**26)  # 256 MiB
    before = peak_mib(cpu)["process"]
    del held
    forget_peak(cpu)
    after = peak_mib(cpu)
    assert before is not None
    assert after["process"] == pytest.approx(before, rel=0.02)
    assert (after["run"] or 0) < before - 200
    again = torch.ones(2**26)
    assert (peak_mib(cpu)["run"] or 0) >= (after["run"] or 0) + 200
    assert again.sum() == 2**26


FAULTS = """
import resource, torch
from bnexp.measure.machine import keep_memory

keep_memory()
pages = 2**26 // resource.getpagesize()
def asked_anew():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(2**24)  # 64 MiB, above what malloc asks Linux for each time
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / pages
print(min(asked_anew() for _ in range(8)))
"""
"""Where its own small pieces lie between, malloc needs a few before one fits; asked of Linux, it is 20 each time."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_what_a_step_gives_back_is_there_for_the_next() -> None:
    """In a process of its own: where a heap that is old lies, there may be no room for it to grow."""
    usual = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, env=usual)
    assert float(done.stdout) < 4


def test_an_older_library_that_refuses_the_largest_threshold_gets_its_own_largest(monkeypatch) -> None:
    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES"))]:
        monkeypatch.delenv(name)
    taken: dict[int, int] = {}

    def mallopt(which: int, value: int) -> int:  # glibc 2.31: at most half of the largest heap
        if which == -3 and value > 32 << 20:
            return 0
        taken[which] = value
        return 1

    monkeypatch.setattr("bnexp.measure.machine._c_library", lambda: SimpleNamespace(mallopt=mallopt))
    keep_memory()
    assert taken == {-3: 32 << 20, -1: 2**31 - 1}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="only CUDA counts")
def test_a_run_does_not_count_the_memory_of_the_one_before_it() -> None:
    device = torch.device("cuda")
    held = torch.ones(2**26, device=device)  # 256 MiB
    assert (peak_mib(device)["device"] or 0) >= 256
    del held
    forget_peak(device)
    assert (peak_mib(device)["device"] or 0) < 256
