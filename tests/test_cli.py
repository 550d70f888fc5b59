"""The command line as a person meets it: exit codes, messages, and nothing left behind."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bnexp.cli import main
from command_line import bnexp, program

GOOD = """\
data: {dataset: synthetic, batch_size: 16, synthetic: {classes: 4, shape: [1, 4, 4], size: 100}}
model: {arch: mlp, hidden: [12, 8], block: linear -> norm -> act, norm: bn, activation: relu}
optimizer: {name: sgd, lr: 0.1}
training: {epochs: 2, log_every: 4}
"""


BAD_FILES = {
    "unknown key": (GOOD + "trainig: {}\n", ["trainig", 'Did you mean "training"']),
    "unknown nested key": (GOOD.replace("batch_size", "batchsize"), ["data.batchsize", 'Did you mean "batch_size"']),
    "wrong type": (GOOD.replace("epochs: 2", "epochs: two"), ["training.epochs", "whole number", '"two"']),
    "unknown norm": (GOOD.replace("norm: bn", "norm: bnn"), ["model.norm", 'unknown norm "bnn"', 'Did you mean "bn"']),
    "malformed block": (GOOD.replace("linear -> norm", "linear -> -> norm"), ["model.block", "item 2", "^"]),
    "empty file": ("", ["empty"]),
    "not YAML": ("data: {dataset: [\n", ["not YAML"]),
    "a tag that would run code": (
        GOOD + "name: !!python/object/apply:os.system ['touch hacked']\n",
        ["tag", "not allowed"],
    ),
    "a circle of bases": ("base: bad.yaml\n", ["circle", "bad.yaml -> bad.yaml"]),
    "a missing dataset": (
        GOOD.replace("dataset: synthetic", "dataset: mnist, download: false").replace(
            ", synthetic: {classes: 4, shape: [1, 4, 4], size: 100}", ""
        ),
        ["dataset mnist", "looked in", "--set data.dataset=mnist5k"],
    ),
    "a batch larger than the set": (
        GOOD.replace("batch_size: 16", "batch_size: 91"),
        ["data.batch_size 91", "at most 90"],
    ),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_files_are_answered_with_exit_2_and_nothing_left(kind: str, tmp_path: Path) -> None:
    text, expected = BAD_FILES[kind]
    (tmp_path / "bad.yaml").write_text(text)
    done = bnexp("train", "bad.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert all(words in done.stderr for words in expected), done.stderr
    assert "bad.yaml" in done.stderr or kind in ("a batch larger than the set", "a missing dataset")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) < 24
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


BAD_ARGUMENTS = {
    "an unknown device": (["train", "good.yaml", "--device", "gpu"], ['unknown device "gpu"', "cuda:N"]),
    "a --set without =": (["train", "good.yaml", "--set", "data.batch_size"], ["expected key=value"]),
    "an unknown key in --set": (["train", "good.yaml", "--set", "data.batchsize=3"], ["data.batchsize", "batch_size"]),
    "a missing file": (["train", "god.yaml"], ["god.yaml: no such file", "good.yaml"]),
    "a name that leaves the folder": (["train", "good.yaml", "--name", "../up"], ["--name", '"../up"']),
    "a --set without a value": (["train", "good.yaml", "--set", "optimizer.lr="], ["no value after the ="]),
    "a block in braces": (
        ["train", "good.yaml", "--set", "model={block: linear -> bn(momentum=0.1, eps=1e-3) -> relu}"],
        ["needs quotes"],
    ),
    "a port that is none": (["board", ".", "--port", "-1"], ["--port"]),
    "an unknown command": (["trian"], ["trian"]),
    "an unknown flag": (["train", "good.yaml", "--sed", "3"], ["--sed"]),
    "no config": (["train"], ["CONFIG"]),
}


@pytest.mark.parametrize("kind", BAD_ARGUMENTS)
def test_bad_arguments_are_answered_with_exit_2_and_nothing_left(kind: str, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    words, expected = BAD_ARGUMENTS[kind]
    done = bnexp(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert all(word in done.stderr for word in expected), done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["good.yaml"]


def test_divergence_is_a_result_with_exit_0(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    words = ["--set", "optimizer.lr=1e30", "--set", "model.norm=none", "--device", "cpu"]
    done = bnexp("train", "good.yaml", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "diverged     at step" in done.stdout
    compared = bnexp("compare", cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert "diverged" in compared.stdout


def test_a_pipe_that_closes_does_not_end_a_training(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    command = f"{program()} train good.yaml --device cpu --set training.epochs=8 | head -1"
    subprocess.run(["bash", "-c", command], capture_output=True, cwd=tmp_path, check=True, timeout=120)
    assert '"status": "finished"' in (tmp_path / "runs" / "good" / "seed0" / "meta.json").read_text()


@pytest.mark.long
def test_a_standard_output_that_takes_nothing_does_not_end_a_training_and_is_named_by_ls(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    for words, code, said in (
        ("train good.yaml --device cpu >/dev/full", 0, ""),
        ("ls >/dev/full", 1, "error: standard output cannot be written"),
        ("check good.yaml >/dev/full", 1, "error: standard output cannot be written"),
        ("catalog >/dev/full", 1, "error: standard output cannot be written"),
        ("schema >/dev/full", 1, "error: standard output cannot be written"),
        ("data list >/dev/full", 1, "error: standard output cannot be written"),
        ("ls >&-", 0, ""),
    ):
        begun = f"{sys.executable} -m bnexp" if words.endswith("&-") else program()  # a fork cannot be given nothing
        command = ["bash", "-c", f"{begun} {words}"]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False, timeout=120)
        assert done.returncode == code, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert '"status": "finished"' in (tmp_path / "runs" / "good" / "seed0" / "meta.json").read_text()


def test_every_command_has_help(tmp_path: Path) -> None:
    data = ("data list", "data fetch", "data verify")
    look = ("compare", "verdict", "ls", "board", "catalog")
    for command in ("demo", "init", "train", "sweep", "check", *look, "schema", "explain", "data", *data):
        done = bnexp(*command.split(), "--help", cwd=tmp_path)
        assert done.returncode == 0
        assert "Usage" in done.stdout


def test_help_lists_every_command_once_in_a_panel(tmp_path: Path) -> None:
    shown = bnexp("--help", cwd=tmp_path).stdout
    panels = [line.removesuffix(":") for line in shown.splitlines() if line.endswith(":") and line[0] != " "]
    assert panels == ["Options", "Run", "Look", "Learn", "Data"]
    listed = [line.split()[0] for line in shown.partition("\nRun:")[2].splitlines() if line.startswith("  ")]
    assert sorted(listed) == sorted(
        [
            "demo",
            "init",
            "train",
            "sweep",
            "resume",
            "check",
            "compare",
            "verdict",
            "probe",
            "fold",
            "ls",
            "export",
            "plot",
            "report",
            "board",
            "catalog",
            "explain",
            "schema",
            "data",
        ]
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--format", "csv"], 0, "run,status"),
        (["--csv"], 0, "run,status"),
        (["--csv", "--format", "csv"], 0, "run,status"),
        (["--format", "json"], 0, '"rows"'),
        (["--format", "markdown"], 0, "| run |"),
        (["--csv", "--json"], 2, "--csv and --json: choose one of them"),
        (["--csv", "--format", "table"], 2, "--csv and --format table: choose one of them"),
        (["--format", "jsn"], 2, "expected table, csv, json, markdown"),
    ],
)
def test_the_form_of_a_table_is_chosen_once(words: list[str], code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "runs" / "arm" / "seed0").mkdir(parents=True)
    done = bnexp("ls", *words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("typed", "completed"), [("bnexp comp", ["compare"]), ("bnexp compare --format m", ["markdown"])]
)
def test_a_shell_completes_commands_and_choices(typed: str, completed: list[str], tmp_path: Path) -> None:
    words = {"_BNEXP_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    program = "import sys; sys.argv = ['bnexp']; from bnexp.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, **words}, check=False
    )
    assert done.stdout.split() == completed


def test_the_version_is_said(tmp_path: Path) -> None:
    from bnexp import __version__

    assert bnexp("--version", cwd=tmp_path).stdout.strip() == f"bnexp {__version__}"


def test_a_download_that_fails_leaves_no_folder_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*words: object, **more: object) -> None:
        raise OSError("no network here")

    (tmp_path / "good.yaml").write_text(GOOD)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.delenv("BNEXP_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bnexp", "train", "good.yaml", "--set", "data.synthetic=null"])
    sys.argv += ["--set", "data.dataset=mnist"]
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "no network here" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["good.yaml"]


def test_an_error_shows_a_hostile_name_and_keeps_its_lines(tmp_path: Path) -> None:
    hostile = tmp_path / "\x1b]0;owned\x07\u202e"
    (hostile / "empty").mkdir(parents=True)
    for words in (
        ["ls", hostile.name],
        ["compare", hostile.name],
        ["board", f"{hostile.name}x"],
        ["train", hostile.name],
    ):
        done = bnexp(*words, cwd=tmp_path)
        assert done.returncode == 2
        assert "\\x1b]0;owned\\x07\\u202e" in done.stderr
        assert all(line.isprintable() for line in done.stderr.split("\n"))


def test_hostile_names_of_images_and_classes_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    from bnexp.commands.check import check
    from bnexp.commands.train import train

    for number, name in enumerate(("\x1b[31mred", "b\u202e")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("L", (4 + number, 4)).save(tmp_path / "photos" / name / "1.png")
        Image.new("L", (4, 4)).save(tmp_path / "photos" / name / "2.png")
        (tmp_path / "photos" / name / f"{name}.png").write_bytes(b"no image")
    done = bnexp("data", "verify", "image_folder", "--path", str(tmp_path / "photos"), cwd=tmp_path)
    assert done.returncode == 1
    assert "\\x1b[31mred/\\x1b[31mred.png: not an image" in done.stderr
    assert "b\\u202e/b\\u202e.png" in done.stderr
    (tmp_path / "good.yaml").write_text(
        GOOD.replace("dataset: synthetic", "dataset: image_folder, path: photos, skip_broken: true")
        .replace(", synthetic: {classes: 4, shape: [1, 4, 4], size: 100}", "")
        .replace("batch_size: 16", "batch_size: 2, val_fraction: 0.3")
        .replace("norm: bn", "norm: ln")
    )
    monkeypatch.chdir(tmp_path)
    check(Path("good.yaml"), data_dir=tmp_path)
    checked = capsys.readouterr()
    train([Path("good.yaml")], data_dir=tmp_path, device="cpu")
    trained = capsys.readouterr()
    for text in (done.stderr, checked.out, trained.err):
        assert "\\x1b[31mred.png" in text
        assert all(line.isprintable() for line in text.split("\n"))


CTRL_C_AT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
sys.argv = ["bnexp", "ls"]
from bnexp.cli import main
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
main()
"""


@pytest.mark.parametrize(("name", "code"), [("typer", -2), ("bnexp.errors", -2), ("bnexp.commands.ls", 130)])
def test_ctrl_c_while_the_program_is_loaded_is_a_line_at_most(name, code):
    command = [sys.executable, "-c", CTRL_C_AT.format(name=name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == ("interrupted\n" if code == 130 else "")
