"""`bnexp sweep` from end to end, with workers in processes of their own: what is left is done, and told."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from bnexp.commands import sweep as command
from bnexp.commands.sweep import SweepOptions, sweep
from bnexp.errors import BnexpError, ConfigError
from bnexp.runs.folder import read_json
from bnexp.runs.run import read_run
from bnexp.sweep.estimate import Division

AXIS = ["model.norm=none,bn"]


@pytest.fixture
def options(tmp_path: Path) -> SweepOptions:
    return SweepOptions(tmp_path / "runs", tmp_path, "cpu", workers=2)


def statuses(text: str) -> dict[str, str]:
    return {f"{run['arm']}/{run['seed']}": run["status"] for run in json.loads(text)["runs"]}


def test_a_sweep_is_done_once_and_again_only_what_is_left(
    config_file: Path, options: SweepOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep(config_file, options, axes=AXIS, seeds="2")
    told = capsys.readouterr()
    assert "[4/4]" in told.out
    assert "norm=bn" in told.out
    folder = options.runs_dir / "small-sweep"
    assert {read_run(path.parent).status for path in folder.glob("*/seed*/meta.json")} == {"finished"}
    assert (folder / "sweep.yaml").exists()
    started = (read_json(folder / "norm=bn" / "seed1" / "meta.json") or {})["started"]

    sweep(config_file, options, axes=["model.norm=none,bn,ln"], seeds="2")
    told = capsys.readouterr()
    assert "[2/2]" in told.out  # those of ln
    assert (read_json(folder / "norm=bn" / "seed1" / "meta.json") or {})["started"] == started

    sweep(config_file, options, axes=AXIS, seeds="2", dry_run=True, as_json=True)
    record = json.loads(capsys.readouterr().out)
    assert record["estimate_s"] == 0
    assert {run["status"] for run in record["runs"]} == {"finished"}
    assert record["runs"][0].keys() >= {"arm", "seed", "folder", "status"}


def test_seeds_are_stacked_where_they_can_be(
    config_file: Path, options: SweepOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    axes = ["model.norm=bn,noisy_bn"]
    sweep(config_file, replace(options, workers=1, stack="auto"), axes=axes, seeds="4")
    told = capsys.readouterr()
    assert "[8/8]" in told.out
    assert "note: trained seed by seed: norm=noisy_bn: noisy_bn draws from a random stream" in told.err
    folder = options.runs_dir / "small-sweep"
    metas = {
        arm: [read_json(path) or {} for path in folder.glob(f"{arm}/*/meta.json")]
        for arm in ("norm=bn", "norm=noisy_bn")
    }
    assert [meta["stacked"] for meta in metas["norm=bn"]] == [4, 4, 4, 4]
    assert len({meta["pid"] for meta in metas["norm=bn"]}) == 1
    assert [meta["stacked"] for meta in metas["norm=noisy_bn"]] == [1, 1, 1, 1]

    with pytest.raises(ConfigError, match="--stack 5: noisy_bn draws"):
        sweep(config_file, replace(options, stack=5), axes=axes, seeds="5", dry_run=True)


def test_what_this_machine_cannot_train_stops_a_sweep_before_anything_starts(
    config_file: Path, options: SweepOptions
) -> None:
    wide = ", ".join(9 * ["100000"])
    axes = ["data.dataset=synthetic,mnist", f"model.hidden=[8],[{wide}]"]  # absent, and 320 GB of weights
    overrides = ["data.synthetic=null"]
    with pytest.raises(ConfigError) as refused:
        sweep(config_file, options, axes=axes[:1], seeds="1", overrides=overrides)
    assert "dataset mnist: not found" in str(refused.value)
    with pytest.raises(ConfigError, match="memory"):
        sweep(config_file, options, axes=axes[1:], seeds="1", dry_run=True)
    assert not list(options.runs_dir.glob("*/*/*"))


def test_a_run_that_fails_costs_no_other_and_is_told_with_its_reason(
    config_file: Path, options: SweepOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = options.runs_dir / "small-sweep" / "norm=bn"
    taken.parent.mkdir(parents=True)
    taken.write_text("a file where the folder of an arm is to be")
    with pytest.raises(BnexpError) as failed:
        sweep(config_file, options, axes=AXIS, seeds="1")
    assert str(failed.value).startswith("1 run failed:\nnorm=bn/seed0")
    assert "the same command" in str(failed.value)
    assert read_run(options.runs_dir / "small-sweep" / "norm=none" / "seed0").status == "finished"


def test_a_dry_run_writes_nothing(config_file: Path, options: SweepOptions, capsys: pytest.CaptureFixture[str]) -> None:
    sweep(config_file, options, axes=AXIS, seeds="0-1", dry_run=True)
    told = capsys.readouterr().out
    assert "2 arms, 4 runs: 4 missing" in told
    assert "4 runs to do, 2 runs at a time" in told
    assert not options.runs_dir.exists()


def test_a_dry_run_on_a_cluster_looks_at_it(
    config_file: Path, options: SweepOptions, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    cluster = SimpleNamespace(slots=7, close=lambda: closed.append("closed"))
    monkeypatch.setattr(command, "_cluster", lambda address, *_: cluster)
    monkeypatch.setattr(command, "_measured", lambda *_: (Division(1, 1), 60.0))
    asked = replace(options, ray="auto", workers=None, stack="auto")
    sweep(config_file, asked, axes=AXIS, seeds="0-1", dry_run=True)
    told = capsys.readouterr()
    assert "the cluster has room for 7 runs at a time; that time is measured for this" in told.out
    assert "note: trained seed by seed: seeds are stacked on this machine alone" in told.err
    assert closed == ["closed"]


def test_what_is_saved_is_the_same_sweep(
    config_file: Path, options: SweepOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = config_file.parent / "elsewhere" / "saved.yaml"
    saved.parent.mkdir()
    sweep(config_file, options, axes=AXIS, seeds="2", dry_run=True, as_json=True, save=saved)
    told = capsys.readouterr()
    assert f"saved: bnexp sweep {saved}" in told.err
    first = statuses(told.out)
    assert '"sweep": "saved"' in told.out
    with pytest.raises(ConfigError, match="something else is there"):
        sweep(config_file, options, axes=AXIS, dry_run=True, save=config_file)
    with pytest.raises(ConfigError, match="cannot be written"):
        sweep(config_file, options, axes=AXIS, dry_run=True, save=tmp_path / "no" / "place.yaml")
    sweep(saved, options, dry_run=True, as_json=True)
    assert statuses(capsys.readouterr().out) == first


def test_a_refused_arm_stops_the_sweep_before_anything_starts(config_file: Path, options: SweepOptions) -> None:
    with pytest.raises(ConfigError, match="bnn"):
        sweep(config_file, options, axes=["model.norm=bn,bnn"])
    assert not options.runs_dir.exists()
