"""`bnexp board` serves TensorBoard on this machine only."""

import json
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from bnexp.commands import board as command
from bnexp.commands.board import board
from bnexp.commands.train import train
from bnexp.errors import BnexpError, ConfigError
from bnexp.session.board import TensorBoardWriter
from bnexp.session.board_server import guarded
from command_line import bnexp, program

pytestmark = pytest.mark.filterwarnings("ignore:html5lib:DeprecationWarning")  # of TensorBoard's own

ALL_POINTS = "--samples_per_plugin=scalars=100000"


def test_a_missing_folder_is_answered(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        board(tmp_path / "runs")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the command lines that TensorBoard was started with; nothing is served, and Ctrl-C comes at once."""
    from tensorboard import program

    lines: list[list[str]] = []

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program.TensorBoard, "configure", lambda self, argv: lines.append(argv))
    monkeypatch.setattr(program.TensorBoard, "launch", lambda self: "http://somewhere:6006/")
    # The command's own event only: a run that trains in the same test waits on others.
    monkeypatch.setattr(command, "threading", SimpleNamespace(Event=lambda: SimpleNamespace(wait=interrupted)))
    monkeypatch.setattr(command.webbrowser, "open", lambda url: opened.append(url) or False)
    return lines


opened: list[str] = []
"""The addresses that a browser was asked to open; none is there."""


def test_it_listens_on_this_machine_only_unless_asked(
    started: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board(tmp_path)
    assert started == [["tensorboard", f"--logdir={tmp_path}", "--host=127.0.0.1", ALL_POINTS]]
    assert capsys.readouterr().err == "note: no run is here yet: they appear as they begin\n"


def runs_in(folder: Path, count: int) -> None:
    """Make run folders of which only meta.json is there."""
    for number in range(count):
        (folder / f"seed{number}").mkdir(parents=True)
        (folder / f"seed{number}" / "meta.json").write_text("{}")


def test_it_says_where_to_click_where_tensorboard_draws_no_run(
    started: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs_in(tmp_path / "few", 40)
    board(tmp_path / "few")
    assert capsys.readouterr().err == ""
    runs_in(tmp_path / "many", 41)
    board(tmp_path / "many")
    assert "TOGGLE ALL RUNS" in capsys.readouterr().err


def test_the_page_of_charts_is_named_and_opened_where_asked(
    started: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs_in(tmp_path, 1)
    opened.clear()
    board(tmp_path)
    assert "http://somewhere:6006/#custom_scalars\n" in capsys.readouterr().out
    assert opened == []
    board(tmp_path, open=True)
    assert opened == ["http://somewhere:6006/#custom_scalars"]
    assert "no browser was found" in capsys.readouterr().err


def test_a_sample_of_the_points_is_announced(
    started: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs_in(tmp_path, 2)
    for number in range(2):
        path = tmp_path / f"seed{number}" / "events.out.tfevents.1.host.1.0"
        with path.open("wb") as file:
            file.truncate(1 << 30)  # takes no room on the disk
    board(tmp_path)
    assert started[0][-1] == "--samples_per_plugin=scalars=1000"
    error = capsys.readouterr().err
    assert error.startswith("note: curves show 1,000 points of each run, drawn at random: all points")
    assert "GiB" in error


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
    runs_in(tmp_path, 1)
    board(tmp_path, host=host)
    assert f"--host={host}" in started[0]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.7", "my-machine", "", "localhost.example", "::ffff:8.8.8.8"]
)
def test_any_other_address_is_warned_of(
    host: str, started: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs_in(tmp_path, 1)
    board(tmp_path, host=host, port=7007)
    assert started == [["tensorboard", f"--logdir={tmp_path}", f"--host={host}", ALL_POINTS, "--port=7007"]]
    errors = capsys.readouterr().err
    assert errors.startswith(f"warning: --host {host}: everyone who reaches this machine's port can read the runs")
    assert errors.count("\n") == 1


def test_a_folder_with_the_name_of_an_option_stays_a_folder(
    started: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "--bind_all").mkdir()
    monkeypatch.chdir(tmp_path)
    board(Path("--bind_all"))
    assert started == [["tensorboard", "--logdir=--bind_all", "--host=127.0.0.1", ALL_POINTS]]


# The first is kept for documentation and the second for names that nobody has.
@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_an_address_that_this_machine_does_not_have_is_answered(host: str, tmp_path: Path) -> None:
    done = bnexp("board", str(tmp_path), "--host", host, "--port", str(free_port()), cwd=tmp_path)
    assert done.returncode == 1
    warning, error = done.stderr.splitlines()
    assert warning.startswith(f"warning: --host {host}: everyone")
    assert error.startswith(f"error: TensorBoard cannot start: --host {host}: ")


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        *[(name, True) for name in ("127.0.0.1:6006", "localhost:1", "localhost", "[::1]:6006", "127.8.8.8:80")],
        *[
            (name, False)
            for name in ("evil.example", "evil.example:6006", "127.0.0.1.evil.example", "10.0.0.1", "", "[", "0")
        ],
    ],
)
def test_only_names_of_this_machine_are_answered(asked: str, served: bool) -> None:
    said: list[str] = []
    app = guarded(lambda environ, start: [b"the runs"])
    answer = b"".join(app({"HTTP_HOST": asked}, lambda status, headers: said.append(status)))
    assert (answer == b"the runs") is served
    assert said == ([] if served else ["403 Forbidden"])


def test_a_port_that_is_taken_is_answered_with_a_free_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BnexpError, match=rf"port {port} is taken; a free one: --port (\d+)") as refused:
            board(tmp_path, port=port)
        free = int(str(refused.value).split()[-1])
        with socket.create_server(("127.0.0.1", free)):
            assert free != port


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_it_serves_the_runs_with_every_point_and_the_status_of_each(config_file: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    train([config_file], runs_dir=runs, quiet=True, device="cpu")
    train([config_file], overrides=["optimizer.lr=1e30", "model.bias=true"], name="diverges", runs_dir=runs, quiet=True)
    writer = TensorBoardWriter(runs / "small" / "seed0")
    for step in range(1, 1501):  # TensorBoard alone would keep 1,000
        writer.scalars(step, {"many": float(step)})
    writer.close()
    command = [program(), "board", str(runs), "--port", str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", line)
        try:
            assert found, line
            points, rows = "data/plugin/scalars/scalars?run=small/seed0&tag=many", {}
            for _ in range(200):  # TensorBoard reads the folder in a thread of its own
                rows = statuses_of(found[0])
                if len(rows) == 2:
                    break
            assert rows == {"small/seed0": "STATUS_SUCCESS", "diverges/seed0": "STATUS_FAILURE"}
            steps = [step for _, step, _ in json.load(urllib.request.urlopen(found[0] + points, timeout=10))]
            assert steps == list(range(1, 1501))
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(urllib.request.Request(found[0], headers={"Host": "evil.example"}), timeout=10)
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in errors


def statuses_of(url: str) -> dict[str, str]:
    """Ask TensorBoard for the rows of its HParams page."""
    every = ["STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING", "STATUS_UNKNOWN"]
    body = json.dumps({"allowedStatuses": every, "colParams": [], "startIndex": 0, "sliceSize": 9}).encode()
    asked = urllib.request.Request(
        url + "data/plugin/hparams/session_groups", data=body, headers={"Content-Type": "application/json"}
    )
    groups = json.load(urllib.request.urlopen(asked, timeout=10)).get("sessionGroups", [])
    return {group["sessions"][0]["name"]: group["sessions"][0]["status"] for group in groups}
