"""`bnexp explain` as a person meets it: in a terminal, in a pipe, as JSON and as a page, and with mistakes."""

import contextlib
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

import command_line
from bnexp.commands import explain as command
from bnexp.commands.explain import explain
from bnexp.errors import BnexpError, ConfigError
from bnexp.lessons.request import LessonOptions
from bnexp.lessons.topics import TOPICS

COMMAND = [sys.executable, "-m", "bnexp", "explain"]


def bnexp(*words: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return command_line.bnexp("explain", *words, cwd=cwd, environment={**os.environ, **environment})


def in_a_terminal(*words: str, **environment: str) -> str:
    """Return what a terminal of 100 columns receives."""
    controller, terminal = pty.openpty()
    settings = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **environment}
    command = [command_line.program(), "explain", *words]
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal, env=settings)
    os.close(terminal)
    received = b""
    with contextlib.suppress(OSError):  # how a terminal says that its other end is gone
        while chunk := os.read(controller, 65536):
            received += chunk
    os.close(controller)
    assert process.wait(timeout=60) == 0
    return received.decode().replace("\r\n", "\n")


COLOR = re.compile(r"\x1b\[[0-9;]*m")


def test_a_terminal_gets_color_unless_it_is_refused_and_a_pipe_gets_none(capsys: pytest.CaptureFixture[str]) -> None:
    explain("batchnorm", LessonOptions())
    piped = capsys.readouterr().out
    colored, plain = in_a_terminal("batchnorm"), in_a_terminal("batchnorm", NO_COLOR="1")
    assert "\x1b[36m" in colored
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", plain)
    assert "\x1b" not in piped
    assert COLOR.sub("", colored) == COLOR.sub("", plain) == piped


