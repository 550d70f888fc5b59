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

from bnexp.commands import board as command
from bnexp.commands.board import board
from bnexp.commands.train import train
from bnexp.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:html5lib:DeprecationWarning")  # of TensorBoard's own


def test_a_missing_folder_is_answered(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        board(tmp_path / "runs")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the command lines that TensorBoard was started with; nothing is served, and Ctrl-C comes at once."""
    from tensorboard import program

    lines: list[list[str]] = []

    def interrupted(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program.TensorBoard, "configure", lambda self, argv: lines.append(argv))
    monkeypatch.setattr(program.TensorBoard, "launch", lambda self: "http://somewhere:6006/")
    monkeypatch.setattr(command.threading.Event, "wait", interrupted)
    return lines


def test_it_listens_on_this_machine_only_unless_asked(
    started: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board(tmp_path)
    assert started == [["tensorboard", f"--logdir={tmp_path}", "--host=127.0.0.1"]]
    assert capsys.readouterr().err == ""


def test_ranks_that_earlier_versions_took_about_0_are_not_mixed_in_silently(
    started: list[list[str]], config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train([config_file], runs_dir=tmp_path / "runs", quiet=True)
    capsys.readouterr()
    board(tmp_path / "runs")
    assert capsys.readouterr().err == ""
    board(Path(__file__).parents[1] / "fixtures" / "runs_of_0.1.0")
    assert "2 runs logged the effective_rank of bnexp 0.1.0, about 0" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_an_address_of_this_machine_alone_needs_no_warning(
    host: str, started: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board(tmp_path, host=host)
    assert f"--host={host}" in started[0]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.7", "my-machine", "", "localhost.example", "::ffff:8.8.8.8"]
)
def test_any_other_address_is_warned_of(
    host: str, started: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board(tmp_path, host=host, port=7007)
    assert started == [["tensorboard", f"--logdir={tmp_path}", f"--host={host}", "--port=7007"]]
    errors = capsys.readouterr().err
    assert errors.startswith(f"warning: --host {host}: everyone who reaches this machine's port can read the runs")
    assert errors.count("\n") == 1


def test_a_folder_with_the_name_of_an_option_stays_a_folder(
    started: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "--bind_all").mkdir()
    monkeypatch.chdir(tmp_path)
    board(Path("--bind_all"))
    assert started == [["tensorboard", "--logdir=--bind_all", "--host=127.0.0.1"]]


# The first is kept for documentation and the second for names that nobody has.
@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_an_address_that_this_machine_does_not_have_is_answered(host: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bnexp", "board", str(tmp_path), "--host", host, "--port", str(free_port())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    warning, error = done.stderr.splitlines()
    assert warning.startswith(f"warning: --host {host}: everyone")
    assert error.startswith(f"error: TensorBoard cannot start: --host {host}: ")


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
