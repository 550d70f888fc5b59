"""A checkpoint comes back as it was saved, or says that it is damaged."""

import hashlib
import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from bnexp.errors import BnexpError
from bnexp.runs.checkpoints import load_checkpoint, save_checkpoint

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
