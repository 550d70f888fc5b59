"""`bnexp train` as a function."""

from pathlib import Path

import pytest

from bnexp.commands.train import train
from bnexp.errors import BnexpError, ConfigError, Interrupted
from bnexp.session import life


def test_several_configs_run_in_turn_and_each_reports(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = tmp_path / "second.yaml"
    second.write_text("base: small.yaml\nmodel: {norm: ln}\n")
    results = train([config_file, second], runs_dir=tmp_path / "runs", seed=3, device="cpu")
    assert [result.folder for result in results] == [tmp_path / "runs" / name / "seed3" for name in ("small", "second")]
    out = capsys.readouterr().out
    assert out.count("finished after 12 steps") == 2
    assert all(str(result.folder) in out for result in results)
    assert out.count("val accuracy") == 4  # without a terminal, a line per evaluation


def test_quiet_prints_only_what_came_out(config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train([config_file], runs_dir=tmp_path / "runs", quiet=True, device="cpu")
    out = capsys.readouterr().out
    assert "val accuracy" not in out
    assert "folder" in out


def test_all_configs_are_checked_before_the_first_starts(config_file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("base: small.yaml\nmodel: {norm: bnn}\n")
    with pytest.raises(ConfigError, match=r"broken\.yaml:2.*model\.norm"):
        train([config_file, broken], runs_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_an_interruption_says_how_many_configs_have_not_begun(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*words: object, **options: object) -> None:
        raise Interrupted("stopped", 143)

    monkeypatch.setattr(life, "start", interrupted)
    with pytest.raises(Interrupted, match=r"^stopped\n2 more not begun: .*--resume") as several:
        train([config_file] * 3, runs_dir=tmp_path)
    with pytest.raises(Interrupted, match=r"^stopped$"):
        train([config_file], runs_dir=tmp_path)
    assert several.value.exit_code == 143


def test_one_name_is_not_given_to_several(config_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--name"):
        train([config_file, config_file], runs_dir=tmp_path / "runs", name="both")


def test_one_failure_does_not_stop_the_others(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing.yaml"
    missing.write_text("base: small.yaml\ndata: {dataset: mnist, download: false, synthetic: null}\n")
    with pytest.raises(BnexpError, match=r"1 of 2 runs failed(.|\n)*missing") as error:
        train([missing, config_file], runs_dir=tmp_path / "runs", data_dir=tmp_path, device="cpu")
    assert error.value.exit_code == 1
    assert (tmp_path / "runs" / "small" / "seed0" / "summary.json").exists()
    assert "mnist5k" in capsys.readouterr().err


def test_warnings_are_said_before_training(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train([config_file], overrides=["model.norm=bn(momentum=0.9)"], runs_dir=tmp_path / "runs", device="cpu")
    assert "warning: bn(momentum=0.9)" in capsys.readouterr().err
