"""A run's folder between machines: what is shipped is whole, and cut short anywhere it can be resumed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.files import write_atomically
from bnexp.runs.checkpoints import load_newest
from bnexp.runs.process import this_process
from bnexp.runs.run import read_run
from bnexp.session import life, resume
from bnexp.session.terms import Terms
from bnexp.sweep import shipping
from bnexp.sweep.shipping import Stamps, answered_here, as_on_the_node, newest_step, pack, put_in_place, unpack

GONE = {"host": "elsewhere", "pid": 7, "process_started": "then"}


@pytest.fixture
def folder(make_config: Callable[..., Config], tmp_path: Path) -> Path:
    """Return the folder of a run of two epochs, with a checkpoint after each."""
    blueprint = draw(make_config(), tmp_path)
    return life.start(blueprint, Terms(tmp_path / "runs", data_dir=tmp_path, device="cpu")).folder


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_a_folder_comes_whole_and_then_only_what_changed(folder: Path, tmp_path: Path) -> None:
    there, shipped = tmp_path / "there", Stamps()
    there.mkdir()
    (folder / ".meta.json.1.tmp").write_text("half")
    whole = pack(folder, shipped)
    assert whole is not None
    put_in_place(whole, there)
    (folder / ".meta.json.1.tmp").unlink()
    assert files_in(there) == files_in(folder)
    (folder / "checkpoints" / "step6.pt").unlink()
    (folder / "meta.json").write_text("{}")
    (there / ".meta.json.2.tmp").write_text("half")
    (there / "notes.txt").write_text("mine")
    more = pack(folder, shipped)
    assert more is not None
    assert list(more.files) == ["meta.json"]
    put_in_place(more, there)
    assert files_in(there) == files_in(folder) | {"notes.txt": b"mine"}


def test_rows_end_with_the_checkpoint(folder: Path) -> None:
    shipped = Stamps()
    assert newest_step(folder) == 12
    early = pack(folder, shipped, until=6)
    assert early is not None
    steps = [json.loads(line)["step"] for line in early.files["metrics.jsonl"].splitlines()]
    assert steps == [step for step in steps if step <= 6]
    assert 6 in steps
    late = pack(folder, shipped)
    assert late is not None
    assert late.files == {"metrics.jsonl": (folder / "metrics.jsonl").read_bytes()}  # what was cut is still missing
    assert pack(folder, shipped, until=7) is None  # that checkpoint has gone


def test_cut_short_anywhere_the_folder_can_be_resumed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state after the first epoch lies there, and the end of the run comes: a kill before each write."""
    end = pack(folder, {})
    early = pack(folder, {}, until=6)
    assert end is not None
    assert early is not None
    before = {name: content for name, content in early.files.items() if "step12" not in name and "summary" not in name}
    running = json.loads(before["meta.json"]) | {"status": "running", "ended": None}
    before["meta.json"] = json.dumps(running).encode()
    expected, warned = weights(folder), list[str]()
    for count in range(2, len(end.files)):  # config.yaml and config.json are the same before and after
        there = tmp_path / f"cut{count}" / "seed0"
        unpack(before, there)
        written = iter(range(count))

        def write(path: Path, parts: list[bytes], written: object = written) -> None:
            if next(written, None) is None:  # type: ignore[call-overload]
                raise KeyboardInterrupt
            write_atomically(path, parts)

        monkeypatch.setattr(shipping, "write_atomically", write)
        with pytest.raises(KeyboardInterrupt):
            put_in_place(end, there)
        if read_run(there).status != "finished":
            resume.resume(there, Terms(data_dir=tmp_path, device="cpu", warn=warned.append))
        assert read_run(there).status == "finished"
        assert all(torch.equal(weights(there)[name], tensor) for name, tensor in expected.items())
    assert not warned


def test_cut_short_anywhere_a_run_that_became_longer_is_that_run(
    folder: Path, make_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that had ended lies there, and the longer one comes: a kill after the first writes."""
    terms, longer = Terms(data_dir=tmp_path, device="cpu"), make_config(training={"epochs": 3})
    before = files_in(folder)
    resume.lengthen(folder, terms, longer)
    end = pack(folder, {})
    assert end is not None
    for count in (2, 3):  # after config.yaml and meta.json; after config.json, too
        there = tmp_path / f"cut{count}" / "seed0"
        unpack(before, there)
        written = iter(range(count))

        def write(path: Path, parts: list[bytes], written: object = written) -> None:
            if next(written, None) is None:  # type: ignore[call-overload]
                raise KeyboardInterrupt
            write_atomically(path, parts)

        monkeypatch.setattr(shipping, "write_atomically", write)
        with pytest.raises(KeyboardInterrupt):
            put_in_place(end, there)
        resume.lengthen(there, terms, longer)
        assert read_run(there).former_ends == (12,)
        assert all(torch.equal(weights(there)[name], tensor) for name, tensor in weights(folder).items())
        assert files_in(there)["metrics.jsonl"].count(b"\n") == files_in(folder)["metrics.jsonl"].count(b"\n")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    load_newest(folder, lambda path, state: found.update(state["weights"]))
    return found


def test_while_it_runs_this_process_answers_for_it_and_the_node_is_named() -> None:
    meta = json.dumps({**GONE, "status": "running", "data_dir": "/there", "data_path": None}).encode()
    here = json.loads(answered_here(meta, {"data_dir": "/here", "data_path": None}))
    assert {key: here[key] for key in GONE} == this_process()
    assert here["node"] == GONE
    assert here["data_dir"] == "/here"
    back = json.loads(as_on_the_node(json.dumps(here).encode()))
    assert {key: back[key] for key in GONE} == GONE
    assert "node" not in back
    ended = json.loads(answered_here(meta.replace(b"running", b"finished"), {}))
    assert {key: ended[key] for key in GONE} == GONE


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    for name in ("../meta.json", "checkpoints/../../a.pt", "/etc/x", ".lock"):
        with pytest.raises(ValueError, match="no file of a run"):
            put_in_place(shipping.Shipment({name: b""}, frozenset([name])), tmp_path)
