"""docs/exit_codes.md: every command in it ends with the code beside it, and every code of bnexp is there."""

import os
import re
import shlex
import signal
import sys
from pathlib import Path

import pytest

from bnexp.cli import main
from bnexp.errors import BnexpError, ConfigError, Interrupted
from bnexp.session import signals
from test_cli import GOOD

GUIDE = (Path(__file__).parent.parent / "docs" / "exit_codes.md").read_text()
LINES = re.findall(r"^(bnexp .*?) +# exit code (\d+)", GUIDE, re.MULTILINE)
WARNED = GOOD.replace("norm: bn", "norm: bn, bias: true")
CLEAN = GOOD.replace("size: 100", "size: 2000").replace("epochs: 2", "steps: 20").replace("norm: bn", "norm: none")


def test_every_command_ends_with_the_code_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(LINES) > 10
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda number: None)
    files = {"a": CLEAN, "b": WARNED, "wrong/c": GOOD + "trainig: {}\n", "diverging/d": CLEAN.replace("0.1", "1e30")}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(text)
    for command, code in LINES:
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        assert (end.value.code or 0) == int(code), (command, said)


def test_every_code_is_explained() -> None:
    explained = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", GUIDE, re.MULTILINE) for code in row.split(",")}
    codes = {0, BnexpError.exit_code, ConfigError.exit_code, Interrupted("").exit_code}
    assert explained == codes | {128 + number for number in signals._SIGNALS}
    assert Interrupted("").exit_code == 128 + signal.SIGINT


@pytest.mark.parametrize("name", ["BNEXP_RUNS", "BNEXP_DATA", "FORCE_COLOR"])
def test_the_variables_are_read(name: str) -> None:
    sources = (Path(__file__).parent.parent / "bnexp").rglob("*.py")
    assert any(f'"{name}"' in path.read_text() for path in sources)
    assert f"`{name}`" in GUIDE
