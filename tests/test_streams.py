"""No text ends a command because a stream cannot encode it, and no name is lost for it."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bnexp import streams
from bnexp.streams import SPELLED, encodable
from command_line import bnexp

CONFIG = """\
data: {dataset: synthetic, batch_size: 16, synthetic: {classes: 4, shape: [1, 4, 4], size: 100}}
model: {arch: mlp, hidden: [4], block: linear -> norm, norm: bn}
optimizer: {name: sgd}
training: {steps: 1}
"""


@pytest.mark.parametrize(
    ("text", "encoding", "written"),
    [
        ("plain", "ascii", "plain"),
        ("91.88 ± 0.2", "ascii", "91.88 +- 0.2"),
        ("91.88 ± 0.2", "cp1252", "91.88 ± 0.2"),
        ("█▁ │ a → b", "ascii", "#_ | a -> b"),
        ("実験", "cp1252", "\\u5b9f\\u9a13"),
        ("実験", "utf-8", "実験"),
        ("Größe", "ascii", "Gr\\xf6\\xdfe"),
        ("a\udce9b", "utf-8", "a\\udce9b"),
        ("😀", "shift_jis", "\\U0001f600"),
    ],
)
def test_what_an_encoding_lacks_is_spelled(text: str, encoding: str, written: str) -> None:
    assert encodable(text, encoding) == written
    assert text.encode(encoding, SPELLED) == written.encode(encoding)


def test_drawings_of_one_letter_stay_as_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = [drawn for drawn, spelled in streams._SPELLINGS.items() if len(spelled) != 1]
    assert set(wide) == set("±→…≥≤")


@pytest.mark.parametrize(("errors", "afterwards"), [("strict", SPELLED), ("replace", "replace")])
def test_a_stream_takes_every_text_unless_a_person_chose_how(
    errors: str, afterwards: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors=errors)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", None)  # as where it was closed before the process began
    streams.take_every_text()
    assert stream.errors == afterwards
    print("実", flush=True)


def test_every_command_runs_where_standard_output_cannot_encode_a_name(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(CONFIG)
    (tmp_path / "b.yaml").write_text("base: a.yaml\nmodel: {norm: ln}\n")
    lines = [
        "train a.yaml b.yaml --runs-dir 実験 --device cpu",
        "resume 実験/a/seed0",
        "ls 実験",
        "compare --runs-dir 実験",
        "check a.yaml --set name=実験",
        "board 実験/none",
    ]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = [bnexp(*line.split(), cwd=tmp_path, environment=environment) for line in lines]
    out, err = ("".join(texts) for texts in zip(*((one.stdout, one.stderr) for one in done), strict=True))
    assert "Traceback" not in err, err
    assert [one.returncode for one in done] == [0] * 4 + [2] * 2
    assert "\\u5b9f\\u9a13/b/seed0" in out
    assert "\\u5b9f\\u9a13/none: no such folder" in err
    assert sorted(path.name for path in (tmp_path / "実験").iterdir()) == ["a", "b"]


def test_a_home_that_cannot_be_written_is_not_told_of_in_raw_lines(tmp_path: Path) -> None:
    home = tmp_path / "file"
    home.touch()  # below a file, no folder can be made, not even by root
    environment = {**os.environ, "HOME": str(home / "home")}
    environment = {key: value for key, value in environment.items() if not key.startswith(("XDG_", "MPLCONFIGDIR"))}
    command = [sys.executable, "-m", "bnexp", "explain", "batchnorm", "--html", "page.html"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "page.html").stat().st_size > 10_000
