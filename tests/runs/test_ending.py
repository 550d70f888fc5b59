"""meta.json follows summary.json, where a process was killed between the two."""

import json
import os

import pytest

from bnexp.errors import BnexpError
from bnexp.runs import ending
from bnexp.runs.ending import follow_the_summary
from bnexp.runs.lock import run_lock


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "meta.json").write_text(json.dumps({"status": "running", "seed": 3, "ended": None, "error": None}))
    (tmp_path / "summary.json").write_text(json.dumps({"status": "diverged"}))
    os.utime(tmp_path / "summary.json", (86_400, 86_400))
    return tmp_path


def meta_of(folder):
    return json.loads((folder / "meta.json").read_text())


def test_meta_takes_the_status_and_the_time_of_the_summary(folder):
    (folder / ".meta.json.5.tmp").write_text("half")
    follow_the_summary(folder)
    assert meta_of(folder) == {"status": "diverged", "seed": 3, "ended": "1970-01-02T00:00:00+00:00", "error": None}
    assert not list(folder.glob(".*.tmp"))


def test_a_meta_that_agrees_is_left_as_it_is(folder):
    (folder / "meta.json").write_text('{"status": "diverged"}')
    follow_the_summary(folder)
    assert (folder / "meta.json").read_text() == '{"status": "diverged"}'


@pytest.mark.parametrize("name", ["meta.json", "summary.json"])
def test_without_one_of_them_nothing_is_written(folder, name):
    (folder / name).unlink()
    before = sorted(folder.iterdir())
    follow_the_summary(folder)
    assert sorted(folder.iterdir()) == before


def test_what_another_process_notes_while_it_holds_the_lock_is_kept(folder, monkeypatch):
    noted = {"status": "diverged", "seed": 3, "ended": "2026-01-01T00:00:00+00:00", "error": None}

    def lock_after_another(place):
        (place / "meta.json").write_text(json.dumps(noted))
        return run_lock(place)

    monkeypatch.setattr(ending, "run_lock", lock_after_another)
    follow_the_summary(folder)
    assert meta_of(folder) == noted


def test_a_process_that_is_about_to_write_it_is_not_disturbed(folder):
    with run_lock(folder), pytest.raises(BnexpError, match="right now"):
        follow_the_summary(folder)
    assert meta_of(folder)["status"] == "running"
