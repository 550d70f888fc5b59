"""Run `bnexp` as a shell does, in a fork of a server that has everything loaded: starting one takes milliseconds."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import trials

LIMIT_S = 120.0
"""A command that takes longer hangs."""


def bnexp(*words: str, cwd: Path, environment: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end.

    Args:
        words: of the command line, behind `bnexp`.
        cwd: the folder that it runs in.
        environment: of the process; by default that of the tests, without BNEXP_DATA.
    """
    trials.start_server("damage", "endurance", "full_disk", "sabotage")
    given = {key: value for key, value in os.environ.items() if key != "BNEXP_DATA"}
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        arguments = (words, str(cwd), dict(given if environment is None else environment), str(out), str(err))
        process = trials.CONTEXT.Process(target=_run, args=arguments)
        process.start()
        process.join(LIMIT_S)
        if process.is_alive():
            process.kill()
            process.join()
            raise TimeoutError(f"bnexp {' '.join(words)}: no end after {LIMIT_S:.0f} s\n{err.read_text()}")
        return subprocess.CompletedProcess(list(words), process.exitcode or 0, out.read_text(), err.read_text())


def _run(words: tuple[str, ...], cwd: str, environment: dict[str, str], out: str, err: str) -> None:
    """Become the command: file descriptors are replaced, so that threads and C++ are heard too."""
    for number, path in ((0, os.devnull), (1, out), (2, err)):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    from bnexp.cli import main

    sys.argv = ["bnexp", *words]
    main()
