"""A process is told apart from all others, and called gone only where that is certain."""

import os
import platform
import shutil
import subprocess
import sys

import pytest

from bnexp.runs import process
from bnexp.runs.process import is_gone, this_process

HOST = platform.node()
NAMES = ["plain", "a b", "a) S 1 (b", ") Z ("]
"""Names that a program may have; /proc writes them in parentheses, before the state."""

linux_only = pytest.mark.skipif(not process._LINUX, reason="reads /proc")
posix_only = pytest.mark.skipif(not process._POSIX, reason="nothing is certain elsewhere")


def gone(described):
    return is_gone(described["host"], described["pid"], described["process_started"])


@pytest.fixture
def child():
    """A process that lives until the end of the test."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        yield running
        running.kill()


def started_of(pid):
    return process._look_up(pid).started


def test_this_process_is_not_gone_and_tells_the_same_again():
    described = this_process()
    assert (described["host"], described["pid"]) == (HOST, os.getpid())
    assert this_process() == described
    assert not gone(described)
    assert not is_gone(HOST, os.getpid(), None)


@posix_only
def test_a_process_that_runs_is_not_gone_and_is_once_it_ended(child):
    started = started_of(child.pid)
    assert started is not None
    assert not is_gone(HOST, child.pid, started)
    child.kill()
    child.wait()
    assert is_gone(HOST, child.pid, started)
    assert is_gone(HOST, child.pid, None)


@posix_only
def test_a_zombie_is_gone(child):
    started = started_of(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has taken note
    assert is_gone(HOST, child.pid, started)
    assert is_gone(HOST, child.pid, None)


@posix_only
def test_a_number_that_another_process_has_now_is_gone():
    *place, ticks = this_process()["process_started"].split(":")
    earlier = ":".join([*place, str(int(ticks) - 1)]) if process._LINUX else "Thu Jan 1 00:00:00 1970"
    assert is_gone(HOST, os.getpid(), earlier)


@linux_only
def test_another_boot_is_gone_whatever_has_the_number_now():
    _, *rest = this_process()["process_started"].split(":")
    assert is_gone(HOST, os.getpid(), ":".join(["another-boot", *rest]))


@linux_only
def test_another_container_proves_nothing(child):
    boot, container, ticks = started_of(child.pid).split(":")
    child.kill()
    child.wait()
    assert not is_gone(HOST, child.pid, f"{boot}:1{container}:{ticks}")


def test_another_host_proves_nothing(child):
    child.kill()
    child.wait()
    for host in (HOST + "x", "", None, 5, ["a"]):
        assert not is_gone(host, child.pid, "x")


@pytest.mark.parametrize("pid", [None, -1, 0, True, "1", 1.0, 2**31, 2**40, 10**400, float("nan"), [1], {}])
def test_what_is_no_process_number_proves_nothing(pid):
    assert not is_gone(HOST, pid, "x")
    assert not is_gone(HOST, pid, None)


@linux_only
@pytest.mark.parametrize("started", [5, True, [], {}, "", "x", ":", "::", "\x00", "x" * 10_000])
def test_a_start_that_makes_no_sense_proves_nothing_of_a_number_in_use(started):
    assert not is_gone(HOST, os.getpid(), started)


def test_nothing_is_certain_where_the_system_is_no_posix(monkeypatch):
    monkeypatch.setattr(process.os, "kill", lambda *_: pytest.fail("on Windows this ends the process"))
    monkeypatch.setattr(process, "_LINUX", False)
    monkeypatch.setattr(process, "_POSIX", False)
    assert process.this_process()["process_started"] is None
    assert not is_gone(HOST, 4, None)


@linux_only
@pytest.mark.parametrize("name", NAMES)
def test_a_name_with_spaces_and_parentheses_hides_nothing(tmp_path, name):
    program = tmp_path / name
    shutil.copy(shutil.which("sleep"), program)
    with subprocess.Popen([program, "60"]) as running:
        found = process._from_proc(running.pid)
        running.kill()
    assert found.state in ("R", "S", "D")
    mine, other = (int(word.rpartition(":")[2]) for word in (this_process()["process_started"], found.started))
    assert mine <= other


@posix_only
@pytest.mark.skipif(shutil.which("ps") is None, reason="needs ps")
def test_ps_tells_the_same_in_every_language_and_zone(child, monkeypatch):
    told = process._from_ps(child.pid)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert process._from_ps(child.pid).started == told.started
    assert told.started.split()[-1].isdigit()
    child.kill()
    child.wait()
    assert process._from_ps(child.pid) == (None, None)


@posix_only
def test_where_the_system_tells_no_start_only_a_free_number_is_gone(child, monkeypatch):
    monkeypatch.setattr(process, "_look_up", lambda pid: process._Process())
    assert this_process()["process_started"] is None
    assert not is_gone(HOST, child.pid, None)
    child.kill()
    child.wait()
    assert is_gone(HOST, child.pid, None)
