"""A checkpoint comes back as it was saved or is named as damaged; the last two stay, the newest whole one is found."""

import errno
import hashlib
import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from bnexp.errors import BnexpError
from bnexp.runs.checkpoints import (
    BEST,
    CheckpointFolder,
    load_checkpoint,
    load_newest,
    newest_checkpoints,
    save_checkpoint,
)

VALUES = {"step": 3, "weights": {"head.weight": torch.arange(6.0).view(2, 3), "count": torch.tensor(7)}}


def test_tensors_and_values_come_back(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "final.pt"
    save_checkpoint(path, VALUES)
    loaded = load_checkpoint(path)
    assert loaded["step"] == 3
    for name, tensor in VALUES["weights"].items():
        assert torch.equal(loaded["weights"][name], tensor)
        assert loaded["weights"][name].dtype == tensor.dtype
    assert [found.name for found in path.parent.iterdir()] == ["final.pt"]


def test_a_byte_that_was_changed_or_lost_anywhere_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "final.pt"
    save_checkpoint(path, VALUES)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        for broken in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
            path.write_bytes(broken)
            with pytest.raises(BnexpError, match=r"final.pt: (the checkpoint is damaged|not a checkpoint)"):
                load_checkpoint(path)


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'executed'}",)

    content = io.BytesIO()
    torch.save({"weights": Evil()}, content, pickle_module=pickle)
    digest = hashlib.sha256(content.getvalue()).hexdigest().encode()
    (tmp_path / "evil.pt").write_bytes(b"bnexp checkpoint 1 " + digest + b"\n" + content.getvalue())
    with pytest.raises(BnexpError, match=r"evil.pt: no checkpoint of bnexp"):
        load_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "executed").exists()


def test_a_missing_file_is_answered(tmp_path: Path) -> None:
    with pytest.raises(BnexpError, match=r"final.pt: the checkpoint cannot be read: No such file"):
        load_checkpoint(tmp_path / "final.pt")


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "final.pt"
    save_checkpoint(path, VALUES)

    def stop(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, {"step": 4})
    assert load_checkpoint(path)["step"] == 3
    assert [found.name for found in tmp_path.iterdir()] == ["final.pt"]


def test_a_checkpoint_that_would_unpack_to_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    content = packed.getvalue()
    digest = hashlib.sha256(content).hexdigest().encode()
    (tmp_path / "bomb.pt").write_bytes(b"bnexp checkpoint 1 " + digest + b"\n" + content)
    with pytest.raises(BnexpError, match=r"bomb.pt: no checkpoint of bnexp: it is compressed"):
        load_checkpoint(tmp_path / "bomb.pt")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_the_last_two_and_the_best_are_kept(tmp_path: Path) -> None:
    kept = CheckpointFolder(tmp_path)
    for step in (0, 6, 12, 100):
        kept.save(step, {"step": step})
    kept.save_best(6, {})
    assert names(tmp_path) == [BEST, "step100.pt", "step12.pt"]
    assert [path.name for path in newest_checkpoints(tmp_path)] == ["step100.pt", "step12.pt"]
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
    newest = newest_checkpoints(tmp_path)[0]
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
    for path in newest_checkpoints(tmp_path):
        path.write_bytes(b"")
    with pytest.raises(BnexpError, match=r"(?s)no checkpoint can be used.*step12.pt.*step6.pt"):
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
    assert load_checkpoint(newest_checkpoints(tmp_path)[0]) == {"step": 12}
