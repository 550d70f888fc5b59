"""Remarks on standard error: whole lines into a pipe, lines that end between words in a terminal."""

import os
import sys

import pytest

from bnexp.document.show import aside, remark

PATH = "runs/" + "a" * 40
NOTE = f"{PATH} has epochs=2; --name tells\nthem apart"


@pytest.mark.parametrize(
    ("width", "lines"),
    [(None, [f"note: {PATH} has epochs=2; --name tells"]), (20, ["note:", PATH, "has epochs=2; --name", "tells"])],
)
def test_a_remark_ends_its_lines_between_words_and_breaks_no_path(
    width: int | None, lines: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if width is not None:
        monkeypatch.setattr(os, "get_terminal_size", lambda stream: os.terminal_size((width, 24)))
    remark("note", NOTE)
    assert capfd.readouterr().err.splitlines() == [*lines, "them apart"]
    aside("above\n\nbelow")
    assert capfd.readouterr().err.splitlines() == ["above", "", "below"]
    monkeypatch.setattr(sys, "stderr", None)  # closed before the process began
    remark("note", NOTE)
    assert capfd.readouterr().err == ""