def test_alone_it_lists_the_lessons_in_the_order_of_reading_without_torch(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explain(None, LessonOptions())
    listed = capsys.readouterr().out
    assert [line.split()[1] for line in listed.splitlines()[2 : 2 + len(TOPICS)]] == list(TOPICS)
    assert max(map(len, listed.splitlines())) <= 100
    with monkeypatch.context() as narrow:
        narrow.setenv("TTY_COMPATIBLE", "1")
        narrow.setenv("COLUMNS", "50")
        explain(None, LessonOptions())
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 50
    assert " ".join(" ".join(lines).split()) == " ".join(listed.split()), "lines end between words"
    explain(None, LessonOptions(), json=True)
    assert [one["topic"] for one in json.loads(capsys.readouterr().out)] == list(TOPICS)
    program = (
        "import sys\nsys.argv = ['bnexp', 'explain']\nfrom bnexp.cli import main\n"
        "try: main()\nexcept SystemExit: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.endswith("False\n")


def test_json_is_every_number_in_full_precision(capsys: pytest.CaptureFixture[str]) -> None:
    explain("batchnorm", LessonOptions(example="002"), json=True)
    written = json.loads(capsys.readouterr().out)
    assert written["numbers"]["y"][0][0] == pytest.approx(0.5 - 1.5 / (2 / 3 + 1e-5) ** 0.5, abs=1e-15)
    assert written["numbers"]["mean"] == [2, 4, 3]
    assert written["commands"][0].startswith("bnexp train ")


def test_html_writes_a_page_in_place_of_the_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    page.write_text("older")
    explain("batchnorm", LessonOptions(), html=page)
    assert page.read_text().startswith("<!doctype html>")
    assert "600.0000" in page.read_text()
    assert capsys.readouterr().out.startswith(f"{page}: written")
    explain("batchnorm", LessonOptions(), html=page, json=True)
    assert json.loads(capsys.readouterr().out)["topic"] == "batchnorm"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_figures_are_files_of_their_own_with_words_for_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "figures"
    explain("groupnorm", LessonOptions(), figures=folder)
    assert capsys.readouterr().out == f"{folder}: 2 figures written\n"
    assert sorted(path.name for path in folder.iterdir()) == [
        "groupnorm-regions.svg",
        "groupnorm-regions_of_images.svg",
    ]
    with pytest.raises(ConfigError, match="--figures: this lesson has tables, but no figure"):
        explain("bias", LessonOptions(), figures=tmp_path / "none")
    assert not (tmp_path / "none").exists()
    svg = ElementTree.parse(folder / "groupnorm-regions.svg").getroot()
    assert svg.attrib["role"] == "img"
    title, description = (svg.findtext(f"{{http://www.w3.org/2000/svg}}{name}") for name in ("title", "desc"))
    assert title == "equal letters share their statistics"
    assert description is not None
    assert "batch norm: example 1 A B C D; example 2 A B C D;" in description


def test_all_lessons_are_a_folder_of_pages_and_what_else_lies_there_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "TOPICS", {name: TOPICS[name] for name in ("batchnorm", "layernorm")})
    (tmp_path / "notes.txt").write_text("mine")
    explain(None, LessonOptions(), html=tmp_path, figures=tmp_path / "figures", all=True)
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"{tmp_path / 'index.html'}: written, and 2 lessons beside it",
        f"{tmp_path / 'figures'}: 2 figures written",
    ]
    figures = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert figures == ["batchnorm-played.svg", "layernorm-regions.svg"]  # of what one moves, its first state
    names = ["batchnorm.html", "figures", "index.html", "layernorm.html", "notes.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    pages = {path.name: path.read_text() for path in tmp_path.glob("*.html")}
    assert TOPICS["layernorm"].question in pages["index.html"]
    assert 'rel="next" href="layernorm.html"' in pages["batchnorm.html"]
    assert '<a href="batchnorm.html"><code>bnexp explain batchnorm</code></a>' in pages["layernorm.html"]


def test_names_from_a_file_are_text_in_a_page_and_cannot_steer_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, page = tmp_path / "own.csv", tmp_path / "page.html"
    path.write_text("<script>alert(1)</script>,\x1b]0;title\x07\n1,2\n3,5\n")
    explain("batchnorm", LessonOptions(input=path), html=page)
    assert page.read_text().count("<script>") == 1  # the page's own
    assert "&lt;script&gt;alert(1)" in page.read_text()
    explain("batchnorm", LessonOptions(input=path))
    assert "\x1b" not in page.read_text() + capsys.readouterr().out


def test_a_page_replaces_nothing_but_a_file_that_is_no_input(tmp_path: Path) -> None:
    pipe, source, link = tmp_path / "pipe", tmp_path / "own.csv", tmp_path / "link.html"
    os.mkfifo(pipe)
    source.write_text("1,2\n3,5\n")
    for place, words in (
        (pipe, LessonOptions()),
        (source, LessonOptions(input=source)),
        (tmp_path / ("x" * 300), LessonOptions()),
    ):
        with pytest.raises(ConfigError, match="--html"):
            explain("batchnorm", words, html=place)
    with pytest.raises(ConfigError, match=r"--html.*name too long"):
        explain("batchnorm", LessonOptions(), html=tmp_path / ("x" * 250))  # the file aside has a longer name
    assert pipe.is_fifo()
    assert source.read_text() == "1,2\n3,5\n"
    link.symlink_to(tmp_path / "page.html")
    explain("batchnorm", LessonOptions(), html=link)
    assert link.is_symlink()
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_a_page_that_cannot_be_written_is_answered_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (tmp_path, tmp_path / "missing" / "page.html"):
        with pytest.raises(ConfigError, match="--html"):
            explain("batchnorm", LessonOptions(), html=place)
    page = tmp_path / "page.html"
    page.write_text("older")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BnexpError, match=r"page\.html: No space left on device"):
        explain("batchnorm", LessonOptions(), html=page)
    assert page.read_text() == "older"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["bacthnorm"], 'Did you mean "batchnorm"'),
        (["batchnorm", "--input", "missing.csv"], "missing.csv: No such file"),
        (["batchnorm", "--input", "ragged.csv"], "ragged.csv: line 2: expected 3 values"),
        (["batchnorm", "--gamma", "1,2"], "--gamma: expected 4 numbers"),
        (["batchnorm", "--eps", "small"], "--eps"),
        (["batchnorm", "--html", "no/such/folder/page.html"], "--html"),
        (["--gamma", "1"], "expected a lesson"),
        (["--all"], "--all: expected --html DIR"),
        (["--all", "bias", "--html", "site"], "--all: expected no lesson"),
        (["--html", "site"], "or --all, for a folder"),
        (["bias", "--html", "."], "--html .: a folder; expected a file, such as bias.html, or `bnexp explain --all"),
        (["--all", "--html", "ragged.csv"], "--html ragged.csv: expected a folder, found a file"),
        (["coupling", "--figures", "ragged.csv"], "--figures ragged.csv: expected a folder, found a file"),
    ],
)
def test_mistakes_end_with_exit_2_and_no_traceback(words: list[str], expected: str, tmp_path: Path) -> None:
    (tmp_path / "ragged.csv").write_text("1,2,3\n4,5\n")
    done = bnexp(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["ragged.csv"]


def test_a_pipe_that_closes_and_a_full_disk(tmp_path: Path) -> None:
    def run(words: str) -> subprocess.CompletedProcess[str]:
        command = f"{command_line.program()} explain {words}"
        return subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=False)

    assert run("| head -1").stderr == ""
    full = run(">/dev/full")
    assert full.returncode == 1
    assert full.stderr.startswith("error: standard output cannot be written")


def test_in_an_old_locale_signs_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    received = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(received, encoding="ascii"))
    explain("whitening", LessonOptions())
    sys.stdout.flush()
    text = received.getvalue().decode("ascii")
    assert "150 images" in text
    assert "?" in text


def test_ctrl_c_ends_a_lesson_without_a_traceback_and_without_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    process = subprocess.Popen(
        [*COMMAND, "hand-written", "--html", str(page)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    deadline = time.monotonic() + 30
    while not _has_loaded_torch(process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def _has_loaded_torch(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "libtorch_cpu" in Path(f"/proc/{pid}/maps").read_text()
    return False
