"""Programs that start in milliseconds: forks of one server that has everything loaded, for all processes of the tests.

    python tests/forked.py PATH              serve at the socket PATH until nobody holds it any more
    python tests/forked.py PATH WORD ...     be `bnexp WORD ...`, with these streams, this folder and these variables

The second stands in for `bnexp` in a shell: signals reach the fork, and its exit is that of the program.
"""

import array
import contextlib
import gc
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence

PRELOADED = ("bnexp.commands.train", "bnexp.commands.board", "bnexp.commands.explain", "bnexp.lessons.registry")
PRELOADED += ("bnexp.session.life", "bnexp.session.resume", "bnexp.inspection.propagation")
HELD = b"hold\n"


def connect(path: str) -> socket.socket:
    """Return a connection to the server."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def begin(
    path: str, words: Sequence[str], cwd: str, environment: Mapping[str, str], streams: Sequence[int]
) -> socket.socket:
    """Start `bnexp` with three file descriptors; the fork is killed where the connection closes.

    A byte sent is the number of a signal for it; what comes back at its end is its wait status as text.
    """
    connection = connect(path)
    asked = json.dumps([list(words), cwd, dict(environment)]).encode("utf-8", "surrogateescape") + b"\n"
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))
    sent = connection.sendmsg([asked], [rights])
    connection.sendall(asked[sent:])
    return connection


def serve(path: str) -> None:
    """Fork for whoever asks, until the last process that holds the server has gone."""
    import importlib

    os.setsid()  # Ctrl-C in the terminal is for those who hold it
    for module in PRELOADED:
        importlib.import_module(module)
    import torch

    torch.set_num_threads(1)
    gc.freeze()  # else each fork that looks for garbage looks through all that is loaded, and copies it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the keepers
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}.new")
        listener.listen(64)
        os.rename(f"{path}.new", path)
        _answer(listener)


def _answer(listener: socket.socket) -> None:
    held: list[socket.socket] = []
    begun = False
    listener.settimeout(1)
    while held or not begun:
        with contextlib.suppress(TimeoutError):
            connection, _ = listener.accept()
            connection.setblocking(True)
            first, rights, _, _ = connection.recvmsg(1 << 20, 1024)
            if first == HELD:
                held.append(connection)
                begun = True
            elif first:
                _keep(connection, first, rights, [listener, *held])
        held = [one for one in held if not _has_gone(one)]


def _has_gone(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False


def _keep(connection: socket.socket, asked: bytes, rights: list, others: Sequence[socket.socket]) -> None:
    """Fork a keeper, which forks the program, hands signals to it and says how it ended."""
    streams = array.array("i", b"".join(data for _, _, data in rights))
    if os.fork():
        connection.close()
        for number in streams:
            os.close(number)
        return
    try:
        for other in others:
            other.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        while not asked.endswith(b"\n"):
            asked += connection.recv(1 << 20)
        if not (program := os.fork()):
            connection.close()
            _become(json.loads(asked.decode("utf-8", "surrogateescape")), streams)
        for number in (*streams, 0, 1, 2):
            os.close(number)
        threading.Thread(target=_hand_on, args=(connection, program), daemon=True).start()
        _, status = os.waitpid(program, 0)
        with contextlib.suppress(OSError):
            connection.sendall(str(status).encode())
    finally:
        os._exit(0)


def _hand_on(connection: socket.socket, program: int) -> None:
    while number := connection.recv(1):
        os.kill(program, number[0])
    os.kill(program, signal.SIGKILL)


def _become(asked: tuple[list[str], str, dict[str, str]], streams: Sequence[int]) -> None:
    """Run the command and end, as the interpreter would that was started for it."""
    words, cwd, environment = asked
    code = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environment)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        encoding, _, errors = environment.get("PYTHONIOENCODING", "utf-8").partition(":")
        sys.stdin = open(0, encoding=encoding, closefd=False)  # noqa: SIM115  the streams of a program stay open
        sys.stdout = open(1, "w", 1 if os.isatty(1) else -1, encoding, errors or "strict", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", 1, encoding, "backslashreplace", closefd=False)  # noqa: SIM115
        sys.argv = ["bnexp", *words]
        from bnexp.cli import main

        code = _code_of(main)
    finally:
        os._exit(code)


def _code_of(main) -> int:
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    else:
        code = 0
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 120  # as the interpreter ends where nothing takes its last words
    return code


def stand_in(path: str, words: Sequence[str]) -> None:
    """Be `bnexp` for a shell."""
    connection = begin(path, words, os.getcwd(), os.environ, (0, 1, 2))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: connection.sendall(bytes([number])))
    for number in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.close(number)  # a pipe has one end less to wait for
    status = int(connection.recv(100) or b"9")
    if os.WIFSIGNALED(status):
        signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    if sys.argv[2:]:
        stand_in(sys.argv[1], sys.argv[2:])
    else:
        serve(sys.argv[1])
