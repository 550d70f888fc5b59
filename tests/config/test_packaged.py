"""A config by its name: the file on the disk wins, then the one that comes with bnexp."""

import re
from pathlib import Path

import pytest

import bnexp
from bnexp.cli import app
from bnexp.commands.data import verify
from bnexp.commands.report import report
from bnexp.config.loading import load, load_config
from bnexp.config.packaged import FOLDER, file_name, find_config, name_of_packaged, packaged_configs
from bnexp.config.sweep_loading import dump_sweep, load_sweep, sweep_of_options
from bnexp.config.yaml_text import no_such_file
from bnexp.errors import ConfigError
from bnexp.sweep.judging import find_study

MINE = "seed: 77\nbase: mnist_mlp_bn\n"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_file_of_the_repository_has_its_name() -> None:
    here = Path(__file__).parents[2] / "configs"
    assert here == FOLDER
    files = {path.relative_to(here).with_suffix("").as_posix(): path for path in here.rglob("*.yaml")}
    assert packaged_configs() == files
    assert {name_of_packaged(path) for path in files.values()} == set(files)
    assert {"demo", "demo/none", "studies/placement", "sweeps/sprint"} <= set(files)


@pytest.mark.parametrize("typed", ["resnet_bn", "resnet_bn.yaml", "configs/resnet_bn.yaml", "configs/resnet_bn"])
def test_a_name_means_the_same_config_however_it_is_typed(typed: str) -> None:
    config, notes = load(Path(typed))
    assert config == load_config(FOLDER / "resnet_bn.yaml")
    assert config.name == "resnet_bn"
    told = f"there is no {typed}: resnet_bn is read, which comes with bnexp"
    assert list(notes) == ([told] if typed.endswith(".yaml") else [])


@pytest.mark.parametrize("file", ["demo", "demo.yaml", "demo.yml"])
def test_a_file_of_that_name_wins(file: str) -> None:
    Path(file).write_text(MINE)
    assert load_config(Path("demo")).seed == 77
    assert find_config(Path("demo/bn")) == FOLDER / "demo" / "bn.yaml"


def test_a_folder_of_that_name_hides_nothing_and_a_broken_link_is_a_file() -> None:
    Path("demo").mkdir()
    assert find_config(Path("demo")) == FOLDER / "demo.yaml"
    Path("cnn_bn").symlink_to("gone")
    with pytest.raises(ConfigError, match=r"^cnn_bn: no such file"):
        load_config(Path("cnn_bn"))


@pytest.mark.parametrize("base", ["mnist_mlp_bn", "mnist_mlp_bn.yaml", "configs/mnist_mlp_bn.yaml"])
def test_a_base_may_come_with_bnexp_unless_a_file_lies_beside_its_own(base: str) -> None:
    folder = Path("deep")
    folder.mkdir()
    (folder / "mine.yaml").write_text(f"seed: 77\nbase: {base}\n")
    config, notes = load(folder / "mine.yaml")
    whole = load_config(FOLDER / "mnist_mlp_bn.yaml")
    assert config == whole.model_copy(update={"seed": 77, "name": "mine"})
    assert len(notes) == base.endswith(".yaml")
    (folder / "mnist_mlp_bn.yaml").write_text("base: cnn_bn\nname: cnn\n")
    beside = load_config(folder / "mine.yaml")
    assert (beside.model.arch == "cnn") == (not base.startswith("configs/"))


def test_a_folder_of_studies_of_my_own_does_not_stand_for_those_of_bnexp() -> None:
    Path("studies").mkdir()
    Path("studies/mine.yaml").write_text("base: placement.yaml\n")
    with pytest.raises(ConfigError, match=r"base: studies.placement\.yaml: no such file"):
        load_config(Path("studies/mine.yaml"))


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("minst_mlp_bn", "mnist_mlp_bn"),
        ("configs/resnt_bn.yaml", "resnet_bn"),
        ("placment", "studies/placement"),
        ("studies/batchsize", "studies/batch_size"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(wrong: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f'{wrong}: no such file. Did you mean "{meant}"?')):
        load_config(Path(wrong))


def test_a_word_that_nothing_is_near_is_answered_with_where_names_are_listed() -> None:
    for word, lists in {"zzz": True, "zzz.yaml": False, "there/zzz": False}.items():
        assert no_such_file(Path(word)).endswith("; bnexp catalog lists those") == lists
        assert no_such_file(Path(word)).startswith(f"{word}: no such file")


def test_a_file_beside_is_nearer_than_what_comes_with_bnexp() -> None:
    Path("mnist_mlp_bm.yaml").touch()
    assert no_such_file(Path("mnist_mlp_bb.yaml")).endswith('Did you mean "mnist_mlp_bm.yaml"?')
    assert no_such_file(Path("/mnist_mlp_bm")) == "/mnist_mlp_bm: no such file"


def test_messages_call_it_by_its_name() -> None:
    assert file_name(FOLDER / "studies" / ".." / "demo.yaml") == "demo"
    assert file_name(Path("configs/demo.yaml")) == "configs/demo.yaml"
    with pytest.raises(ConfigError, match=r"^sweeps/sprint: a sweep file, .*: bnexp sweep sweeps/sprint"):
        load_config(Path("sweeps/sprint"))
    with pytest.raises(ConfigError, match=r"bnexp sweep demo --axis model\.norm=none,bn,ln"):
        load_sweep(Path("demo"))


def test_a_sweep_is_found_and_its_copy_names_its_base(tmp_path: Path) -> None:
    study = find_study("studies/placement", Path("runs"))
    assert (study.file, study.sweep.name) == (FOLDER / "studies" / "placement.yaml", "placement")
    assert len(study.sweep.file.claims) > 2
    typed = sweep_of_options(Path("demo"), ["model.norm=none,bn"])
    assert (typed.name, typed.base_path) == ("demo-sweep", FOLDER / "demo.yaml")
    for sweep in (study.sweep, typed):
        copy = tmp_path / "runs" / sweep.name / "sweep.yaml"
        copy.parent.mkdir(parents=True)
        copy.write_text(dump_sweep(sweep, copy))
        assert f"base: {name_of_packaged(sweep.base_path.resolve())}\n" in copy.read_text()
        assert load_sweep(copy).draft.values == sweep.draft.values


def test_whatever_takes_a_config_takes_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert bnexp.load_config("demo") == load_config(FOLDER / "demo.yaml")
    verify("demo", strict=True)
    assert "mnist5k" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"^studies/placement: no runs .*; train them with: bnexp sweep studies/pl"):
        report("studies/placement")
    with pytest.raises(ConfigError, match=r"^resnet_bn: a config, and no command; expected bnexp train resnet_bn --se"):
        app(["resnet_bn", "--seed", "1"], standalone_mode=False)


def test_whatever_pages_lessons_and_hints_tell_to_type_is_there_in_any_folder() -> None:
    root = Path(__file__).parents[2]
    pages = [root / "README.md", *root.glob("docs/*.md"), *root.glob("bnexp/**/*.py"), *root.glob("bnexp/**/*.md")]
    named = set[str]()
    for page in pages:
        for words in re.findall(r"\bbnexp (?:train|check|sweep|report|verdict) ([^\n`\"']+)", page.read_text()):
            first = words.split()[0]
            assert not first.startswith("configs/"), (page, words)
            made = page.parent.name == "docs" or words == "made"  # guides may make files of their own
            if re.fullmatch(r"[a-z][a-z0-9_/]+", first) and not made:
                named.add(first)
    assert {"demo", "mnist_mlp_bn", "studies/placement", "sweeps/norm_and_rate"} <= named <= set(packaged_configs())
