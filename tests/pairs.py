"""Two processes or more that train together over gloo, in forks of a server that has everything loaded."""

import os
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch.distributed import TCPStore

import trials
from bnexp.cli import main
from bnexp.config.yaml_text import dump_yaml
from bnexp.training.world import World, join

LIMIT_S = 60.0
"""A pair that takes longer hangs."""


class Pair:
    """Two processes of one group, or more, started as torchrun starts them; each calls one function with its rank."""

    def __init__(self, place: Path, call: Callable[..., object], *arguments: object, count: int = 2) -> None:
        trials.start_server("damage", "endurance", "full_disk", "sabotage")
        # As under torchrun, the store outlives the processes.
        self._store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        port = self._store.port
        self.said = [place / f"said.{port}.{rank}" for rank in range(count)]
        self.processes: list[BaseProcess] = [
            trials.CONTEXT.Process(
                target=_become, args=(rank, count, port, self.said[rank], call, arguments), daemon=True
            )
            for rank in range(count)
        ]
        for process in self.processes:
            process.start()

    def ended(self) -> tuple[list[int | None], list[str]]:
        """Wait for both ends, and return exit codes and what each printed to stderr."""
        for process in self.processes:
            process.join(LIMIT_S)
        hang = [process.is_alive() for process in self.processes]
        for process in self.processes:
            process.kill()
            process.join()
        said = [path.read_text() for path in self.said]
        assert not any(hang), said
        return [process.exitcode for process in self.processes], said


def found_by_both(place: Path, call: Callable[[World], object]) -> list[Any]:
    """Return what a function finds in each process of a world."""
    codes, said = Pair(place, _find, call, str(place)).ended()
    assert codes == [0, 0], said
    return [torch.load(place / f"found.{rank}") for rank in range(2)]


def bnexp_in_both(place: Path, *words: str, fault: Callable[[int], None] | None = None) -> tuple[list[int], list[str]]:
    """Run a command of bnexp in both processes; return exit codes and what each printed to stderr."""
    return bnexp_in(2, place, *words, fault=fault)


def bnexp_in(
    count: int, place: Path, *words: str, fault: Callable[[int], None] | None = None
) -> tuple[list[int], list[str]]:
    """Run a command of bnexp in so many processes; return exit codes and what each printed to stderr."""
    return Pair(place, _obey, words, fault, count=count).ended()  # type: ignore[return-value]


def config_at(place: Path, name: str, **changes: dict[str, Any]) -> str:
    """Write a small config, and return its path."""
    values = trials.SMALL | {key: {**trials.SMALL.get(key, {}), **change} for key, change in changes.items()}
    path = place / f"{name}.yaml"
    path.write_text(dump_yaml({**values, "name": name}))
    return str(path)


def _become(
    rank: int, count: int, port: int, said: Path, call: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(descriptor, number)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count), MASTER_PORT=str(port))
    os.environ.update(MASTER_ADDR="127.0.0.1", TORCHELASTIC_USE_AGENT_STORE="True")
    torch.set_num_threads(1)
    call(rank, *arguments)


def _find(rank: int, call: Callable[[World], object], place: str) -> None:
    torch.save(call(join(os.environ)), Path(place, f"found.{rank}"))


def _obey(rank: int, words: tuple[str, ...], fault: Callable[[int], None] | None) -> None:
    sys.argv = ["bnexp", *words]
    if fault is not None:
        fault(rank)
    main()
