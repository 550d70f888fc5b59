"""Which run of a config is resumed, and meta.json follows summary.json where a process was killed between the two."""

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from bnexp.config.loading import dump_config
from bnexp.config.schema import Config
from bnexp.errors import BnexpError
from bnexp.runs import resuming
from bnexp.runs.lock import run_lock
from bnexp.runs.resuming import complete_meta, newest_run_of

MakeConfig = Callable[..., Config]


def begun(runs_dir: Path, text: str) -> Path:
    folder = runs_dir / "small" / "seed0"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(text)
    return folder


def test_a_run_is_of_the_config_also_where_that_leaves_a_default_unsaid(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    """As a run does that was made before the key was known."""
    lines = dump_config(make_config()).splitlines(keepends=True)
    unsaid = "".join(line for line in lines if "on_divergence" not in line)
    assert len(unsaid.splitlines()) == len(lines) - 1
    folder = begun(tmp_path, unsaid)
    found = newest_run_of(make_config(), tmp_path)
    assert found is not None
    assert found.folder == folder


def test_a_run_of_another_config_or_of_one_that_cannot_be_read_is_none(make_config: MakeConfig, tmp_path: Path) -> None:
    folder = begun(tmp_path, dump_config(make_config()))
    assert newest_run_of(make_config(seed=1), tmp_path) is None
    (folder / "config.yaml").write_text("seed: 0\nname: small\nmodel: [")
    assert newest_run_of(make_config(), tmp_path) is None
    (folder / "config.yaml").unlink()
    assert newest_run_of(make_config(), tmp_path) is None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "meta.json").write_text(json.dumps({"status": "running", "seed": 3, "ended": None, "error": None}))
    (tmp_path / "summary.json").write_text(json.dumps({"status": "diverged"}))
    os.utime(tmp_path / "summary.json", (86_400, 86_400))
    return tmp_path


def meta_of(folder: Path) -> Any:
    return json.loads((folder / "meta.json").read_text())


def test_meta_takes_the_status_and_the_time_of_the_summary(folder: Path) -> None:
    (folder / ".meta.json.5.tmp").write_text("half")
    complete_meta(folder)
    assert meta_of(folder) == {"status": "diverged", "seed": 3, "ended": "1970-01-02T00:00:00+00:00", "error": None}
    assert not list(folder.glob(".*.tmp"))


def test_a_meta_that_agrees_is_left_as_it_is(folder: Path) -> None:
    (folder / "meta.json").write_text('{"status": "diverged"}')
    complete_meta(folder)
    assert (folder / "meta.json").read_text() == '{"status": "diverged"}'


@pytest.mark.parametrize("name", ["meta.json", "summary.json"])
def test_without_one_of_them_nothing_is_written(folder: Path, name: str) -> None:
    (folder / name).unlink()
    before = sorted(folder.iterdir())
    complete_meta(folder)
    assert sorted(folder.iterdir()) == before


def test_what_another_process_notes_while_it_holds_the_lock_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = {"status": "diverged", "seed": 3, "ended": "2026-01-01T00:00:00+00:00", "error": None}

    def lock_after_another(place: Path) -> AbstractContextManager[None]:
        (place / "meta.json").write_text(json.dumps(noted))
        return run_lock(place)

    monkeypatch.setattr(resuming, "run_lock", lock_after_another)
    complete_meta(folder)
    assert meta_of(folder) == noted


def test_a_process_that_is_about_to_write_it_is_not_disturbed(folder: Path) -> None:
    with run_lock(folder), pytest.raises(BnexpError, match="right now"):
        complete_meta(folder)
    assert meta_of(folder)["status"] == "running"
