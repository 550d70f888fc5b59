"""docs/own_norm.md: its files and commands work as they stand there, and nothing in a run folder is run."""

import hashlib
import json
import pickle
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from typer.testing import CliRunner

from bnexp.analysis.arms import differing_keys, gather_arms
from bnexp.blueprint import draw
from bnexp.cli import app
from bnexp.config.loading import load_config
from bnexp.config.plugins import load
from bnexp.errors import BnexpError
from bnexp.runs.folder import resume_command
from bnexp.runs.run import read_run
from bnexp.sweep.work import Task
from command_line import bnexp
from own_norms import MAD, blocks, forgotten


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files of the guide, and nothing else."""
    place = tmp_path_factory.mktemp("own")
    (place / "mad.py").write_text(MAD)
    (place / "study.yaml").write_text(blocks("yaml")[0])
    return place


@pytest.fixture(scope="module")
def said(folder: Path) -> dict[str, CompletedProcess[str]]:
    """Run every command of the guide in its order."""
    commands = blocks("sh")[0].splitlines()
    return {command: bnexp(*shlex.split(command)[1:], cwd=folder) for command in commands}


def test_every_command_of_the_guide_works(said: dict[str, CompletedProcess[str]]) -> None:
    for command, done in said.items():
        assert done.returncode == 0, (command, done.stderr)
    out = {command.split()[1]: done.stdout for command, done in said.items()}
    assert "block1.mad" in out["check"]
    assert "no bias: mad subtracts the mean of each feature" in out["check"]
    assert [line.split()[1] for line in out["compare"].splitlines()[1:3]] == ["mad", "bn"] or "mad" in out["compare"]
    assert "accuracy_by_mode                recomputed" in out["probe"]
    assert "block2.mad  mad   block2.linear" in out["fold"]
    assert "finished already, nothing is left to do" in out["resume"]
    assert "mad(momentum, eps, affine)" in out["catalog"]


def test_a_run_keeps_the_file_and_its_checksum(said: dict[str, CompletedProcess[str]], folder: Path) -> None:
    run = folder / "runs" / "mad" / "seed0"
    kept = json.loads((run / "meta.json").read_text())["plugins"]["mad"]
    checksum = hashlib.sha256(MAD.encode()).hexdigest()
    assert kept == {"path": str(folder / "mad.py"), "sha256": checksum, "distribution": None, "role": "norm"}
    assert (run / "plugin_mad.py").read_text() == MAD
    assert "plugins" not in json.loads((folder / "runs" / "bn" / "seed0" / "meta.json").read_text())


def test_nothing_in_a_run_folder_is_run(said: dict[str, CompletedProcess[str]], folder: Path) -> None:
    run = "runs/mad/seed0"
    for words in (["probe", run], ["fold", run], ["resume", run, "--from-start"]):
        done = bnexp(*words, cwd=folder)
        assert done.returncode == 2
        assert f"to be given again: --plugin {folder / 'mad.py'}; a copy is {run}/plugin_mad.py" in done.stderr
    (folder / "other").mkdir()
    (folder / "other" / "mad.py").write_text(MAD + "# changed\n")
    done = bnexp("probe", run, "--plugin", "other/mad.py", cwd=folder)
    assert done.returncode == 2
    assert "it began with another mad: sha256 " in done.stderr
    for asked in (["other/mad.py", "--changed-plugin"], [f"{run}/plugin_mad.py"]):
        done = bnexp("probe", run, "--probe", "cost", "--plugin", *asked, cwd=folder)
        assert done.returncode == 0, done.stderr
    for words in (["compare"], ["ls"]):
        assert "mad" in bnexp(*words, cwd=folder).stdout


def test_a_report_says_which_file_is_needed_to_redo_it(said: dict[str, CompletedProcess[str]], folder: Path) -> None:
    done = bnexp("report", "runs/mad", "-o", "mad.html", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "--runs-dir again --plugin mad.py" in re.sub(r"[\s\\]+", " ", (folder / "mad.html").read_text())


def test_a_verdict_on_a_sweep_takes_the_file(folder: Path) -> None:
    claim = "{claim: mad is ahead, metric: 'accuracy/val:last', better: norm=mad, than: norm=bn, at_least: 0.02}"
    (folder / "sweep.yaml").write_text(
        f"base: study.yaml\nseeds: 3\naxes: {{model.norm: [bn, mad]}}\nclaims: [{claim}]\n"
    )
    done = bnexp("verdict", "sweep.yaml", cwd=folder)
    assert done.returncode == 2
    assert "One of your own is registered by --plugin FILE.py" in done.stderr
    done = bnexp("verdict", "sweep.yaml", "--plugin", "mad.py", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "undecided" in done.stdout


def test_a_resumed_run_is_the_uninterrupted_one(said: dict[str, CompletedProcess[str]], folder: Path) -> None:
    run = shutil.copytree(folder / "runs" / "mad" / "seed0", folder / "runs" / "stopped" / "seed0")
    records = [json.loads((run / name).read_text()) for name in ("summary.json", "meta.json")]
    rows = (run / "metrics.jsonl").read_text()
    max((run / "checkpoints").glob("step*.pt"), key=lambda path: int(path.stem[4:])).unlink()
    (run / "summary.json").unlink()
    (run / "meta.json").write_text(json.dumps({**records[1], "status": "interrupted"}))
    assert resume_command(run) == f"bnexp resume {run} --plugin {folder / 'mad.py'}"
    done = bnexp(*shlex.split(resume_command(run))[1:], cwd=folder)
    assert done.returncode == 0, done.stderr
    again = json.loads((run / "summary.json").read_text())
    assert [again[key] for key in ("train", "final", "test")] == [records[0][key] for key in ("train", "final", "test")]
    before, now = (
        [json.loads(row).get("loss/train") for row in text.splitlines()]
        for text in (rows, (run / "metrics.jsonl").read_text())
    )
    assert before == now


def test_a_run_of_another_version_is_not_continued_unasked(
    said: dict[str, CompletedProcess[str]], folder: Path
) -> None:
    for name, status in (("mad", "interrupted"), ("mad", "running")):
        run = shutil.copytree(folder / "runs" / name / "seed0", folder / status / name / "seed0")
        (run / "summary.json").unlink()
        meta = json.loads((run / "meta.json").read_text())
        (run / "meta.json").write_text(json.dumps({**meta, "status": "interrupted"}))
    (folder / "new.py").write_text(MAD + "# changed\n")
    words = ["train", "study.yaml", "--plugin", "new.py", "--name", "mad", "--resume", "--runs-dir", "interrupted"]
    done = bnexp(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "interrupted/mad/seed0: it began with another mad: sha256" in done.stderr
    assert "; a new run begins" in done.stderr
    done = bnexp("resume", "running/mad/seed0", "--plugin", "new.py", "--changed-plugin", cwd=folder)
    assert done.returncode == 0, done.stderr
    meta = json.loads((folder / "running" / "mad" / "seed0" / "meta.json").read_text())
    first, now = (one["plugins"]["mad"]["sha256"] for one in (meta["sessions"][0], meta))
    assert first == hashlib.sha256(MAD.encode()).hexdigest() != now
    assert (folder / "running" / "mad" / "seed0" / "plugin_mad.py").read_text() == MAD + "# changed\n"


def test_what_fails_only_in_training_is_told_with_its_line(folder: Path) -> None:
    late = "        if len(x) == 32 and x.shape[1] == 16: x.nothing\n"
    text = MAD.replace("        x = x.to(", f"{late}        x = x.to(")
    (folder / "late.py").write_text(text)
    done = bnexp("train", "study.yaml", "--plugin", "late.py", "--name", "late", cwd=folder)
    line = text[: text.index(late)].count("\n") + 1
    assert done.returncode == 1
    assert f"late.py:{line}: mad: AttributeError: 'Tensor' object has no attribute 'nothing'" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_does_not_hold_leaves_no_run(folder: Path) -> None:
    (folder / "wrong.py").write_text(MAD.replace("subtracts_mean=True", "subtracts_mean=False"))
    for command in ("check", "train"):
        done = bnexp(command, "study.yaml", "--plugin", "wrong.py", "--set", "name=wrong", cwd=folder)
        assert done.returncode == 2
        assert re.search(r"error: wrong\.py:\d+: mad: subtracts_mean=False, but", done.stderr)
        assert "Traceback" not in done.stderr
    assert not (folder / "runs" / "wrong").exists()


def test_a_worker_of_a_sweep_gets_the_file_with_its_task(folder: Path) -> None:
    from bnexp.sweep.worker import attempt, judge

    (folder / "unlike.py").write_text(MAD.replace("scale_invariant=True", "scale_invariant=False"))
    for name, refused in (("mad.py", False), ("unlike.py", True)):
        with forgotten():
            load(folder / name)
            blueprint = draw(load_config(folder / "study.yaml", ["training.steps=2", "training.epochs=null"]), folder)
            sent = pickle.dumps(Task("arm/seed0", blueprint, folder / "swept" / name / "seed0", device="cpu"))
        with forgotten():
            task = pickle.loads(sent)  # noqa: S301  our own
            told = judge(task).refused
            assert ("scale_invariant=False, but" in "".join(told.values())) == refused
            heard: list[Any] = []
            attempt([task], heard.append)
            assert heard[-1].end == ("failed" if refused else "finished")


def test_two_versions_of_a_file_are_two_arms(said: dict[str, CompletedProcess[str]], folder: Path) -> None:
    (folder / "mad2.py").write_text(MAD.replace("1e-5", "1e-4"))
    done = bnexp("train", "study.yaml", "--plugin", "mad2.py", "--name", "mad", "--seed", "1", cwd=folder)
    assert done.returncode == 0, done.stderr
    runs = [read_run(folder / "runs" / name) for name in ("mad/seed0", "mad/seed1", "bn/seed0")]
    assert len(gather_arms(runs[:2])) == 2
    assert differing_keys(gather_arms(runs[:2])) == ["plugins.mad"]
    assert "plugins.mad" not in differing_keys(gather_arms(runs[1:]))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install the norm of the guide as a package, as pip leaves one."""
    site = tmp_path / "site"
    (site / "my_norms").mkdir(parents=True)
    (site / "my_norms" / "__init__.py").write_text("")
    (site / "my_norms" / "mad.py").write_text(MAD)
    info = site / "my_norms-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-norms\nVersion: 1.2\n")
    section = blocks("toml")[0].replace('[project.entry-points."bnexp.norms"]', "[bnexp.norms]").replace('"', "")
    (info / "entry_points.txt").write_text(section)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(blocks("yaml")[0])
    with forgotten():
        yield site


