"""`bnexp train` as a function."""

from pathlib import Path

import pytest

from bnexp.commands import train as command
from bnexp.commands.check import check
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


@pytest.mark.parametrize(("quiet", "resume"), [(False, False), (False, True), (True, False)])
def test_what_begins_is_said_before_anything_is_loaded_for_it(
    config_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quiet: bool, resume: bool
) -> None:
    said = list[str]()
    monkeypatch.setattr(command, "run_all", lambda tasks, failed: said.append(capsys.readouterr().err) or ())
    train([config_file], seed=[0, 1], runs_dir=Path("there"), quiet=quiet, resume=resume)
    first, *others = said[0].splitlines()
    assert first == ("small: 2 runs, in there" + ("" if resume else "; loading torch")) or quiet
    assert all(line.startswith("warning: ") for line in (others if not quiet else [first, *others]))


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


def test_an_error_names_its_file_wherever_it_was_found(config_file: Path, tmp_path: Path) -> None:
    lone = tmp_path / "lone.yaml"
    lone.write_text("base: small.yaml\ndata: {batch_size: 1}\n")
    with pytest.raises(ConfigError, match=r"^\S*lone\.yaml: data\.batch_size 1 with bn"):
        train([config_file, lone, config_file], runs_dir=tmp_path / "runs")
    with pytest.raises(ConfigError, match=r"lone\.yaml: data\.batch_size 1 with bn"):
        train([lone], runs_dir=tmp_path / "runs")
    adam = tmp_path / "adam.yaml"
    adam.write_text("base: small.yaml\noptimizer: {name: adam}\n")
    with pytest.raises(ConfigError, match=r"adam\.yaml: --set optimizer\.momentum=0\.5: unknown key"):
        train([config_file, adam], overrides=["optimizer.momentum=0.5"], runs_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_strict_refuses_warnings_before_anything_is_written(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=r"^--strict: \d warnings?, and none was allowed") as error:
        train([config_file], overrides=["model.norm=bn(momentum=0.9)"], runs_dir=tmp_path / "runs", strict=True)
    assert error.value.exit_code == 2
    assert "warning: bn(momentum=0.9)" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    with pytest.raises(ConfigError, match=r"^--strict"):
        check(config_file, overrides=["model.norm=bn(momentum=0.9)"], strict=True)
    assert "total" in capsys.readouterr().out  # all was shown before


def test_strict_lets_a_config_without_a_warning_pass(config_file: Path, tmp_path: Path) -> None:
    clean = ["model.norm=none", "data.synthetic.size=2500", "training={epochs: null, steps: 2}"]
    assert len(train([config_file], overrides=clean, runs_dir=tmp_path, strict=True, device="cpu")) == 1


def test_strict_counts_doubts_about_memory_too(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bnexp.training.room.free_bytes", lambda device: 100_000)
    clean = ["model.norm=none", "data.synthetic.size=2500", "training={epochs: null, steps: 2}"]
    with pytest.raises(ConfigError, match=r"^--strict: 1 warning, and none was allowed"):
        train([config_file], overrides=clean, runs_dir=tmp_path / "runs", strict=True, device="cpu")
    assert "with --set data.eval_batch_size=" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_two_files_of_one_name_and_another_arm_of_a_name_are_told(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("my run", "my_run"):
        (tmp_path / f"{name}.yaml").write_text(config_file.read_text())
    first, second = tmp_path / "my run.yaml", tmp_path / "my_run.yaml"
    train([first, second], runs_dir=tmp_path / "runs", quiet=True, device="cpu")
    err = capsys.readouterr().err
    assert f"note: {first}: its runs are named my_run; --name gives another name" in err
    assert f"note: {first} and {second} both name their runs my_run" in err
    train([second], overrides=["model.norm=ln"], runs_dir=tmp_path / "runs", quiet=True, device="cpu")
    assert "my_run/seed0 has norm=bn, this run has norm=ln: both are named my_run; --name" in capsys.readouterr().err


def test_each_seed_is_a_run_unless_it_is_done_and_a_warning_is_said_once(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    train([config_file], runs_dir=runs, seed=2, device="cpu", quiet=True)
    capsys.readouterr()
    results = train([config_file], runs_dir=runs, seed=[2, 3, 5], device="cpu", quiet=True)
    assert [result.folder.name for result in results] == ["seed3", "seed5"]
    assert [result.summary["steps"] for result in results] == [12, 12]
    out, err = capsys.readouterr()
    assert out.startswith(f"already finished at {runs / 'small' / 'seed2'}, --again to repeat\n")
    assert len(set(err.splitlines())) == len(err.splitlines())
    with pytest.raises(ConfigError, match="--again begins a new run, --resume continues one"):
        train([config_file], runs_dir=runs, again=True, resume=True)


def test_resume_says_what_it_did_not_continue(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train([config_file], runs_dir=tmp_path / "runs", quiet=True, device="cpu")
    longer = ["training.epochs=3"]
    train([config_file], overrides=longer, runs_dir=tmp_path / "runs", quiet=True, device="cpu", resume=True)
    said = "small/seed0 is finished, and has another config: training.epochs is 2, here 3; bnexp resume "
    told = capsys.readouterr().err
    assert said in told
    assert " --set training.epochs=3 makes it longer" in told


def test_processes_that_cannot_find_each_other_are_refused(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(ConfigError, match="MASTER_ADDR is not set"):
        train([config_file], runs_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_run_that_diverged_fails_where_that_is_asked_for(config_file: Path, tmp_path: Path) -> None:
    overrides = ["optimizer.lr=1e30", "model.norm=none"]

    def trained(**options: bool) -> None:
        train([config_file], overrides=overrides, runs_dir=tmp_path, quiet=True, device="cpu", seed=[0, 1], **options)

    trained()
    failed = r"^--fail-on-divergence: 2 of 2 runs diverged:\n  .*seed0 at step \d+ in .*\n  .*seed1 at step"
    with pytest.raises(BnexpError, match=failed) as said:
        trained(fail_on_divergence=True, resume=True)  # they are complete
    assert said.value.exit_code == 1
    train([config_file], runs_dir=tmp_path, quiet=True, device="cpu", fail_on_divergence=True)
