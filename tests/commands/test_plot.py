"""`bnexp plot`: writes a figure, prints its caption, and refuses what it cannot draw or must not replace."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bnexp.commands.plot import KINDS, plot
from bnexp.errors import BnexpError, ConfigError


@pytest.fixture
def runs_dir(tmp_path: Path, write_run: Callable[..., Path]) -> Path:
    for name, accuracies in (("bn", (0.5, 0.9)), ("none", (0.4, 0.6, 0.7))):
        for seed in range(2):
            config = {"name": name, "seed": seed, "model.norm": name, "model.block": "linear -> norm -> relu"}
            write_run(tmp_path / "runs" / name / f"seed{seed}", config=config, accuracies=accuracies)
    return tmp_path / "runs"


def test_the_caption_goes_to_stdout_and_what_is_not_drawn_to_stderr(
    runs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "curves.svg"
    plot([], kind="curves", output=output, size="column", runs_dir=runs_dir)
    said = capsys.readouterr()
    assert said.out == (
        f"{output}: Validation accuracy over the steps: mean of 2 seeds with the least to greatest seed.\n"
    )
    assert said.err.startswith("note: the curves are not equally long: last step of bn 20, none 30")
    first = output.read_bytes()
    plot(["bn", "none"], kind="curves", output=output, size="column", runs_dir=runs_dir)
    assert output.read_bytes() == first
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["curves.svg"]


def test_where_chooses_runs(runs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot([], kind="curves", output=tmp_path / "bn.svg", conditions=["norm=bn"], runs_dir=runs_dir)
    assert capsys.readouterr().err == ""
    assert ">bn</text>" in (svg := (tmp_path / "bn.svg").read_text())
    assert ">none</text>" not in svg


def test_matplotlib_is_not_loaded_for_what_is_refused(
    runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "bnexp.document.drawing", raising=False)
    with pytest.raises(ConfigError, match="none of 4 runs logged it"):
        plot([], kind="heatmap", output=tmp_path / "a.png", runs_dir=runs_dir)
    assert "bnexp.document.drawing" not in sys.modules


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.jpg", "expected a name that ends with .png, .svg or .pdf"),
        ("a", "expected a name that ends with"),
        ("absent/a.png", "there is no folder"),
        ("folder.png", "a folder; expected the name of a file"),
        ("letters.svg", "a file lies there that is no svg"),
        ("metrics.png", "a file lies there that is no png"),
    ],
)
def test_a_name_that_is_no_figures_is_refused(runs_dir: Path, tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "folder.png").mkdir()
    for other in ("letters.svg", "metrics.png"):
        (tmp_path / other).write_text("my letters")
    with pytest.raises(ConfigError) as found:
        plot([], kind="curves", output=tmp_path / name, runs_dir=runs_dir)
    assert words in str(found.value)
    assert (tmp_path / "letters.svg").read_text() == "my letters"


@pytest.mark.parametrize("kind", KINDS)
def test_an_option_that_a_kind_does_not_take_is_refused(runs_dir: Path, tmp_path: Path, kind: str) -> None:
    given = {"metric": "accuracy/val", "x": "lr", "baseline": "bn"}
    for option in set(given) - set(KINDS[kind]):  # type: ignore[index]
        with pytest.raises(ConfigError, match=f"--{option} .*: --kind {kind} takes none; it goes with --kind"):
            plot([], kind=kind, output=tmp_path / "a.png", runs_dir=runs_dir, **{option: given[option]})  # type: ignore[arg-type]


def test_a_kind_in_the_place_of_a_run_is_answered(runs_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="axis: no such folder; what is drawn is an option: --kind axis"):
        plot(["axis"], kind="curves", output=tmp_path / "a.png", runs_dir=runs_dir)


def test_curves_are_over_steps_or_epochs_alone(runs_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="curves are over step or epoch; --kind axis is over a key"):
        plot([], kind="curves", output=tmp_path / "a.png", x="lr", runs_dir=runs_dir)


def test_a_file_that_cannot_be_written_is_named(
    runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bnexp.commands.plot.write_atomically", full)
    with pytest.raises(BnexpError, match="cannot be written: No space left on device; free some space"):
        plot([], kind="paired", output=tmp_path / "a.svg", runs_dir=runs_dir)