def test_an_installed_norm_needs_no_option(installed: Path) -> None:
    short = ["--set", "training.epochs=1"]
    for words in (["train", "study.yaml", "-q", *short], ["probe", "runs/study/seed0", "--probe", "cost"], ["catalog"]):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
    assert "mad(momentum, eps, affine)" in done.output
    meta = json.loads(Path("runs/study/seed0/meta.json").read_text())
    assert meta["plugins"]["mad"]["distribution"] == "my-norms 1.2"
    (installed / "my_norms-1.2.dist-info").rename(installed / "gone")
    with forgotten():
        failed = CliRunner().invoke(app, ["probe", "runs/study/seed0"])
        assert isinstance(failed.exception, BnexpError)
        assert "mad is of the package my-norms 1.2, which is not installed here" in str(failed.exception)


def test_a_mistake_in_an_installed_norm_is_told_with_its_line(installed: Path) -> None:
    (installed / "my_norms" / "mad.py").write_text("import math\nmath.nothing\n")
    failed = CliRunner().invoke(app, ["check", "study.yaml"])
    assert isinstance(failed.exception, BnexpError)
    told = "site/my_norms/mad.py:2: my-norms 1.2 offers mad, but: AttributeError"
    assert told in str(failed.exception)
    assert told in CliRunner().invoke(app, ["catalog"]).output


def test_an_entry_point_that_registers_nothing_or_is_not_alone_is_told(installed: Path) -> None:
    (installed / "my_norms" / "mad.py").write_text("x = 1\n")
    failed = CliRunner().invoke(app, ["check", "study.yaml"])
    assert "mad: my_norms.mad is to register it, and does not" in str(failed.exception)
    other = shutil.copytree(installed / "my_norms-1.2.dist-info", installed / "her_norms-3.dist-info")
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: her-norms\nVersion: 3\n")
    failed = CliRunner().invoke(app, ["check", "study.yaml"])
    assert "mad: her-norms and my-norms both offer it" in str(failed.exception)
