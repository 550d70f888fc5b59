"""Signals: asked once, the step is finished; asked again, the training leaves at once and damages nothing."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.errors import Interrupted
from bnexp.runs.checkpoints import load_checkpoint, newest_checkpoints
from bnexp.session import life
from bnexp.session.display import Display
from bnexp.session.life import RunResult, start
from bnexp.session.resume import resume
from bnexp.session.signals import StopRequest
from bnexp.session.terms import Terms
from bnexp.training.clock import Clock
from command_line import program

MakeConfig = Callable[..., Config]


SIGNALS = [
    *((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)),
    *((signal.SIGUSR1, 138), (signal.SIGUSR2, 140), (signal.SIGXCPU, 152)),
]


class Signals(Display):
    """Sends signals after a step."""

    def __init__(self, number: int, *signals: int) -> None:
        self.number, self.signals = number, signals

    def step(self, step: int, clock: Clock) -> None:
        if step == self.number:
            for one in self.signals:
                os.kill(os.getpid(), one)


def train(config: Config, place: Path, display: Display) -> RunResult:
    return start(
        draw(config, place), Terms(runs_dir=place, data_dir=place, device="cpu", show=lambda name, plan: display)
    )


def status_of(folder: Path) -> str:
    status: str = json.loads((folder / "meta.json").read_text())["status"]
    return status


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_finishes_the_step_and_writes_a_checkpoint(
    make_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=r"be resumed after step 4: bnexp resume .*seed0") as error:
        train(make_config(), tmp_path, Signals(4, number))
    assert error.value.exit_code == code
    folder = tmp_path / "small" / "seed0"
    assert status_of(folder) == "interrupted"
    assert load_checkpoint(newest_checkpoints(folder)[0])["step"] == 4
    said = capsys.readouterr().err
    assert "finishing the step and writing a checkpoint" in said
    assert ("once more leaves at once" in said) == (number not in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU))
    assert signal.getsignal(number) is before


def test_a_second_signal_leaves_at_once_and_the_run_goes_on_from_before(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted, match=r"be resumed after step 6: bnexp resume"):
        train(make_config(), tmp_path, Signals(8, signal.SIGINT, signal.SIGINT))
    folder = tmp_path / "small" / "seed0"
    assert status_of(folder) == "interrupted"
    assert resume(folder, Terms(data_dir=tmp_path)).summary["steps"] == 12


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_scheduler_that_announces_the_end_twice_ends_the_run_as_once(
    make_config: MakeConfig, tmp_path: Path, number: int
) -> None:
    with pytest.raises(Interrupted, match=r"be resumed after step 8: bnexp resume") as error:
        train(make_config(), tmp_path, Signals(8, number, number))
    assert error.value.exit_code == 128 + number
    assert resume(tmp_path / "small" / "seed0", Terms(data_dir=tmp_path)).summary["steps"] == 12


def test_a_second_signal_amid_a_checkpoint_leaves_the_one_before(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def interrupt_at_the_last_moment(self: Path, target: Path) -> Path:
        if Path(target).name == "step8.pt":
            os.kill(os.getpid(), signal.SIGINT)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupt_at_the_last_moment)
    with pytest.raises(Interrupted, match=r"be resumed after step 6"):
        train(make_config(), tmp_path, Signals(8, signal.SIGINT))
    folder = tmp_path / "small" / "seed0"
    assert [path.name for path in newest_checkpoints(folder)] == ["step6.pt", "step0.pt"]
    assert not list(folder.rglob("*.tmp"))


def test_a_signal_right_after_the_last_step_loses_no_step(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = life.train

    def train_and_interrupt(*args: Any) -> None:
        train(*args)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(life, "train", train_and_interrupt)
    with pytest.raises(Interrupted, match=r"be resumed after step 12"):
        start(draw(make_config(), tmp_path), Terms(runs_dir=tmp_path, data_dir=tmp_path, device="cpu"))
    assert load_checkpoint(newest_checkpoints(tmp_path / "small" / "seed0")[0])["step"] == 12


def test_signals_that_come_while_a_run_leaves_change_nothing(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note_status = life.note_status

    def noted_amid_signals(*words: Any) -> None:
        if "interrupted" in words:
            os.kill(os.getpid(), signal.SIGINT)
        note_status(*words)

    monkeypatch.setattr(life, "note_status", noted_amid_signals)
    with pytest.raises(Interrupted, match=r"be resumed after step 4: bnexp resume"):
        start(
            draw(make_config(), Path("data")),
            Terms(runs_dir=tmp_path, device="cpu", show=lambda name, plan: Signals(4, signal.SIGINT)),
        )
    assert status_of(tmp_path / "small" / "seed0") == "interrupted"


@pytest.mark.long
def test_ctrl_c_held_down_shows_no_traceback(process: subprocess.Popen[str], tmp_path: Path) -> None:
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.03)  # as often as a keyboard repeats
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert f"bnexp resume {tmp_path / 'runs' / 'small' / 'seed0'}" in errors
    assert "Traceback" not in errors


@pytest.mark.long
def test_closing_the_window_interrupts_a_run_like_any_signal(config_file: Path, tmp_path: Path) -> None:
    window, terminal = os.openpty()
    command = [program(), "train", str(config_file), "--runs-dir", str(tmp_path), "--device", "cpu"]
    command += ["--set", "training.epochs=100000"]
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(command, stdout=terminal, stderr=subprocess.PIPE, text=True, env=environment) as running:
        os.close(terminal)
        while b"step" not in os.read(window, 1000):
            pass
        os.close(window)
        running.send_signal(signal.SIGHUP)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 129, errors
    assert status_of(tmp_path / "small" / "seed0") == "interrupted"
    assert "Traceback" not in errors


def test_a_signal_that_the_process_ignores_stays_ignored(make_config: MakeConfig, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        result = train(make_config(), tmp_path, Signals(4, signal.SIGHUP))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert result.summary["status"] == "finished"


def test_a_thread_trains_without_hearing_signals(make_config: MakeConfig, tmp_path: Path) -> None:
    found: list[str] = []

    def work() -> None:
        found.append(start(draw(make_config(), Path("data")), Terms(runs_dir=tmp_path, device="cpu")).summary["status"])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == ["finished"]


def test_a_signal_before_the_training_begins_makes_no_run(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(life, "build", lambda *args, **options: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match="before the training began") as error:
        start(draw(make_config(), Path("data")), Terms(runs_dir=tmp_path / "runs", device="cpu"))
    assert error.value.exit_code == 143
    assert not (tmp_path / "runs").exists()


def test_a_run_that_is_interrupted_before_it_goes_on_says_how_to(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Interrupted):
        start(
            draw(make_config(), Path("data")),
            Terms(runs_dir=tmp_path, device="cpu", show=lambda name, plan: Signals(4, signal.SIGINT)),
        )
    monkeypatch.setattr(life, "build", lambda *args, **options: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match=r"before it went on: bnexp resume .*seed0") as error:
        resume(tmp_path / "small" / "seed0", Terms())
    assert error.value.exit_code == 143


def test_a_run_that_is_interrupted_before_its_first_checkpoint_says_how_it_begins_anew(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(life, "MetricsWriter", interrupted)
        with pytest.raises(Interrupted, match=r"begin anew: bnexp resume .*seed0"):
            start(draw(make_config(), Path("data")), Terms(runs_dir=tmp_path, device="cpu"))
    assert resume(tmp_path / "small" / "seed0", Terms()).summary["status"] == "finished"


@pytest.fixture
def process(config_file: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Return a long training in a process of its own, in which the first epoch is over."""
    command = [program(), "train", str(config_file), "--runs-dir", str(tmp_path / "runs")]
    command += ["--set", "training.epochs=100000", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("small seed0")
        yield running
        running.kill()


def test_sigterm_in_a_real_process(process: subprocess.Popen[str], tmp_path: Path) -> None:
    process.terminate()
    _, errors = process.communicate(timeout=60)
    folder = tmp_path / "runs" / "small" / "seed0"
    assert process.returncode == 143
    assert f"bnexp resume {folder}" in errors
    assert "Traceback" not in errors
    assert status_of(folder) == "interrupted"


@pytest.mark.long
def test_a_killed_process_leaves_a_run_that_goes_on(
    process: subprocess.Popen[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bnexp.commands.ls import ls

    process.kill()
    process.wait(timeout=60)
    folder = tmp_path / "runs" / "small" / "seed0"
    trained_in = json.loads((folder / "meta.json").read_text())["pid"]
    with contextlib.suppress(ProcessLookupError):  # the fork ends right after what stands in for it
        while True:
            os.kill(trained_in, 0)
            time.sleep(0.01)
    assert status_of(folder) == "running"
    ls(tmp_path / "runs")
    shown = capsys.readouterr().out
    assert "dead" in shown
    assert "bnexp resume" in shown

    began = time.monotonic()
    with pytest.raises(Interrupted):
        resume(folder, Terms(show=lambda name, plan: AfterEpoch()))
    assert time.monotonic() - began < 60
    assert status_of(folder) == "interrupted"


class AfterEpoch(Display):
    """Stops a run after some steps."""

    def __init__(self) -> None:
        self.heard = 0

    def step(self, step: int, clock: Any) -> None:
        self.heard += 1
        if self.heard == 3:
            os.kill(os.getpid(), signal.SIGINT)


def test_where_one_of_several_runs_has_ended_a_signal_still_stops_the_others() -> None:
    stop = StopRequest(speaks=False)
    with stop.listening():
        with stop.finishing_the_step():
            with stop.finishing_the_step():
                stop.leave()
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop
            assert stop.exit_code == 143
        os.kill(os.getpid(), signal.SIGTERM)  # amid the last records
