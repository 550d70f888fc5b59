"""The nodes of a Ray cluster: connect this process to it, and count the runs that find room there."""

import logging
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray._private import worker as ray_worker

from bnexp.config.sweep_file import ResourcesSection
from bnexp.errors import BnexpError, ConfigError

_CONNECT_S, _HEAD_S, _DOUBT_S = 5.0, 10.0, 0.5
_GB = 1e9
_START = "start one with: ray start --head; and on each further machine: ray start --address=HOST:6379"


def connect(address: str) -> None:
    """Connect this process to a cluster that runs.

    Raises:
        ConfigError: none is there, or it cannot be used from here.
    """
    if address != "auto":
        _refuse_unreachable(address)
    before = signal.getsignal(signal.SIGTERM)
    # What Ray has to say of lost nodes it prints to stdout, where the table goes; there is no option for it.
    ray_worker.print_to_stdstream = lambda *words, **options: None
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ConnectionError, RuntimeError, ValueError, AssertionError) as error:
        found = "no Ray cluster runs on this machine" if address == "auto" else f"--ray {address}: {lines_of(error)[0]}"
        raise ConfigError(f"{found}; {_START}") from None
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _refuse_unreachable(address: str) -> None:
    """Refuse an address where nobody answers, or no Ray: Ray itself would end the process, or wait for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16 or "/" in host:
        raise ConfigError(f"--ray {address}: expected auto, or HOST:PORT such as 10.0.0.1:6379")
    try:
        with socket.create_connection((host, int(port)), timeout=_CONNECT_S) as connection:
            speaks = "RAY_USE_TLS" in os.environ or _speaks_http2(connection)
        if not speaks:
            other = "something else listens there; port 6379 is that of ray start --head, 8265 its web page"
            raise ConfigError(f"--ray {address}: no Ray cluster is there ({other}); {_START}")
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(f"--ray {address}: no Ray cluster is there ({why}); {_START}") from None


def _speaks_http2(connection: socket.socket) -> bool:
    """Tell whether an HTTP/2 server, as Ray's are, answers a greeting with its settings, a frame of type 4."""
    try:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        return connection.recv(9)[3:4] == b"\4"
    except TimeoutError:
        return False


def refuse_lost_head() -> None:
    """Refuse to go on where the head node is gone, before Ray waits a minute for it, and then ends the process.

    Raises:
        BnexpError: it has not answered for ten seconds.
    """
    address = ray.get_runtime_context().gcs_address
    host, _, port = address.rpartition(":")
    until = time.monotonic() + _HEAD_S
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
        except OSError:
            if time.monotonic() > until:
                raise BnexpError(
                    f"the head node of the cluster, {address}, does not answer any more, and Ray ends with it. "
                    "Start it again (ray start --head), and let the others join; then the same command continues after "
                    "the last checkpoints that came back"
                ) from None
            time.sleep(_DOUBT_S)
        else:
            return


def alive_nodes() -> Sequence[Mapping[str, Any]]:
    """Return what Ray tells of the nodes that are alive.

    Raises:
        BnexpError: the head node, which knows them, is gone.
    """
    refuse_lost_head()
    return [node for node in ray.nodes() if node["Alive"]]


def hide_other_gpus() -> None:
    """Let a process to which Ray gave no GPU see none: Ray hides the others only from one to which it gave some."""
    if not ray.get_runtime_context().get_accelerator_ids().get("GPU"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def reserved(resources: ResourcesSection) -> dict[str, float]:
    """Return the resources of a run as the options of Ray."""
    memory = {} if resources.memory_gb is None else {"memory": int(resources.memory_gb * _GB)}
    return {"num_cpus": resources.cpus, "num_gpus": resources.gpus, **memory}


def room_for(resources: ResourcesSection) -> int:
    """Return how many runs find room on the nodes that are alive, were they alone there."""
    asked = {name: amount for name, (amount, _) in _named(resources).items()}
    nodes = [node["Resources"] for node in alive_nodes()]
    return sum(min(int(node.get(name, 0) / amount + 1e-9) for name, amount in asked.items()) for node in nodes)


def refuse_without_room(resources: ResourcesSection) -> None:
    """Refuse runs that no node has room for.

    Raises:
        ConfigError: says what a run asks for, and what nodes have.
    """
    if room_for(resources):
        return
    named, nodes = _named(resources), [node["Resources"] for node in alive_nodes()]
    sizes = {name: _GB if name == "memory" else 1 for name in named}
    asked = ", ".join(f"{word}: {amount / sizes[name]:g}" for name, (amount, word) in named.items())
    most = ", ".join(
        f"{word}: {max((node.get(name, 0) for node in nodes), default=0) / sizes[name]:g}"
        for name, (_, word) in named.items()
    )
    raise ConfigError(f"resources: a run asks for {asked}, and no node of the cluster has that; the most is {most}")


def _named(resources: ResourcesSection) -> dict[str, tuple[float, str]]:
    """Return what a run asks for by Ray's names, with the words of the sweep file."""
    amounts = {
        "CPU": (resources.cpus, "cpus"),
        "GPU": (resources.gpus, "gpus"),
        "memory": ((resources.memory_gb or 0) * _GB, "memory_gb"),
    }
    return {name: pair for name, pair in amounts.items() if pair[0]}


def lines_of(error: BaseException) -> list[str]:
    """Return the lines of what an error says, or else its name."""
    return str(error).strip().splitlines() or [type(error).__name__]
