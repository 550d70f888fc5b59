"""`bnexp init`: what it writes is a config that can be trained as it stands."""

import json
from pathlib import Path

import pytest

from bnexp.blueprint import draw_files
from bnexp.commands import init as command
from bnexp.commands.init import init
from bnexp.config.json_schema import config_schema
from bnexp.config.loading import load_config
from bnexp.config.packaged import FOLDER, packaged_configs
from bnexp.config.sweep_file import is_sweep
from bnexp.config.sweep_loading import load_sweep
from bnexp.config.sweep_reference import sweep_schema
from bnexp.config.yaml_text import read_yaml_file
from bnexp.errors import ConfigError


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_new_config_is_sound_named_after_its_file_and_says_what_to_type_next(
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = init("experiment")
    (drawn,) = draw_files([file], (), None)
    assert (drawn.blueprints[0].config.name, drawn.warnings) == ("experiment", ())
    first, second, *_ = file.read_text().splitlines()
    assert first == "# yaml-language-server: $schema=bnexp.config.schema.json"
    assert second.startswith("# One network")
    assert json.loads(Path("bnexp.config.schema.json").read_text()) == config_schema()
    out = capsys.readouterr().out
    assert out.startswith("wrote experiment.yaml, a config to edit\n")
    assert out.count("  bnexp ") == 3
    assert max(map(len, out.splitlines())) <= 80


def test_what_comes_with_bnexp_is_copied_and_means_the_same_in_any_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "config_schema", dict)  # which takes a while, and is tested above
    monkeypatch.setattr(command, "sweep_schema", dict)
    of_bases = {name: file for name, file in packaged_configs().items() if "\nbase: " in file.read_text()}
    for name, source in {"cnn_in_pooled": FOLDER / "cnn_in_pooled.yaml", **of_bases}.items():
        file = init(name)
        lines = file.read_text().splitlines()
        assert sum("yaml-language-server" in line for line in lines) == 1
        assert len(lines) > len(source.read_text().splitlines()) - 1
        if is_sweep(read_yaml_file(source)[0]):
            copy, whole = load_sweep(file), load_sweep(source)
            assert copy.file.model_copy(update={"base": whole.file.base}) == whole.file
            assert copy.draft.values == whole.draft.values
        else:
            assert load_config(file) == load_config(source)
        file.unlink()  # a base is what comes with bnexp, and no copy of another


def test_a_copied_sweep_has_the_schema_of_sweeps(capsys: pytest.CaptureFixture[str]) -> None:
    file = init("studies/placement")
    assert file.read_text().startswith("# yaml-language-server: $schema=bnexp.sweep.schema.json\n# Four minutes")
    assert json.loads(Path("bnexp.sweep.schema.json").read_text()) == sweep_schema()
    assert "  bnexp sweep placement.yaml --dry-run\n" in capsys.readouterr().out


def test_nothing_is_replaced_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text("precious")
    Path("gone.yaml").symlink_to("nowhere")
    for name in ("mine", "mine.yaml", "gone"):
        with pytest.raises(ConfigError, match=r"is there already; --force replaces it"):
            init(name)
    assert Path("mine.yaml").read_text() == "precious"
    assert not Path("bnexp.config.schema.json").exists()
    init("mine", force=True)
    assert load_config(Path("mine.yaml")) == load_config(FOLDER / "start.yaml", name="mine")


@pytest.mark.parametrize("name", ["", "../up", "a/b", "con", "a b"])
def test_a_name_that_is_no_file_everywhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no name of a file everywhere"):
        init(name)
    assert not any(tmp_path.iterdir())


def test_a_name_nearly_of_bnexp_is_new_and_the_near_one_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    init("resnt_bn")
    assert (
        "note: resnt_bn is new; a copy of what comes with bnexp is: bnexp init resnet_bn\n" in capsys.readouterr().out
    )
