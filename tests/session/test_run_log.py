"""log.txt: what a run said over all its sessions, in whole lines, and no harm where it cannot be written."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnexp.blueprint import draw
from bnexp.commands.resume import resume
from bnexp.commands.train import train
from bnexp.config.schema import Config
from bnexp.errors import ConfigError, Interrupted
from bnexp.runs.own_lock import OWN_LOCK
from bnexp.session import life
from bnexp.session.display import Display
from bnexp.session.terms import Terms

MakeConfig = Callable[..., Config]
LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00|)  (.*)")


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda number: None)


def said_in(folder: Path) -> list[str]:
    """Return the lines of a log without their times; each must be whole."""
    lines = (folder / "log.txt").read_text()
    assert lines.endswith("\n")
    matches = [LINE.fullmatch(line) for line in lines.splitlines()]
    assert all(matches), lines
    return [match[2] for match in matches if match]


class Stopping(Display):
    """Raises an error at a step."""

    def __init__(self, error: BaseException, at: int) -> None:
        self._error, self._at = error, at

    def step(self, step: int, clock: Any) -> None:
        if step == self._at:
            raise self._error


def begun(make_config: MakeConfig, place: Path, **options: Any) -> Any:
    return life.start(draw(make_config(), place), Terms(runs_dir=place, data_dir=place, device="cpu", **options))


def test_it_goes_on_where_the_run_does(
    config_file: Path, tmp_path: Path, make_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Interrupted):
        begun(make_config, tmp_path, show=lambda name, plan: Stopping(KeyboardInterrupt(), 8), argv=("bnexp", "a b"))
    folder = tmp_path / "small" / "seed0"
    first = said_in(folder)
    assert first[0] == "begins: bnexp 'a b'"
    assert re.fullmatch(r"bnexp [\d.]+, torch \S+, Python \S+; cpu \(.+\), fp32, 1 thread; process \d+ on .+", first[1])
    assert any(line.startswith("warning: 10 validation examples") for line in first)
    assert any("epoch 1.0/2  step 6/12" in line and "val accuracy" in line for line in first)
    assert first[-1] == f"interrupted; it can be resumed after step 6: bnexp resume {folder}"
    resume(str(folder), verbose=True)
    assert said_in(folder)[: len(first)] == first
    then = said_in(folder)[len(first) :]
    assert then[0].startswith("begins: ")
    assert then[-1].startswith("finished after 12 steps in 0:0")
    shown = capsys.readouterr().err.splitlines()
    assert [LINE.fullmatch(line)[2] for line in shown if LINE.fullmatch(line)] == [  # type: ignore[index]
        line for line in then if not line.startswith(("warning", "note"))
    ]
    with pytest.raises(ConfigError, match="--quiet and --verbose: choose one"):
        train([config_file], runs_dir=tmp_path, quiet=True, verbose=True)


def test_a_bug_is_told_with_its_traceback_and_a_failure_with_its_words(make_config: MakeConfig, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        begun(make_config, tmp_path, show=lambda name, plan: Stopping(ZeroDivisionError("by\x1b[2J"), 3))
    *_, place, last = said_in(tmp_path / "small" / "seed0")
    assert last == "ZeroDivisionError: by\\x1b[2J"
    assert place == "    raise self._error"
    assert "  failed by a bug in bnexp:" in (tmp_path / "small" / "seed0" / "log.txt").read_text()


def test_a_log_that_cannot_be_written_or_is_anothers_harms_nothing(make_config: MakeConfig, tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "small" / "seed0", tmp_path / "elsewhere"

    def linked(name: str, plan: object) -> Display:
        (folder / "log.txt").rename(elsewhere)
        (folder / "log.txt").symlink_to(elsewhere)
        return Stopping(KeyboardInterrupt(), 8)

    with pytest.raises(Interrupted):
        begun(make_config, tmp_path, show=linked)
    before = elsewhere.read_text()
    resume(str(folder), quiet=True)
    assert elsewhere.read_text() == before
    (folder / "log.txt").unlink()

    def taken(name: str, plan: object) -> Display:
        (tmp_path / "small" / "seed0-2" / OWN_LOCK).write_text("{}")
        return Stopping(KeyboardInterrupt(), 8)

    with pytest.raises(Exception, match="another process took the lock"):
        begun(make_config, tmp_path, show=taken)
    assert [line.split()[0] for line in said_in(tmp_path / "small" / "seed0-2")[:2]] == ["begins:", "bnexp"]
    assert "interrupted" not in (tmp_path / "small" / "seed0-2" / "log.txt").read_text()
