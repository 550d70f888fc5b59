"""`bnexp board` serves TensorBoard on this machine only."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from bnexp.commands.board import board
from bnexp.commands.train import train
from bnexp.errors import ConfigError


def test_a_missing_folder_is_answered(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        board(tmp_path / "runs")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_it_serves_the_runs_at_the_address_it_prints(config_file: Path, tmp_path: Path) -> None:
    train([config_file], runs_dir=tmp_path / "runs", quiet=True, device="cpu")
    command = [sys.executable, "-m", "bnexp", "board", str(tmp_path / "runs"), "--port", str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", line)
        try:
            assert found, line
            runs: list[str] = []
            for _ in range(200):  # TensorBoard reads the folder in a thread of its own
                runs = json.load(urllib.request.urlopen(found[0] + "data/runs", timeout=10))
                if runs:
                    break
            assert runs == ["small/seed0"]
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in errors
