"""The nodes of a Ray cluster: connect this process to it, and count the runs that find room there."""

import logging
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray._private import worker as ray_worker

from bnexp.config.sweep_file import ResourcesSection
from bnexp.errors import ConfigError

_CONNECT_S = 5.0
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
        found = "no Ray cluster runs on this machine" if address == "auto" else f"--ray {address}: {first_line(error)}"
        raise ConfigError(f"{found}; {_START}") from None
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _refuse_unreachable(address: str) -> None:
    """Refuse an address where nobody answers: Ray itself would end the process."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16 or "/" in host:
        raise ConfigError(f"--ray {address}: expected auto, or HOST:PORT such as 10.0.0.1:6379")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(f"--ray {address}: no Ray cluster is there ({why}); {_START}") from None


def alive_nodes() -> Sequence[Mapping[str, Any]]:
    """Return what Ray tells of the nodes that are alive."""
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


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
