"""docs/faq.md: what it says of a config is what `bnexp check` says of it."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bnexp.cli import app

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "faq.md").read_text()
QUOTED = re.findall(r"^```sh\n([^`]*)```\n\n```text\n([^`]*)```$", GUIDE, re.MULTILINE)


def test_each_quoted_answer_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert len(QUOTED) > 9
    for commands, answer in QUOTED:
        done = CliRunner().invoke(app, shlex.split(commands.splitlines()[0])[1:])
        assert done.exit_code in (0, 1), done.output  # an error is raised here, and shown by main
        said = f"{done.output} {done.exception}"
        assert " ".join(answer.split()) in " ".join(said.split()), commands


def test_each_answer_has_the_command_that_shows_it() -> None:
    for answer in GUIDE.split("\n### ")[1:]:
        assert "```sh\n" in answer, answer.splitlines()[0]
