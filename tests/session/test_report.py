"""What is said at the end of a training."""

from collections.abc import Callable
from pathlib import Path

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.session.life import start
from bnexp.session.report import report
from bnexp.session.terms import Terms

MakeConfig = Callable[..., Config]


def said(config: Config, place: Path) -> list[str]:
    return report(start(draw(config, place), Terms(runs_dir=place, data_dir=place, device="cpu"))).splitlines()


def test_a_finished_run_gives_its_scores_and_its_folder(make_config: MakeConfig, tmp_path: Path) -> None:
    lines = said(make_config(), tmp_path)
    assert lines[0].startswith("finished after 12 steps (2 epochs) in 0:0")
    assert [line.split()[0] for line in lines[1:]] == ["training", "validation", "test", "folder"]
    assert lines[-1].endswith(str(tmp_path / "small" / "seed0"))


def test_a_diverged_run_says_where_and_which_statistics_are_spoiled(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(optimizer={"lr": 1e19}, model={"block": "linear -> act -> norm", "hidden": [8] * 6})
    lines = said(config, tmp_path)
    assert lines[0].startswith("diverged after")
    (where,) = [line for line in lines if "not finite, first in" in line]
    (poisoned,) = [line for line in lines if "running_" in line]
    assert "at step 2:" in where
    assert "block1.bn.running" in poisoned
    assert " more" in poisoned, "only the first few are named"


def test_skipped_steps_are_counted(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(
        optimizer={"lr": 1e19}, model={"norm": "none"}, training={"on_divergence": "skip_step", "epochs": 20}
    )
    lines = said(config, tmp_path)
    assert any(line.strip().startswith("skipped ") and "51 steps" in line for line in lines)
