"""Run the tests in several processes: forks of the one that has collected them, each takes the next file that is left.

What the tests import is loaded once, and once they are collected; a file stays together, so that what its tests share
is made once. The process that forks runs no test: it hears how each ended, and reports it.
"""

import gc
import itertools
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

import pytest

Files = list[list[pytest.Item]]


def run(session: pytest.Session, count: int) -> None:
    """Run the collected tests, the files in the order in which they were collected.

    Raises:
        Session.Failed: as many failed as were to be waited for.
        Session.Interrupted: a process came to its end before its tests.
    """
    files = [list(items) for _, items in itertools.groupby(session.items, key=lambda item: item.path)]
    gc.collect()
    gc.freeze()  # who collects garbage later need not look through what was loaded before
    left, workers = iter(range(len(files))), dict[Connection, int]()
    try:
        for _ in range(count):
            ours, theirs = multiprocessing.Pipe()
            if not (process := os.fork()):
                for connection in (ours, *workers):
                    connection.close()
                _become(session, files, theirs)
            theirs.close()
            workers[ours] = process
        ended = _hear(session, list(workers), left)
    finally:
        for connection, process in workers.items():
            connection.close()
            os.kill(process, signal.SIGKILL)  # those at their end have nothing more to do
            os.waitpid(process, 0)
    if ended != len(session.items):
        raise session.Interrupted(f"{ended} of {len(session.items)} tests came to their end")


def _hear(session: pytest.Session, connections: list[Connection], left: Iterator[int]) -> int:
    """Give each the next file when it asks for one, and report what it says; return how many tests ended."""
    hook, ended, last = session.config.hook, 0, dict[Any, str]()
    while connections:
        for connection in wait(connections):
            assert isinstance(connection, Connection)
            try:
                said = connection.recv()
            except EOFError:
                raise session.Interrupted(
                    f"a process died; it last told of {last.get(connection, 'nothing')}"
                ) from None
            if said == "next":
                connection.send(next(left, None))
            elif said == "end":
                connections.remove(connection)
            elif isinstance(said, str):
                raise session.Interrupted(said)
            else:
                report = hook.pytest_report_from_serializable(config=session.config, data=said)
                hook.pytest_runtest_logreport(report=report)
                last[connection] = report.nodeid
                if report.when == "teardown":
                    ended += 1
                    hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
    return ended


class _Teller:
    """Says how each test ended."""

    def __init__(self, config: pytest.Config, connection: Connection) -> None:
        self._config, self._connection = config, connection

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._connection.send(data)


def _become(session: pytest.Session, files: Files, connection: Connection) -> NoReturn:
    """Run one file after the other, until none is left."""
    try:
        plugins = session.config.pluginmanager
        plugins.unregister(name="terminalreporter")
        plugins.register(_Teller(session.config, connection))
        capture: Any = plugins.getplugin("capturemanager")
        capture.stop_global_capturing()  # into files that all forks would share
        capture.start_global_capturing()
        capture.suspend_global_capture()
        _run_files(session, files, connection)
        connection.send("end")
        connection.recv()  # until it is heard
    except (EOFError, KeyboardInterrupt):
        pass
    except BaseException:
        connection.send(f"a process failed\n{traceback.format_exc()}")
        sys.stderr.flush()
    finally:
        os._exit(0)


def _run_files(session: pytest.Session, files: Files, connection: Connection) -> None:
    def take() -> list[pytest.Item]:
        connection.send("next")
        number = connection.recv()
        return [] if number is None else files[number]

    items = take()
    while items:
        for item, following in itertools.pairwise([*items, None]):
            if following is None:  # the file is asked for late, so that nobody waits for it
                items = take()
                following = items[0] if items else None
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
