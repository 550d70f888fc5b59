"""Runs under names that somebody made up to do harm: every way to show them shows them and nothing more."""

import contextlib
import csv
import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from bnexp.commands.compare import compare
from bnexp.commands.ls import ls
from bnexp.document import show
from records import write_run

NAMES = [
    "<script>alert(1)<script>",
    "\x1b[31mred",
    "\x1b]0;owned\x07",
    "a|b",
    "gpj\u202e.exe",
    "two\nlines",
    "[red]markup[/red]",
    "=1+1",
]


@pytest.fixture(params=NAMES, ids=ascii)
def runs(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two arms, one of them hostile in its folder and everywhere that its records are text."""
    name = request.param
    hostile = {"name": name, "model.block": name, f"data.{name}": name}
    meta = {"status": "failed", "error": name, "device_name": name, "git_commit": name, "versions.torch": name}
    write_run(tmp_path / "runs" / name.replace("/", "") / "seed0", config=hostile, meta=meta)
    write_run(tmp_path / "runs" / "plain" / "seed0", config={"name": "plain"})
    return tmp_path / "runs"


COMMANDS: dict[str, Callable[..., None]] = {
    "ls": lambda runs, output: ls(runs, output=output),
    "compare": lambda runs, output: compare([], runs_dir=runs, output=output),
}


def printed(command: str, runs: Path, output: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        COMMANDS[command](runs, output)
    return out.getvalue() + err.getvalue()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("output", ["table", "csv", "json", "markdown"])
def test_no_form_of_a_table_steers_a_terminal(runs: Path, command: str, output: str) -> None:
    assert all(line.isprintable() for line in printed(command, runs, output).split("\n"))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("width", [40, 400])
def test_a_terminal_is_not_steered(runs: Path, command: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    console = partial(Console, force_terminal=True, no_color=True, color_system=None, width=width)
    monkeypatch.setattr(show, "terminal", console)
    assert all(line.isprintable() for line in printed(command, runs, "table").split("\n"))


@pytest.mark.parametrize("command", COMMANDS)
def test_markdown_holds_no_tag(runs: Path, command: str) -> None:
    assert "<" not in printed(command, runs, "markdown")


@pytest.mark.parametrize("command", COMMANDS)
def test_csv_keeps_its_columns_and_holds_no_formula(runs: Path, command: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        COMMANDS[command](runs, "csv")
    rows = list(csv.reader(io.StringIO(out.getvalue())))
    assert len(rows) == 3
    assert len({len(row) for row in rows}) == 1
    assert not any(cell.startswith("=") for row in rows for cell in row)


def test_json_tells_the_names_as_they_are(runs: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        ls(runs, output="json")
    assert {row["run"] for row in json.loads(out.getvalue())["rows"]} == {
        (path / "seed0").as_posix() for path in runs.iterdir()
    }
