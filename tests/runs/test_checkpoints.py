"""A checkpoint comes back as it was saved or is named as damaged; the last two stay, the newest whole one is found."""

import copy
import errno
import hashlib
import io
import os
import pickle
import random
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from bnexp.errors import BnexpError
from bnexp.runs.checkpoints import (
    BEST,
    CheckpointFolder,
    DamagedCheckpoint,
    is_whole,
    load_checkpoint,
    load_newest,
    newest_checkpoints,
    save_checkpoint,
)
from bnexp.runs.folder import how_to_resume

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
    plain = torch.load(path, weights_only=True, mmap=True)  # by any program that has torch
    assert torch.equal(plain["weights"]["head.weight"], loaded["weights"]["head.weight"])
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.comment == b"bnexp checkpoint 2 " + sha256_before(path, archive.comment)


def sha256_before(path: Path, comment: bytes) -> bytes:
    return hashlib.sha256(path.read_bytes().removesuffix(comment)).hexdigest().encode() + b"\n"


def test_one_with_its_checksum_in_front_opens_too(tmp_path: Path) -> None:
    """Earlier versions wrote it there."""
    content = io.BytesIO()
    torch.save(VALUES, content)
    (tmp_path / "final.pt").write_bytes(sealed(content.getvalue()))
    assert is_whole(tmp_path / "final.pt")
    assert load_checkpoint(tmp_path / "final.pt")["step"] == 3


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


def sealed(content: bytes) -> bytes:
    return b"bnexp checkpoint 1 " + hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def packed(pickled: bytes) -> bytes:
    """Return a file as torch.save makes it, around any pickle."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
    return content.getvalue()


ODD = {
    "nothing": b"",
    "no zip": b"\x80\x02}.",
    "an empty pickle": packed(b""),
    "a stack that is empty": packed(b"\x80\x02."),
    "a memo that is not there": packed(b"\x80\x02h\x07."),
    "a text of 2**62 bytes": packed(b"\x80\x02\x8d" + (2**62).to_bytes(8, "little") + b"x."),
    "a number of 2**31 - 1 bytes": packed(b"\x80\x02\x8b\xff\xff\xff\x7f."),
    "a mark that is not there": packed(b"\x80\x02u."),
    "a key that cannot be one": packed(b"\x80\x02}]K\x01s."),
    "a persistent number": packed(b"\x80\x02K\x01Q."),
    "a storage of nothing": packed(b"\x80\x02(tQ."),
    "build of a number": packed(b"\x80\x02K\x01}b."),
    "a call of what may not be called": packed(b"\x80\x02cos\nsystem\n(tR."),
    "a list": packed(b"\x80\x02]K\x01a."),
    "a number": packed(b"\x80\x02K\x01."),
    "a deep nest": packed(b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b"."),
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_whatever_has_its_checksum_and_is_no_checkpoint_is_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoints" / "step12.pt"
    save_checkpoint(path, VALUES)
    path.write_bytes(sealed(content))
    with pytest.raises(DamagedCheckpoint, match=r"step12.pt: no checkpoint of bnexp: "):
        load_checkpoint(path, needs=("step", "weights"))
    save_checkpoint(tmp_path / "checkpoints" / "step6.pt", VALUES)
    loaded = load_newest(tmp_path)
    assert loaded is not None
    assert loaded.path.name == "step6.pt"


@pytest.mark.parametrize("seed", range(4))
def test_a_pickle_with_any_bytes_changed_is_a_value_or_damage(tmp_path: Path, seed: int) -> None:
    plain = io.BytesIO()
    torch.save(VALUES, plain)
    with zipfile.ZipFile(plain) as archive:
        whole = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    generator = random.Random(seed)
    for _ in range(60):
        changed = bytearray(whole)
        for _ in range(generator.randint(1, 4)):
            changed[generator.randrange(len(changed))] = generator.randrange(256)
        (tmp_path / "any.pt").write_bytes(sealed(packed(bytes(changed))))
        with suppress(DamagedCheckpoint):
            load_checkpoint(tmp_path / "any.pt")


def test_parts_that_overlap_are_refused_before_they_are_read(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", bytes(100_000))
        entry = archive.infolist()[0]
        for number in range(5):
            again = copy.copy(entry)
            again.filename = f"archive/data/{number}"
            archive.filelist.append(again)
    (tmp_path / "bomb.pt").write_bytes(sealed(content.getvalue()))
    with pytest.raises(DamagedCheckpoint, match="its parts are larger than the file"):
        load_checkpoint(tmp_path / "bomb.pt")


@pytest.mark.parametrize("head", [b"", b"bnexp checkpoint 1 " + b"0" * 64 + b"\n"])
def test_a_file_of_two_gigabytes_takes_no_memory_before_it_is_known_to_be_whole(tmp_path: Path, head: bytes) -> None:
    with (tmp_path / "large.pt").open("wb") as file:
        file.write(head)
        file.truncate(2**28)
    tracemalloc.start()
    try:
        with pytest.raises(DamagedCheckpoint):
            load_checkpoint(tmp_path / "large.pt")
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    CheckpointFolder(tmp_path).save(6, {"step": 6})

    def denied(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", denied)
        with pytest.raises(BnexpError, match=r"checkpoints: cannot be read: Permission denied; .* chmod u\+rwx \S+$"):
            load_newest(tmp_path)
        said = how_to_resume(tmp_path)
    assert "Permission denied" in said
    assert "anew" not in said
    assert "--from-start" not in said


def test_a_checkpoint_that_may_not_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be whole: to go on from the one before would delete it."""
    kept = CheckpointFolder(tmp_path)
    for step in (6, 12):
        kept.save(step, {"step": step})

    def denied(path: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr("bnexp.runs.checkpoints.open_file", denied)
    with pytest.raises(BnexpError, match=r"step12.pt: .* Permission denied; make it readable: chmod u\+r") as said:
        load_newest(tmp_path)
    assert not isinstance(said.value, DamagedCheckpoint)


def test_two_are_kept_also_where_the_last_one_is_written_again(tmp_path: Path) -> None:
    """A process that was killed behind its last checkpoint leaves it to the next one to write it once more."""
    first = CheckpointFolder(tmp_path)
    for step in (6, 12):
        first.save(step, {"step": step})
    again = CheckpointFolder(tmp_path, newest_checkpoints(tmp_path)[0])
    again.save(12, {"step": 12})
    assert names(tmp_path) == ["step12.pt", "step6.pt"]
    (tmp_path / "checkpoints" / "step6.pt").write_bytes(b"torn")
    CheckpointFolder(tmp_path, newest_checkpoints(tmp_path)[0]).save(12, {"step": 12})
    assert names(tmp_path) == ["step12.pt"], "a damaged one is not one of the two"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_the_last_two_and_the_best_are_kept(tmp_path: Path) -> None:
    kept = CheckpointFolder(tmp_path)
    for step in (0, 6, 12, 100):
        kept.save(step, {"step": step})
    kept.save_best(6, {}, "")
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
