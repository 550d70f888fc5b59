"""On file systems without flock a file is the lock: made by one process, and broken only where that has ended."""

import errno
import fcntl
import json
import os
import re
import subprocess
import sys
import time

import pytest

from bnexp.errors import BnexpError
from bnexp.runs import own_lock
from bnexp.runs.lock import LOCK, run_lock
from bnexp.runs.own_lock import OWN_LOCK, LostLock
from bnexp.runs.process import this_process
from bnexp.runs.rows import MetricsWriter

ELSEWHERE = {"host": "othernode", "pid": 1, "process_started": None}


@pytest.fixture(params=["EOPNOTSUPP", "ENOLCK", "EACCES", "ENOSYS"])
def error(request, monkeypatch):
    number = getattr(errno, request.param)

    def flock(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    return os.strerror(number)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "seed0").mkdir()
    return tmp_path / "seed0"


def left_by(folder, holder, age_s):
    path = folder / OWN_LOCK
    path.write_text(json.dumps(holder) if isinstance(holder, dict) else holder)
    os.utime(path, (time.time() - age_s, time.time() - age_s))
    return path


def ended_process():
    code = "import json; from bnexp.runs.process import this_process; print(json.dumps(this_process()))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_one_process_holds_it_and_leaves_nothing_behind(folder, error):
    for _ in range(2):
        with run_lock(folder):
            sign = r"\(its last sign of life was \d+ s ago\)"
            said = rf"seed0: process {os.getpid()} on host .* is training this run right now {sign}; wait for it"
            with pytest.raises(BnexpError, match=said), run_lock(folder):
                pass
            with pytest.raises(BnexpError, match="right now"), run_lock(folder, break_lock=True):
                pass
        assert [path.name for path in folder.iterdir()] == [LOCK]


def test_a_process_of_this_machine_that_ended_does_not_keep_it(folder, error):
    left_by(folder, ended_process(), 1)
    with run_lock(folder):
        assert json.loads((folder / OWN_LOCK).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("holder", [ELSEWHERE, {}, "", "{", "[]", {"host": 5, "pid": "x"}])
def test_another_machine_keeps_it_until_a_person_breaks_it(folder, error, holder):
    path = left_by(folder, holder, 3 * 3600)
    who = "process 1 on host othernode" if holder is ELSEWHERE else "another process"
    with pytest.raises(BnexpError) as refused, run_lock(folder):
        pass
    assert f"{who} holds the lock" in str(refused.value)
    assert f"(the file system takes no flock: {error})" in str(refused.value)
    assert "no sign of life for 3 hours" in str(refused.value)
    assert re.search(r"bnexp resume \S*seed0 --break-lock$", str(refused.value))
    assert path.exists()
    with run_lock(folder, break_lock=True):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_holder_elsewhere_that_is_alive_is_not_broken(folder, error):
    path = left_by(folder, ELSEWHERE, 10)
    with pytest.raises(BnexpError, match="othernode is training this run right now"), run_lock(folder, break_lock=True):
        pass
    assert json.loads(path.read_text()) == ELSEWHERE


def test_a_machine_that_knows_flock_heeds_one_that_does_not(folder):
    left_by(folder, ELSEWHERE, 3700)
    with pytest.raises(BnexpError, match=r"othernode holds the lock.*for 1 hour"), run_lock(folder):
        pass
    with run_lock(folder, break_lock=True), pytest.raises(BnexpError, match="right now"), run_lock(folder):
        pass


def test_a_machine_without_flock_heeds_one_that_has_it(folder, monkeypatch):
    with run_lock(folder) as held:
        assert json.loads((folder / OWN_LOCK).read_text())["flock"] is True
        with pytest.raises(BnexpError, match=rf"process {os.getpid()} on host .* right now"):
            own_lock.refuse_own_lock(folder, "no flock there", break_lock=True)
        held.refuse_lost()
    assert [path.name for path in folder.iterdir()] == [LOCK]


@pytest.mark.parametrize(("age_s", "beats", "free"), [(100, False, True), (5, False, True), (5, True, False)])
def test_who_held_flock_elsewhere_has_ended_where_it_is_free_and_no_sign_comes(folder, monkeypatch, age_s, beats, free):
    path = left_by(folder, {**ELSEWHERE, "flock": True}, age_s)
    monkeypatch.setattr(own_lock, "_TOUCHED_EVERY_S", 0.02)
    monkeypatch.setattr(own_lock.time, "sleep", lambda seconds: os.utime(path) if beats else None)
    if free:
        with run_lock(folder):
            assert json.loads(path.read_text())["pid"] == os.getpid()
    else:
        with pytest.raises(BnexpError, match="othernode is training this run right now"), run_lock(folder):
            pass


def test_a_holder_that_lost_its_lock_writes_nothing_more(folder, error):
    with run_lock(folder) as held:
        rows = MetricsWriter(folder / "metrics.jsonl", held.refuse_lost)
        rows.scalars(1, {"loss/train": 2.0})
        left_by(folder, ELSEWHERE, 3600)
        with run_lock(folder, break_lock=True):
            for write in (lambda: rows.scalars(2, {"loss/train": 1.0}), rows.flushed):
                with pytest.raises(LostLock, match="seed0: another process took the lock of this run while this one"):
                    write()
        with pytest.raises(LostLock):
            held.refuse_lost()
        rows.close()
        assert (folder / "metrics.jsonl").read_text().count("\n") == 1


def test_a_folder_that_is_gone_is_not_a_lost_lock(folder):
    with run_lock(folder) as held:
        folder.rename(folder.with_name("moved"))
        held.refuse_lost()


def test_the_holder_gives_signs_of_life(folder, error, monkeypatch):
    monkeypatch.setattr(own_lock, "_TOUCHED_EVERY_S", 0.01)
    with run_lock(folder):
        path = folder / OWN_LOCK
        os.utime(path, (0, 0))
        until = time.monotonic() + 10
        while path.stat().st_mtime < 1 and time.monotonic() < until:
            time.sleep(0.01)
        assert time.time() - path.stat().st_mtime < 60


def test_a_lock_that_was_taken_over_is_not_deleted(folder, error):
    with run_lock(folder):
        left_by(folder, ELSEWHERE, 0)
    assert json.loads((folder / OWN_LOCK).read_text()) == ELSEWHERE


def test_a_link_in_the_place_of_a_lock_is_not_followed(folder, tmp_path, error):
    for name in (LOCK, OWN_LOCK):
        (folder / name).symlink_to(tmp_path / "target")
        with pytest.raises(BnexpError), run_lock(folder):
            pass
        (folder / name).unlink()
        assert not (tmp_path / "target").exists()


def test_a_lock_that_another_made_meanwhile_is_put_back(folder):
    path = left_by(folder, this_process(), 0)
    own_lock._take_away(path, ELSEWHERE)
    assert json.loads(path.read_text()) == this_process()
