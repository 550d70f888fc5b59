"""What is written down of the circumstances."""

import subprocess
from pathlib import Path

import pytest
import torch

from bnexp.training.records import git_commit, peak_mib


def test_git_commit_marks_changed_files(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None

    def git(*words: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-qm", "one")
    commit = git("rev-parse", "HEAD")
    assert git_commit(tmp_path) == commit
    (tmp_path / "file").write_text("two")
    assert git_commit(tmp_path) == f"{commit}+"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the reference is Linux's own count")
def test_peak_memory_is_what_the_system_counts() -> None:
    held = torch.ones(2**26)  # 256 MiB
    counted = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    found = peak_mib(torch.device("cpu"))
    assert found["process"] == pytest.approx(int(counted.split()[1]) / 1024, rel=0.02)
    assert found["device"] is None
    assert held.sum() == 2**26
