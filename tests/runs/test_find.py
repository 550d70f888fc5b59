import re
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import bnexp
from bnexp.cli import app
from bnexp.errors import ConfigError
from bnexp.runs.find import find_runs, place_of_new_runs
from bnexp.runs.run import read_run
from records import write_run


@pytest.fixture
def runs(tmp_path: Path, write_run: Callable[..., Path]) -> Path:
    for name in ("mlp/seed0", "mlp/seed2", "mlp/seed10", "sweep/mlp_bn/seed0", "mlp_bn/seed0"):
        write_run(tmp_path / "runs" / name)
    (tmp_path / "runs" / "mlp" / "seed0" / "checkpoints").mkdir()
    return tmp_path / "runs"


def names(found: list[Path], runs: Path) -> list[str]:
    return [folder.relative_to(runs).as_posix() for folder in found]


def test_all_runs_in_natural_order(runs: Path) -> None:
    expected = ["mlp/seed0", "mlp/seed2", "mlp/seed10", "mlp_bn/seed0", "sweep/mlp_bn/seed0"]
    assert names(find_runs([], runs), runs) == expected


def test_a_run_a_folder_a_pattern_and_a_name(runs: Path) -> None:
    assert names(find_runs([str(runs / "mlp" / "seed2")], runs), runs) == ["mlp/seed2"]
    assert names(find_runs([str(runs / "sweep")], runs), runs) == ["sweep/mlp_bn/seed0"]
    assert names(find_runs([str(runs / "*" / "seed0")], runs), runs) == ["mlp/seed0", "mlp_bn/seed0"]
    assert names(find_runs([str(runs / "**" / "mlp_bn")], runs), runs) == ["mlp_bn/seed0", "sweep/mlp_bn/seed0"]
    assert names(find_runs(["mlp_bn"], runs), runs) == ["mlp_bn/seed0"]
    assert names(find_runs(["mlp_*"], runs), runs) == ["mlp_bn/seed0"]


def test_each_run_counts_once(runs: Path) -> None:
    (runs / "link").symlink_to(runs / "mlp_bn")
    paths = [str(runs / "mlp_bn"), str(runs / "mlp_bn" / "seed0"), str(runs / "*bn"), str(runs / "link")]
    assert names(find_runs(paths, runs), runs) == ["mlp_bn/seed0"]


def test_runs_that_links_lead_to_are_found_and_count_once(runs: Path, tmp_path: Path) -> None:
    mix = tmp_path / "mix"
    mix.mkdir()
    (mix / "plain").symlink_to(runs / "mlp")
    (mix / "norm").symlink_to(runs / "mlp_bn")
    (mix / "one").symlink_to(runs / "mlp" / "seed2")
    (mix / "nothing").symlink_to(runs / "gone")
    expected = ["norm/seed0", "one", "plain/seed0", "plain/seed10"]
    assert sorted(names(find_runs([str(mix)], runs), mix)) == expected
    (mix / "all").symlink_to(runs)
    assert len(find_runs([str(mix)], runs)) == 5
    assert sorted(find_runs([str(mix), str(runs)], runs)) == sorted(find_runs([], runs))


def test_below_a_link_no_whole_disk_is_searched(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    write_run(tmp_path / "disk" / "a" / "b" / "seed0")
    write_run(tmp_path / "disk" / "a" / "b" / "c" / "seed0")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "disk")
    assert names(find_runs([], tmp_path / "runs"), tmp_path / "runs") == ["link/a/b/seed0"]


def test_links_in_a_circle_end(runs: Path) -> None:
    (runs / "mlp" / "again").symlink_to(runs)
    assert len(find_runs([], runs)) == 5


