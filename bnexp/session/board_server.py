"""Serve TensorBoard from this process, with every point of a curve and one table of all runs."""

import contextlib
import errno
import io
import ipaddress
import logging
import os
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from bnexp.errors import BnexpError, visible

PATTERN = "events.out.tfevents.*"
FIRST_PORT = 6006
"""TensorBoard's own: the first free one from here on is taken where none is asked for."""
POINTS, FEWER = 100_000, 1000
"""Points of a curve that TensorBoard keeps where there is room, and where there is not: its own default, a sample."""
_ROOM = 2 << 30
"""Bytes that the points of all runs may take."""
_PER_BYTE, _PER_BYTE_IN_PYTHON = 5, 30
"""Memory over size of the event files, every point kept: with TensorBoard's data server, and without it.

Measured on 50 runs of 3,000 rows and 13 curves with TensorBoard 2.21: 341 MiB against 161 MiB of a sample of 1,000, for
62 MiB of files; 5 of them without the data server: 290 MiB.
"""


class Served(NamedTuple):
    """The address of a started TensorBoard, and notes for people, a sentence each."""

    url: str
    notes: list[str]


def start_tensorboard(folder: Path, host: str, port: int | None) -> Served:
    """Serve the runs below `folder` from a thread of this process.

    Raises:
        BnexpError: the port is taken, or the address is not one of this machine.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from tensorboard import default, program
    from tensorboard.plugins.hparams.hparams_plugin import HParamsPlugin

    from bnexp.session.hparams_table import HParamsOfAllRuns

    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    if port is not None and _is_taken(host, port):  # TensorBoard finds out after it has begun to read the runs
        raise BnexpError(f"port {port} is taken; a free one: --port {_free_port(host, port)}")
    points, notes = _points_kept(folder)
    plugins = [HParamsOfAllRuns if plugin is HParamsPlugin else plugin for plugin in default.get_plugins()]  # type: ignore[no-untyped-call]
    server = program.TensorBoard(plugins=plugins, server_class=_answering_only(host))
    # In one word each, so that a folder whose name begins with -- stays a folder.
    kept = f"--samples_per_plugin=scalars={points}"
    arguments = [f"--logdir={folder}", f"--host={host}", kept, *([f"--port={port}"] if port else [])]
    stderr = io.StringIO()
    try:
        server.configure(argv=["tensorboard", *arguments])
        with contextlib.redirect_stderr(stderr):  # an advertisement of its data server
            url = str(server.launch())
    except program.TensorBoardServerException as error:
        raise BnexpError(f"TensorBoard cannot start: {error.msg}") from None
    except SystemExit:  # how its server ends where it cannot listen, such as at an address of another machine
        reason = (stderr.getvalue().splitlines() or ["no reason given"])[-1]
        raise BnexpError(f"TensorBoard cannot start: --host {visible(host)}: {reason}") from None
    if port is None and f":{FIRST_PORT}/" not in url:
        notes.append(f"port {FIRST_PORT} is taken, perhaps by another board: this one is at the next that is free")
    return Served(url, notes)


def _points_kept(folder: Path) -> tuple[int, list[str]]:
    """Return how many points of each curve to keep, and a note where that is a sample."""
    from tensorboard.data.server_ingester import NoDataServerError, get_server_binary

    try:
        get_server_binary()  # type: ignore[no-untyped-call]
        per_byte = _PER_BYTE
    except NoDataServerError:
        per_byte = _PER_BYTE_IN_PYTHON
    needed = per_byte * sum(_sizes(folder.rglob(PATTERN)))
    if needed <= _ROOM:
        return POINTS, []
    size = f"all points of all runs would take about {needed / 2**30:.1f} GiB of memory"
    return FEWER, [f"curves show {FEWER:,} points of each run, drawn at random: {size}; a folder of fewer runs has all"]


def _sizes(files: Iterable[Path]) -> Iterable[int]:
    for file in files:
        with contextlib.suppress(OSError):
            yield file.stat().st_size


def _is_taken(host: str, port: int) -> bool:
    """Tell whether something listens at a port; any other obstacle is left to TensorBoard's own message."""
    try:
        socket.create_server((host, port), family=_family(host)).close()
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def _free_port(host: str, taken: int) -> int:
    """Return the next port at which nothing listens, or one that the system chooses."""
    for port in range(taken + 1, min(taken + 50, 1 << 16)):
        if not _is_taken(host, port):
            return port
    with socket.create_server((host, 0), family=_family(host)) as any_port:
        return int(any_port.getsockname()[1])


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address; of host names, that is `localhost` alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _answering_only(host: str) -> Callable[[Any, Any], Any]:
    """Return the constructor of TensorBoard's server, `guarded` where only this machine can reach it.

    Without the guard, a web page whose host name resolves to 127.0.0.1 (DNS rebinding) could read the runs through the
    browser of whoever opens it; the Host header still is that name.
    """
    from tensorboard import program

    def server(app: Callable[..., Any], flags: Any) -> Any:
        return program.create_port_scanning_werkzeug_server(guarded(app) if is_loopback(host) else app, flags)

    return server


def guarded(app: Callable[..., Any]) -> Callable[..., Any]:
    """Return a WSGI application that refuses requests for another name than localhost or a loopback address."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        asked = environ.get("HTTP_HOST", "")
        name = asked[1:].partition("]")[0] if asked.startswith("[") else asked.partition(":")[0]
        if is_loopback(name):
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        way = "open http://localhost and its port, or start it with: bnexp board --host 0.0.0.0"
        return [f"{asked[:100]}: this board answers only to the names of its own machine; {way}\n".encode()]

    return answer
