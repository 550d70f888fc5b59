"""The folder of a new run: never shared, there with its config in one move, and nothing of it left where that fails."""

import errno
import multiprocessing
import os
import threading
import time

import pytest

from bnexp.errors import BnexpError
from bnexp.runs import claim
from bnexp.runs.claim import claim_run_folder
from bnexp.runs.lock import LOCK, run_lock

CONFIG = "seed: 0\n"


def test_the_first_folder_has_the_seeds_name_and_the_next_ones_a_number(tmp_path):
    runs = tmp_path / "not" / "made yet"
    folders = [claim_run_folder(runs, "arm", 0, CONFIG) for _ in range(3)]
    assert folders == [runs / "arm" / name for name in ("seed0", "seed0-2", "seed0-3")]
    assert all(folder.is_dir() for folder in folders)
    assert claim_run_folder(runs, "arm", 7, CONFIG) == runs / "arm" / "seed7"
    assert claim_run_folder(runs, "other", 0, CONFIG) == runs / "other" / "seed0"


def test_a_gap_is_filled_and_what_is_in_the_way_is_passed_over(tmp_path):
    (tmp_path / "arm" / "seed0-2" / "mine").mkdir(parents=True)
    (tmp_path / "arm" / "seed0").write_text("a file")
    assert claim_run_folder(tmp_path, "arm", 0, CONFIG).name == "seed0-3"


def test_threads_that_claim_at_once_get_folders_of_their_own(tmp_path):
    together, claimed = threading.Barrier(8), []

    def claim():
        together.wait(timeout=30)
        claimed.append(claim_run_folder(tmp_path, "arm", 0, CONFIG))

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(folder.name for folder in claimed) == ["seed0", *(f"seed0-{number}" for number in range(2, 9))]


def _claim(runs, together, claimed):
    together.wait(timeout=30)
    claimed.put([claim_run_folder(runs, "arm", 0, CONFIG).name for _ in range(5)])


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs processes that start at once")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_processes_that_claim_at_once_get_folders_of_their_own(tmp_path):
    context = multiprocessing.get_context("fork")
    together, claimed = context.Barrier(8), context.SimpleQueue()
    processes = [context.Process(target=_claim, args=(tmp_path, together, claimed)) for _ in range(8)]
    for process in processes:
        process.start()
    names = [name for _ in processes for name in claimed.get()]
    for process in processes:
        process.join()
    assert len(names) == len(set(names)) == 40


@pytest.mark.parametrize("in_the_way", ["runs", "runs/arm"])
def test_a_place_that_cannot_be_written_is_named(tmp_path, in_the_way):
    blocked = tmp_path / in_the_way
    blocked.parent.mkdir(exist_ok=True)
    blocked.write_text("a file")
    with pytest.raises(BnexpError, match=r"cannot make the run's folder: .*--runs-dir") as found:
        claim_run_folder(tmp_path / "runs", "arm", 0, CONFIG)
    assert str(tmp_path / "runs" / "arm") in str(found.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_place_without_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(BnexpError, match="Permission denied"):
            claim_run_folder(tmp_path, "arm", 0, CONFIG)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("names", [[], [LOCK]])
def test_a_husk_is_used_and_not_passed_over(tmp_path, names):
    husk = tmp_path / "arm" / "seed0"
    husk.mkdir(parents=True)
    for name in names:
        (husk / name).touch()
    assert claim_run_folder(tmp_path, "arm", 0, CONFIG) == husk
    assert (husk / "config.yaml").read_text() == CONFIG


def test_a_husk_whose_lock_is_held_is_passed_over(tmp_path):
    husk = tmp_path / "arm" / "seed0"
    husk.mkdir(parents=True)
    with run_lock(husk):
        assert claim_run_folder(tmp_path, "arm", 0, CONFIG).name == "seed0-2"


def test_a_link_in_the_way_is_passed_over(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "arm").mkdir()
    (tmp_path / "arm" / "seed0").symlink_to(tmp_path / "elsewhere")
    assert claim_run_folder(tmp_path, "arm", 0, CONFIG).name == "seed0-2"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_whoever_is_killed_before_the_move_leaves_nothing_that_looks_like_a_run(tmp_path, monkeypatch):
    def killed(new, folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(claim, "_moved", killed)
        patch.setattr(claim.shutil, "rmtree", lambda *_, **__: None)  # killed: nothing is tidied up
        with pytest.raises(KeyboardInterrupt):
            claim_run_folder(tmp_path, "arm", 0, CONFIG)
    (left,) = (tmp_path / "arm").iterdir()
    assert left.name.startswith("."), "hidden from every command"
    long_ago = time.time() - 3600
    os.utime(left, (long_ago, long_ago))
    assert claim_run_folder(tmp_path, "arm", 0, CONFIG).name == "seed0"
    assert [path.name for path in (tmp_path / "arm").iterdir()] == ["seed0"]


def test_a_place_that_takes_no_lock_at_all_is_refused_and_left_as_it_was(tmp_path, monkeypatch):
    def refused(folder):
        raise BnexpError("cannot be locked")

    monkeypatch.setattr(claim, "run_lock", refused)
    with pytest.raises(BnexpError, match="cannot be locked"):
        claim_run_folder(tmp_path, "arm", 0, CONFIG)
    assert list((tmp_path / "arm").iterdir()) == []


def test_a_disk_that_is_full_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(claim, "write_config", full)
    with pytest.raises(BnexpError, match="No space left on device; free some space"):
        claim_run_folder(tmp_path, "arm", 0, CONFIG)
    assert list((tmp_path / "arm").iterdir()) == []
