"""One process, and in it one thread, holds a run; the system takes the lock back from whoever ends."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from bnexp.errors import BnexpError
from bnexp.runs.lock import LOCK, run_lock
from bnexp.runs.process import this_process

HOLD = """
import sys
from pathlib import Path
from bnexp.errors import BnexpError
from bnexp.runs.lock import run_lock
try:
    with run_lock(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()
except BnexpError as error:
    print(error, flush=True)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "seed0").mkdir()
    return tmp_path / "seed0"


@contextlib.contextmanager
def process_that_locks(folder):
    """Start a process that asks for the lock and keeps it until its input ends."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], env=environment, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def holder(folder):
    with process_that_locks(folder) as process:
        assert process.stdout.readline() == "held\n"
        yield process


def is_free(folder):
    try:
        with run_lock(folder):
            return True
    except BnexpError:
        return False


def test_a_lock_is_free_again_after_the_block_and_after_an_error_in_it(folder):
    for _ in range(2):
        with run_lock(folder):
            assert not is_free(folder)
        assert is_free(folder)
    with pytest.raises(ZeroDivisionError), run_lock(folder):
        _ = 1 / 0
    assert is_free(folder)


def test_two_runs_do_not_wait_for_each_other(folder, tmp_path):
    (tmp_path / "seed1").mkdir()
    with run_lock(folder), run_lock(tmp_path / "seed1"):
        pass


def test_a_second_process_is_refused_and_told_who_holds_it(folder):
    with run_lock(folder):
        (folder / "meta.json").write_text(json.dumps(this_process()))
        with process_that_locks(folder) as second:
            answer = second.stdout.readline()
        host = re.escape(this_process()["host"])
        assert re.search(
            rf"seed0: process {os.getpid()} on host {host} is training this run right now; wait for it", answer
        )
        assert str(folder) in answer


def test_of_a_suspended_process_it_is_said_how_it_goes_on(folder):
    with holder(folder) as first:
        (folder / "meta.json").write_text(json.dumps({**this_process(), "pid": first.pid, "process_started": None}))
        first.send_signal(signal.SIGSTOP)
        os.waitpid(first.pid, os.WUNTRACED)  # it has stopped
        with pytest.raises(BnexpError, match=f"suspended; kill -CONT {first.pid} lets it continue"), run_lock(folder):
            pass


def test_the_refusal_comes_soon(folder):
    with run_lock(folder):

        def seconds():
            began = time.monotonic()
            assert not is_free(folder)
            return time.monotonic() - began

        assert any(seconds() < 5 for _ in range(4))  # half a second where nothing else is to be done


@pytest.mark.parametrize(
    "meta",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"pid": "x", "host": 5}',
        b'{"pid": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_holder_that_is_not_on_record_is_another_process(folder, meta):
    if meta is not None:
        (folder / "meta.json").write_bytes(meta)
    with (
        run_lock(folder),
        pytest.raises(BnexpError, match="seed0: another process is training this run"),
        run_lock(folder),
    ):
        pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_in_the_place_of_the_record_is_not_waited_for(folder):
    os.mkfifo(folder / "meta.json")
    with run_lock(folder), pytest.raises(BnexpError, match="another process is training this run"), run_lock(folder):
        pass


def test_a_process_that_ended_is_not_named_as_the_holder(folder):
    with holder(folder) as earlier:
        pass
    (folder / "meta.json").write_text(json.dumps({**this_process(), "pid": earlier.pid, "process_started": None}))
    with run_lock(folder), pytest.raises(BnexpError, match="seed0: another process"), run_lock(folder):
        pass


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_a_process_that_is_killed_lets_go(folder):
    with holder(folder) as first:
        assert not is_free(folder)
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert is_free(folder)
    assert (folder / LOCK).exists(), "the file alone locks nothing"


def test_of_many_processes_at_once_exactly_one_wins(folder):
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(process_that_locks(folder)) for _ in range(3)]
        answers = sorted(process.stdout.readline() for process in started)
    assert [answer == "held\n" for answer in answers].count(True) == 1
    assert sum("is training this run right now" in answer for answer in answers) == 2


def test_of_many_threads_at_once_exactly_one_wins(folder):
    together, over, won = threading.Barrier(8), threading.Barrier(8), []

    def ask():
        together.wait(timeout=30)
        with contextlib.suppress(BnexpError), run_lock(folder):
            won.append(threading.get_ident())
            over.wait(timeout=30)
            return
        over.wait(timeout=30)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


FORK = """
import os, signal, sys
from pathlib import Path
from bnexp.runs.lock import run_lock
with run_lock(Path(sys.argv[1])):
    child = os.fork()
    if child == 0:
        print("forked", os.getpid(), flush=True)
        signal.pause()
        os._exit(0)
    sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_outlives_its_parent_does_not_keep_the_lock(folder):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", FORK, str(folder)], env=environment, **pipes) as parent:
        child = int(parent.stdout.readline().removeprefix("forked "))
        try:
            assert not is_free(folder), "the child's copy is not the parent's"
            parent.kill()
            parent.wait()
            assert is_free(folder)
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_folder_that_is_not_there_is_named_and_not_made(tmp_path):
    with pytest.raises(BnexpError, match="gone: no such folder"), run_lock(tmp_path / "gone"):
        pass
    assert not (tmp_path / "gone").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(BnexpError, match="file: no such folder"), run_lock(tmp_path / "file"):
        pass


def test_a_folder_removed_meanwhile_is_no_error(folder):
    with run_lock(folder):
        shutil.rmtree(folder)
    assert not folder.exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_permission_is_named(folder):
    folder.chmod(0o500)
    try:
        with pytest.raises(BnexpError, match=r"\.lock: the run cannot be locked: Permission denied"), run_lock(folder):
            pass
    finally:
        folder.chmod(0o700)


def test_something_else_in_the_place_of_the_lock_is_named(folder):
    (folder / LOCK).mkdir()
    with pytest.raises(BnexpError, match=r"seed0/\.lock: the run cannot be locked: Is a directory"), run_lock(folder):
        pass
