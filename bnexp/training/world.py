"""The processes that train one network together, as one of them sees it: who they are, and what they tell each other.

What they compute together is in `distributed.py`. They speak over gloo; process 0 leads.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed as dist

from bnexp.document.writing import counted
from bnexp.errors import BnexpError, ConfigError

_WAITS = timedelta(days=1)
"""How long a process waits for process 0 to write, to score or to load; one that is gone is noticed at once."""
_JOINING = timedelta(minutes=10)
_FAULT, _END = "fault", "end"


@dataclass
class World:
    """The processes that train together, as one of them sees it.

    Attributes:
        rank: its number, from 0.
        size: how many there are.
        local_rank: its number among those on its machine, and that of its GPU.
        local_size: how many are on its machine.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int = 1
    stopping: bool = False  # whether any process was asked to stop before the last step was judged
    in_step: bool = False  # whether all go through the same, and none waits to be told
    _store: Any = None  # of plain values, which outlives a process that fails
    _control: Any = None  # a gloo group, for what is not on the device
    _asked: Callable[[], int] = lambda: 0  # the number of the signal that this process was asked to stop by, or 0

    def part_of(self, examples: int, rank: int | None = None) -> slice:
        """Return which of so many examples a process takes; parts differ by at most one example in size."""
        rank = self.rank if rank is None else rank
        return slice(examples * rank // self.size, examples * (rank + 1) // self.size)

    def device_word(self, word: str) -> str:
        """Return which device this process takes for the word of the command line: the GPU of its own number.

        Raises:
            ConfigError: the word names one device for all, or there are too few.
        """
        if word in ("auto", "cuda") and torch.cuda.is_available():
            if self.local_size > (count := torch.cuda.device_count()):
                here = f"{self.local_size} processes on this machine, which has {counted(count, 'GPU')}"
                raise ConfigError(f"--device {word}: {here}; expected at most one for each, or --device cpu")
            return f"cuda:{self.local_rank}"
        if word not in ("auto", "cuda", "cpu"):
            raise ConfigError(
                f"--device {word}: {self.size} processes cannot share it; expected cuda, where each takes the GPU of "
                "its own number, or cpu"
            )
        return "cpu" if word == "auto" else word

    def agreed(self, loss: float, zero: float) -> tuple[float, float]:
        """Add up what the processes found of a step: their shares of its loss, and what is 0 where all is finite."""
        found = torch.tensor([loss, zero, float(self._asked() > 0)], dtype=torch.float64)
        dist.all_reduce(found, group=self._control)
        loss, zero, asked = found.tolist()
        self.stopping = asked > 0
        return loss, zero

    def stop_together(self, asked: Callable[[], int], take: Callable[[int], None]) -> Callable[[], bool]:
        """Return what tells, after a step, whether all stop there, since any was asked to.

        `asked` returns the number of the signal that this process was asked by, or 0; `take` takes another's.
        """
        self._asked, self.stopping = asked, False

        def stops() -> bool:
            if self.stopping:
                number = torch.tensor([asked()])
                dist.all_reduce(number, dist.ReduceOp.MAX, self._control)
                take(int(number))
            return self.stopping

        return stops

    def tell(self, value: object) -> None:
        """Hand a value to the other processes, each of which waits in `told`."""
        dist.broadcast_object_list([value], src=0, group=self._control)

    def told(self) -> Any:
        """Wait for the next value that process 0 tells."""
        values: list[Any] = [None]
        dist.broadcast_object_list(values, src=0, group=self._control)
        return values[0]

    def wait_for_all(self) -> None:
        """Wait until all processes wait here."""
        dist.barrier(self._control)

    def leave_word(self, key: str, word: str) -> None:
        """Leave a word that the others find when this process is gone; the first under a key stays."""
        with contextlib.suppress(RuntimeError):  # who keeps the words may be gone as well
            self._store.compare_set(key, "", word)

    def word(self, key: str) -> str | None:
        """Return the word that a process left, if any."""
        with contextlib.suppress(RuntimeError):
            if self._store.check([key]):
                return bytes(self._store.get(key)).decode()
        return None

    def fail(self, message: str) -> None:
        """Leave word of why this process ends."""
        self.leave_word(_FAULT, f"process {self.rank} of {self.size}: {message}")

    def fault(self) -> str:
        """Say why the processes cannot go on, after a `lost_connection`."""
        gone = f"another of the {self.size} processes is gone: it was killed, perhaps for want of memory"
        return self.word(_FAULT) or gone

    def end(self, exit_code: int) -> None:
        """Let the processes that follow end with an exit code."""
        self.leave_word(_END, str(exit_code))
        if not self.in_step:
            with contextlib.suppress(RuntimeError):  # one that is gone has ended by itself
                self.tell(exit_code)

    @property
    def ended(self) -> int | None:
        """The exit code that process 0 ended with; None where it is at work, or was killed."""
        word = self.word(_END)
        return None if word is None else int(word)


@contextlib.contextmanager
def process_0_first(world: World | None) -> Iterator[None]:
    """Let process 0 go through the context before the others: what it downloads or decodes, they find."""
    if world is not None and world.rank:
        world.wait_for_all()
    yield
    if world is not None and not world.rank:
        world.wait_for_all()


@contextlib.contextmanager
def together(world: World | None) -> Iterator[None]:
    """Mark what all processes go through in step; outside, those that follow wait to be told."""
    if world is None:
        yield
        return
    world.in_step = True
    yield
    world.in_step = False  # not after an error: then they wait for something else, and notice that this one is gone


def lost_connection(error: BaseException) -> bool:
    """Tell whether an error says that another process is gone."""
    words = ("gloo", "Connection closed by peer", "Connection reset by peer", "NCCL")
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(w in str(error) for w in words)
    )


def join(environment: Mapping[str, str]) -> World:
    """Join the process group that torchrun, or whoever set its variables, has made; waits for all to come.

    Raises:
        BnexpError: they do not come.
    """
    rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    here = int(environment.get("LOCAL_RANK", rank)), int(environment.get("LOCAL_WORLD_SIZE", 1))
    world = World(rank, size, *here)
    on_gpus = torch.cuda.is_available()
    if on_gpus and world.local_rank < torch.cuda.device_count():
        torch.cuda.set_device(world.local_rank)
    try:
        stores: Any = dist  # these are not in the type stubs
        store, _, _ = next(stores.rendezvous("env://", timeout=_JOINING))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpus else "gloo",
            store=stores.PrefixStore("group", store),
            rank=rank,
            world_size=size,
        )
        world._store = stores.PrefixStore("bnexp", store)
        world._control = dist.new_group(timeout=_WAITS, backend="gloo")
    except (dist.DistError, RuntimeError, ValueError) as error:
        place = f"MASTER_ADDR={environment.get('MASTER_ADDR')}, MASTER_PORT={environment.get('MASTER_PORT')}"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BnexpError(f"process {rank} of {size} found no process group at {place}: {reason}") from None
    return world
