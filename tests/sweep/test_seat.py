"""A seat on a node: it trains in a folder of its own, on a dataset that was brought, and reports whole folders."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.runs.folder import read_json
from bnexp.runs.run import read_run
from bnexp.session import life
from bnexp.session.terms import Terms
from bnexp.sweep.datasets import files_of
from bnexp.sweep.seat import Seat, has_begun
from bnexp.sweep.shipping import pack, put_in_place
from bnexp.sweep.work import Ended, Event, Progressed, Task


def test_a_run_trains_on_what_was_brought_and_comes_back_whole(
    make_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "node").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "node"))
    own, rng = tmp_path / "set.npz", np.random.default_rng(0)
    x_train, x_test = (rng.integers(0, 256, (count, 8, 8), dtype=np.uint8) for count in (80, 20))
    np.savez(own, x_train=x_train, y_train=np.arange(80) % 4, x_test=x_test, y_test=np.arange(20) % 4)
    config = make_config(data={"dataset": "npz", "path": str(own), "synthetic": None}, training={"epochs": 10})
    task = Task("a/seed0", draw(config, tmp_path), tmp_path / "runs" / "a" / "seed0", device="cpu", threads=1)
    here = life.start(task.blueprint, Terms(tmp_path / "here", data_dir=tmp_path, device="cpu"))
    (files,) = files_of(task.blueprint.config.data, tmp_path)
    contents = files.read()
    own.unlink()
    seat = Seat()
    assert seat.find(files) is None
    place = seat.bring(files, contents)
    task.folder.mkdir(parents=True)
    seat.start(replace(task, brought=files.leading_to(place)), {})
    events, statuses = list[Event](), set[str]()
    while not any(isinstance(event, Ended) for event in events):
        report = seat.report()
        events += report.events
        if report.shipment is not None:
            put_in_place(report.shipment, task.folder)
            statuses.add(str((read_json(task.folder / "meta.json") or {})["status"]))
    assert isinstance(events[-1], Ended)
    assert events[-1].end == "finished"
    assert any(isinstance(event, Progressed) for event in events)
    assert statuses == {"running", "finished"}
    scores = [(read_json(folder / "summary.json") or {})["test"] for folder in (task.folder, here.folder)]
    assert scores[0] == scores[1] != {}
    assert read_run(task.folder).data.fingerprint == read_run(here.folder).data.fingerprint
    seat.start(replace(task, mode="resume"), {"config.yaml": b"data: [", "meta.json": b"{}"})
    events = []
    while not any(isinstance(event, Ended) for event in events):
        events += seat.report().events
    assert isinstance(events[-1], Ended)
    assert events[-1].end == "failed"
    assert str(task.folder) in (events[-1].error or "")  # as it is called here
    seat.close()
    assert not list((tmp_path / "node").glob("bnexp-seat-*"))


def test_a_folder_that_was_only_claimed_has_not_begun(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: a\n")
    claimed = pack(tmp_path, {})
    assert claimed is not None
    assert not has_begun(claimed.files)
    assert has_begun({**claimed.files, "meta.json": b"{}"})


def test_what_a_killed_seat_left_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("bnexp.sweep.seat._ABANDONED_S", -1)
    left = tmp_path / "bnexp-seat-left"
    left.mkdir()
    (left / ".lock").touch()
    living = Seat()
    assert not left.exists()
    another = Seat()
    assert len(list(tmp_path.glob("bnexp-seat-*"))) == 2
    living.close()
    another.close()
    assert not list(tmp_path.glob("bnexp-seat-*"))
