"""The last two checkpoints are kept, the newest whole one is found, and nothing else is touched."""

import errno
import os
from pathlib import Path

import pytest

from bnexp.errors import BnexpError
from bnexp.runs.checkpoints import BEST, CheckpointFolder, load_checkpoint, load_newest, newest_first


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_the_last_two_and_the_best_are_kept(tmp_path: Path) -> None:
    kept = CheckpointFolder(tmp_path)
    for step in (0, 6, 12, 100):
        kept.save(step, {"step": step})
    kept.save_best(6, {})
    assert names(tmp_path) == [BEST, "step100.pt", "step12.pt"]
    assert [path.name for path in newest_first(tmp_path)] == ["step100.pt", "step12.pt"]
    loaded = load_newest(tmp_path)
    assert loaded is not None
    assert (loaded.values, loaded.damaged) == ({"step": 100}, ())


def test_nothing_is_found_where_nothing_was_written(tmp_path: Path) -> None:
    assert load_newest(tmp_path) is None
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "notes.txt").write_text("mine")
    (tmp_path / "checkpoints" / ".step3.pt.1.tmp").write_text("half")
    assert load_newest(tmp_path) is None


def test_a_damaged_one_is_passed_over_and_makes_way_for_the_next(tmp_path: Path) -> None:
    first = CheckpointFolder(tmp_path)
    for step in (6, 12):
        first.save(step, {"step": step})
    newest = newest_first(tmp_path)[0]
    newest.write_bytes(newest.read_bytes()[:-3])
    loaded = load_newest(tmp_path)
    assert loaded is not None
    assert loaded.values == {"step": 6}
    assert "step12.pt" in loaded.damaged[0]
    assert names(tmp_path) == ["step12.pt", "step6.pt"], "looking deletes nothing"
    CheckpointFolder(tmp_path, loaded.path).save(8, {"step": 8})
    assert names(tmp_path) == ["step6.pt", "step8.pt"]


def test_all_damaged_ones_are_named(tmp_path: Path) -> None:
    kept = CheckpointFolder(tmp_path)
    for step in (6, 12):
        kept.save(step, {"step": step})
    for path in newest_first(tmp_path):
        path.write_bytes(b"")
    with pytest.raises(BnexpError, match=r"(?s)no checkpoint is whole.*step12.pt.*step6.pt"):
        load_newest(tmp_path)


def test_a_disk_without_room_leaves_those_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = CheckpointFolder(tmp_path)
    for step in (6, 12):
        kept.save(step, {"step": step})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        kept.save(18, {"step": 18})
    assert names(tmp_path) == ["step12.pt", "step6.pt"]
    assert load_checkpoint(newest_first(tmp_path)[0]) == {"step": 12}
