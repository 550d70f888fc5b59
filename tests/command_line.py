"""Run `bnexp` as a shell does, in a fork of a server that has everything loaded: starting one takes milliseconds."""

import fcntl
import functools
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import forked

LIMIT_S = 120.0
"""A command that takes longer hangs."""
FOLDER = "BNEXP_TESTS_FORKS"
"""Variable with the folder of the server that all processes of the tests share."""
_held: list[socket.socket] = []


def bnexp(*words: str, cwd: Path, environment: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end.

    Args:
        words: of the command line, behind `bnexp`.
        cwd: the folder that it runs in.
        environment: of the process; by default that of the tests, without BNEXP_DATA.
    """
    given = {key: value for key, value in os.environ.items() if key != "BNEXP_DATA"}
    given = given if environment is None else dict(environment)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, open(os.devnull) as nothing:
        streams = [nothing.fileno(), out.fileno(), err.fileno()]
        with forked.begin(server(), words, str(cwd), given, streams) as connection:
            connection.settimeout(LIMIT_S)
            try:
                status = connection.recv(100)
            except TimeoutError:
                status = b""
        said, told = (_read(file, given.get("PYTHONIOENCODING", "utf-8")) for file in (out, err))
        if not status:
            raise TimeoutError(f"bnexp {' '.join(words)}: no end after {LIMIT_S:.0f} s\n{told}")
        return subprocess.CompletedProcess(list(words), os.waitstatus_to_exitcode(int(status)), said, told)


def _read(file: "tempfile._TemporaryFileWrapper[bytes]", encoding: str) -> str:
    file.seek(0)
    return file.read().decode(encoding)


@functools.cache
def server() -> str:
    """Return where the server listens; whoever asks first starts it, and it lives as long as whoever asked."""
    folder = Path(os.environ[FOLDER])
    path = folder / "server"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _start(folder, path)
    _held.append(forked.connect(str(path)))
    _held[0].sendall(forked.HELD)
    return str(path)


def _start(folder: Path, path: Path) -> None:
    words = ["-I", "-S", forked.__file__, str(path)]
    program = folder / "bnexp"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {" ".join(words)} "$@"\n')
    program.chmod(0o700)
    # The server looks for modules where Python does by itself, which is not where a test finds them.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    streams = [(os.POSIX_SPAWN_OPEN, number, folder / "said", os.O_RDWR | os.O_CREAT, 0o600) for number in (0, 1, 2)]
    arguments = [sys.executable, forked.__file__, str(path)]
    process = os.posix_spawn(sys.executable, arguments, environment, file_actions=streams)
    began = time.monotonic()
    while not path.exists():
        time.sleep(0.02)
        if os.waitpid(process, os.WNOHANG)[0] or time.monotonic() - began > LIMIT_S:
            raise RuntimeError(f"no server: {(folder / 'said').read_text()}")


def let_go() -> None:
    """Let the server end, where nobody else holds it."""
    while _held:
        _held.pop().close()


def program() -> str:
    """Return a program that does what `bnexp` does, for shells and for processes that get signals."""
    return str(Path(server()).with_name("bnexp"))
