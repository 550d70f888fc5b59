"""`bnexp verdict`: the claims of a sweep file are judged by the runs on the disk, from the file or their folder."""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnexp.commands.sweep import SweepOptions, sweep
from bnexp.commands.verdict import verdict
from bnexp.config.sweep_loading import dump_sweep, load_sweep
from bnexp.config.yaml_text import dump_yaml
from bnexp.errors import ConfigError
from bnexp.sweep.arms import expand
from bnexp.sweep.asked import keep_asked, on_changed_claims
from bnexp.sweep.outlook import warnings_of
from bnexp.sweep.plan import Planner, SweepPlan
from planned_runs import store

CLAIM = {"claim": "bn is ahead", "metric": "accuracy/val", "better": "norm=bn", "than": "norm=none", "at_least": 0.02}


@pytest.fixture
def study(tmp_path: Path, config_file: Path) -> Callable[..., Path]:
    """Write a study of bn and none with four seeds; keys of the sweep file by keyword."""

    def write(**keys: Any) -> Path:
        values = {"base": config_file.name, "axes": {"model.norm": ["none", "bn"]}, "seeds": 4, "claims": [CLAIM]}
        path = tmp_path / "study.yaml"
        path.write_text(dump_yaml({**values, **keys}))
        return path

    return write


def plan_of(path: Path) -> SweepPlan:
    return Planner(load_sweep(path), path.parent / "runs", path.parent).plan()


def judged(study: Path | str, folder: Path) -> Any:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        verdict(str(study), runs_dir=folder / "runs", data_dir=folder, output="json")
    return json.loads(out.getvalue())


def trained(path: Path) -> None:
    for run in plan_of(path).runs:
        if run.seed < 3:
            store(run, accuracy=(0.9 if run.arm_name == "norm=bn" else 0.8) + 0.01 * run.seed**2)
        elif run.arm_name == "norm=bn":
            store(run, "failed")


def test_the_file_and_the_folder_of_its_runs_give_the_same_verdicts(
    study: Callable[..., Path], tmp_path: Path, config_file: Path
) -> None:
    path = study()
    trained(path)
    copy = tmp_path / "runs" / "study" / "sweep.yaml"
    keep_asked(load_sweep(path), plan_of(path))
    (found,) = judged(path, tmp_path)
    assert list(found) == ["claim", "verdict", "effect", "low", "high", "n", "p", "p_corrected", "more_seeds", "reason"]
    assert (found["claim"], found["effect"], found["n"]) == ("bn is ahead", pytest.approx(0.1), 3)
    assert "norm=bn: seed 3 failed" in found["reason"]
    assert "norm=none: seed 3 not run yet" in found["reason"]
    assert judged(copy.parent, tmp_path) == judged("study", tmp_path) == [found]
    config_file.unlink()
    assert judged("study", tmp_path) == [found]  # by the copy of the config that it changes


def test_the_table_is_for_people(
    study: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = study()
    trained(path)
    verdict(str(path), runs_dir=tmp_path / "runs", data_dir=tmp_path)
    header, row, *notes = capsys.readouterr().out.splitlines()
    assert row.split()[:5] == ["1", "undecided", "bn", "is", "ahead"]
    assert "+0.1 .. +0.1" in row
    assert notes[0].startswith("note: 1: all 3 differences are alike")
    assert "Holm p" in header


def test_claims_that_were_written_after_the_runs_are_said_to_be(
    study: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = study()
    copy = tmp_path / "runs" / "study" / "sweep.yaml"
    copy.parent.mkdir(parents=True)
    copy.write_text(dump_sweep(load_sweep(path), copy))
    for claim, said in ((CLAIM, False), ({**CLAIM, "at_least": 0.01}, True)):
        verdict(str(study(claims=[claim])), runs_dir=tmp_path / "runs", data_dir=tmp_path)
        assert ("they were written afterwards" in capsys.readouterr().out) == said
    verdict(str(path), runs_dir=tmp_path / "runs", data_dir=tmp_path, output="json")
    out, err = capsys.readouterr()
    assert (len(json.loads(out)), "they were written afterwards" in err) == (1, True)
    for run in plan_of(path).runs:
        store(run, accuracy=0.9)
    sweep(path, SweepOptions(tmp_path / "runs", tmp_path, quiet=True))  # nothing is left to do
    assert "they were written afterwards" in capsys.readouterr().out


def test_claims_changed_between_runs_stay_known(study: Callable[..., Path], tmp_path: Path) -> None:
    path, folder = study(), tmp_path / "runs" / "study"

    def changed(**claim: Any) -> bool:
        asked = load_sweep(study(claims=[{**CLAIM, **claim}]))
        keep_asked(asked, plan_of(path))
        assert (folder / "sweep.yaml").read_text() == dump_sweep(asked, folder / "sweep.yaml")
        return on_changed_claims(asked, folder) is not None

    assert not changed()
    assert not changed(at_least=0.05), "no run has ended yet"
    trained(path)
    assert changed(at_least=0.01)
    assert changed(at_least=0.001)
    assert not changed(at_least=0.05)


def test_without_runs_the_command_that_makes_them_is_told(
    study: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = study()
    verdict(str(path), runs_dir=tmp_path / "runs", data_dir=tmp_path, output="json")
    out, err = capsys.readouterr()
    assert (json.loads(out)[0]["verdict"], json.loads(out)[0]["effect"]) == ("undecided", None)
    assert f"bnexp sweep {path} makes them" in err


def test_what_is_no_study_is_refused_with_what_was_expected(study: Callable[..., Path], tmp_path: Path) -> None:
    path = study(claims=[])
    path.write_text(path.read_text().replace("claims: []\n", ""))
    (tmp_path / "runs" / "other").mkdir(parents=True)
    for asked, said in (
        (path, "no claims; expected such as claims: [{claim: bn is ahead"),
        (tmp_path / "stdy.yaml", "no such file"),
        ("other", "no sweep.yaml in it"),
    ):
        with pytest.raises(ConfigError, match=r".") as caught:
            judged(asked, tmp_path)
        assert said in str(caught.value)


def test_the_study_of_the_guide_is_one(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    written = (root / "docs" / "verdicts.md").read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    (tmp_path / "study.yaml").write_text(written.replace("demo.yaml", str(root / "configs" / "demo.yaml")))
    arms = expand(load_sweep(tmp_path / "study.yaml"))
    assert [arm.name for arm in arms] == ["norm=none", "norm=bn", "norm=ln"]


def test_a_sweep_refuses_claims_about_other_arms_and_warns_of_too_few_seeds(study: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match=r'claims\[0\]: no arm is called norm=bm. Did you mean "norm=bn"\?'):
        plan_of(study(claims=[{**CLAIM, "better": "norm=bm"}]))
    assert warnings_of(plan_of(study(seeds=2)))[-1].startswith("2 seeds, and fewer than 3 decide no claim")
