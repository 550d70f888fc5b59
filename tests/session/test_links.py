"""A run folder of somebody else may hold links: nothing outside of it is written, cut, deleted or read through them."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.errors import BnexpError, Interrupted
from bnexp.files import write_text_atomically
from bnexp.inspection.stored import probe_run
from bnexp.runs.checkpoints import load_checkpoint, newest_checkpoints, save_checkpoint
from bnexp.runs.run import read_run
from bnexp.session.display import Display
from bnexp.session.life import start
from bnexp.session.resume import resume
from bnexp.session.terms import Terms

MakeConfig = Callable[..., Config]


class StopAt(Display):
    def step(self, step: int, clock: Any) -> None:
        if step == 8:
            raise KeyboardInterrupt


@pytest.fixture
def folder(make_config: MakeConfig, tmp_path: Path) -> Path:
    """A run that was stopped after step 8, with a checkpoint after step 6."""
    terms = Terms(runs_dir=tmp_path, data_dir=tmp_path, device="cpu", show=lambda name, plan: StopAt())
    with pytest.raises(Interrupted):
        start(draw(make_config(), tmp_path), terms)
    return tmp_path / "small" / "seed0"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    return tmp_path / "outside"


def moved_behind_a_link(path: Path, outside: Path) -> Path:
    """Move a file or folder out of the run, and let a link lead to it."""
    target = outside / path.name
    shutil.move(path, target)
    path.symlink_to(target)
    return target


def content(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", ["metrics.jsonl", "config.yaml", ".lock", "checkpoints"])
def test_a_link_in_a_run_is_refused_by_name(folder: Path, outside: Path, tmp_path: Path, name: str) -> None:
    moved_behind_a_link(folder / name, outside)
    before = content(outside)
    for from_start in (False, *([True] if name == "checkpoints" else [])):
        with pytest.raises(BnexpError, match=rf"{name}: .*link") as refused:
            resume(folder, Terms(data_dir=tmp_path), from_start=from_start)
        assert str(outside) in str(refused.value) or name == "config.yaml"
        assert content(outside) == before


def test_rows_behind_a_link_are_not_cut_where_a_checkpoint_says_that_there_are_none(
    folder: Path, outside: Path, tmp_path: Path
) -> None:
    path = newest_checkpoints(folder)[0]
    state = load_checkpoint(path)
    state["rows"] = {"count": 0, "size": 0, "sha256": hashlib.sha256().hexdigest()}
    shutil.rmtree(folder / "checkpoints")
    save_checkpoint(path, state)
    target = moved_behind_a_link(folder / "metrics.jsonl", outside)
    before = target.read_bytes()
    with pytest.raises(BnexpError, match=r"metrics.jsonl: cannot be read: a link to"):
        resume(folder, Terms(data_dir=tmp_path))
    assert target.read_bytes() == before


@pytest.mark.parametrize("name", ["metrics.jsonl", "meta.json", "summary.json", "config.json"])
def test_a_link_that_leads_nowhere_makes_no_file_there(folder: Path, outside: Path, tmp_path: Path, name: str) -> None:
    shutil.rmtree(folder / "checkpoints")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(outside / "made")
    resume(folder, Terms(data_dir=tmp_path), from_start=True)
    assert content(outside) == {}
    assert not (folder / name).is_symlink() or name == "config.json", "what is written takes the place of the link"


def test_meta_json_behind_a_link_is_replaced_and_its_target_stays(folder: Path, outside: Path, tmp_path: Path) -> None:
    target = moved_behind_a_link(folder / "meta.json", outside)
    before = target.read_bytes()
    resume(folder, Terms(data_dir=tmp_path))
    assert target.read_bytes() == before
    assert not (folder / "meta.json").is_symlink()


def test_a_checkpoint_behind_a_link_is_passed_over(folder: Path, outside: Path, tmp_path: Path) -> None:
    newest, before = newest_checkpoints(folder)
    target = moved_behind_a_link(newest, outside)
    whole = target.read_bytes()
    told: list[str] = []
    resume(folder, Terms(data_dir=tmp_path, warn=told.append))
    assert "a link to" in told[0]
    assert before.name == "step0.pt"
    assert target.read_bytes() == whole


def test_a_file_with_another_name_outside_keeps_its_rows(folder: Path, outside: Path, tmp_path: Path) -> None:
    rows = folder / "metrics.jsonl"
    with rows.open("ab") as file:
        file.write(b'{"step": 9}\n')  # to be cut
    os.link(rows, outside / "backup")
    before = rows.read_bytes()
    resume(folder, Terms(data_dir=tmp_path))
    assert (outside / "backup").read_bytes() == before


def test_links_under_temporary_names_are_not_followed(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows the name beforehand; if somebody did, the file would not be written through the link."""
    monkeypatch.setattr("bnexp.files.secrets.token_hex", lambda size: "known")
    (tmp_path / ".meta.json.known.tmp").symlink_to(outside / "made")
    with pytest.raises(FileExistsError):
        write_text_atomically(tmp_path / "meta.json", "{}")
    assert content(outside) == {}


def test_nothing_is_read_through_a_link(folder: Path, outside: Path, tmp_path: Path) -> None:
    for name in ("config.yaml", "config.json", "meta.json"):
        moved_behind_a_link(folder / name, outside)
    run = read_run(folder)
    assert run.config is None
    assert run.status == "unknown"
    assert len([problem for problem in run.problems if "link" in problem]) == 2
    for name in ("config.yaml", "config.json"):
        shutil.move(outside / name, folder / name)
    moved_behind_a_link(folder / "checkpoints", outside)
    with pytest.raises(BnexpError, match=r"checkpoints: cannot be read: a link to"):
        probe_run(folder, probes=["norm_state"], data_dir=tmp_path, device="cpu")