def test_a_folder_just_claimed_is_a_run_and_a_run_named_like_a_seed_hides_nothing(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    (tmp_path / "mlp" / "seed3").mkdir(parents=True)
    write_run(tmp_path / "seed1" / "seed0")
    assert names(find_runs([], tmp_path), tmp_path) == ["mlp/seed3", "seed1/seed0"]


def test_a_run_with_folders_in_the_place_of_its_records_is_a_run(tmp_path: Path) -> None:
    for name in ("config.yaml", "config.json", "meta.json", "metrics.jsonl", "summary.json"):
        (tmp_path / "mlp" / "seed3" / name).mkdir(parents=True)
    assert names(find_runs([], tmp_path), tmp_path) == ["mlp/seed3"]


def test_nothing_found_says_where_and_how_to_get_a_run(tmp_path: Path) -> None:
    for paths in ([], [str(tmp_path)]):
        with pytest.raises(ConfigError, match=r"no runs in .*bnexp train demo") as error:
            find_runs(paths, tmp_path)
        assert str(tmp_path) in str(error.value)
    with pytest.raises(ConfigError, match=r"bnexp train demo"):
        find_runs([], tmp_path / "runs")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("mlp_bm", 'Did you mean "mlp_bn"'),
        ("mlp/seed9", 'Did you mean "mlp/seed'),
        ("nothing*", "no folder matches this pattern"),
        ("mlp/seed0/meta.json", "no such folder"),
    ],
)
def test_a_path_that_is_not_there(runs: Path, path: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        find_runs([path], runs)
    assert said in str(error.value)
    assert path in str(error.value)


def test_a_mistyped_path_with_the_runs_folder(runs: Path) -> None:
    with pytest.raises(ConfigError) as error:
        find_runs([str(runs / "mlp_bm")], runs)
    assert f'Did you mean "{runs / "mlp_bn"}"' in str(error.value)


def test_a_file_is_refused(runs: Path) -> None:
    with pytest.raises(ConfigError, match="a file; expected a run folder"):
        find_runs([str(runs / "mlp" / "seed0" / "meta.json")], runs)


def test_new_runs_go_beside_those_that_one_stands_among(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (runs / "mlp" / "seed0" / "config.yaml").touch()
    for here, place in ((runs.parent, "runs"), (runs, "."), (runs / "mlp", ".."), (runs / "mlp" / "seed0", "../..")):
        monkeypatch.chdir(here)
        assert place_of_new_runs(Path("runs")) == Path(place)
        assert place_of_new_runs(Path("elsewhere")) == Path("elsewhere")
    (runs.parent / "other" / "seed0").mkdir(parents=True)
    monkeypatch.chdir(runs.parent / "other")
    assert place_of_new_runs(Path("runs")) == Path("runs"), "a folder of that name is not yet a run"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("mlp,mlp_bn", "Several stand apart, where a command takes several: mlp mlp_bn"),
        ("mlp/seed{0,2}", "Braces are filled in by the shell, without quotes"),
    ],
)
def test_several_runs_in_one_word_are_told_how_they_stand(runs: Path, path: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        find_runs([path], runs)


def test_a_config_in_the_place_of_its_runs_is_told_where_they_are(runs: Path) -> None:
    config = runs.parent / "mlp.yaml"
    config.touch()
    with pytest.raises(ConfigError, match=f'a file; .*did you mean "{runs / "mlp"}"'):
        find_runs([str(config)], runs)


def test_a_run_inside_the_folder_of_another_is_named(runs: Path, write_run: Callable[..., Path]) -> None:
    outer = runs / "mlp" / "seed0"
    assert read_run(outer).problems == ()
    inner = [write_run(outer / "inner"), write_run(outer / "ln" / "seed0")]
    (outer / "notes").mkdir()
    problems = read_run(outer).problems
    assert [problem.partition(":")[0] for problem in problems] == [str(inner[0]), str(inner[1].parent)]
    assert all("is not read; move it out" in problem for problem in problems)


def test_a_variable_names_the_runs_where_nothing_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name in (("mine", "a"), ("runs", "b")):
        write_run(tmp_path / place / name / "seed0", config={"name": name})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BNEXP_RUNS", "~/mine")
    monkeypatch.setenv("HOME", str(tmp_path))

    def listed(*words: str) -> list[str]:
        done = CliRunner().invoke(app, [*words, "--format", "csv"])
        assert done.exit_code == 0, done.output
        return re.findall(r"\b(?:mine|runs)/([ab])", done.stdout)

    for command in ("ls", "export"):
        assert listed(command) == ["a"]
    assert listed("ls", "runs") == listed("export", "--runs-dir", "runs") == ["b"]
    assert [run.name for run in bnexp.load_runs()] == ["a"]
    assert [run.name for run in bnexp.load_runs(runs_dir="runs")] == ["b"]
    monkeypatch.setenv("BNEXP_RUNS", "")
    assert listed("ls") == ["b"]
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        if option := next((own for own in command.params if "--runs-dir" in own.opts), None):
            assert option.callback is not None, name
