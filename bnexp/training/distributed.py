"""Train one network in several processes: each passes its part of every batch, and all take the same step.

torch's DistributedDataParallel averages the gradients, over gloo between CPUs and NCCL between GPUs. Process 0 keeps
the records and looks through the probes; the others follow it. docs/devices.md says what is divided and what is not.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from bnexp.blueprint import Blueprint
from bnexp.config.division import divided_norms, parts_of_batch
from bnexp.config.layout import Layout
from bnexp.errors import BnexpError, ConfigError
from bnexp.measure.passes import loss_of
from bnexp.measure.restore import streams_of, undisturbed
from bnexp.norms.sync_batch_norm import SyncBatchNorm
from bnexp.training.step import Passed, TrainStep

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
                here = f"{self.local_size} processes on this machine, which has {count} GPU{'s' if count > 1 else ''}"
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


def record_of(layout: Layout, world: World | None, device: torch.device) -> dict[str, Any]:
    """Return what meta.json tells of the processes."""
    if world is None:
        return {"count": 1, "parts": 1}
    parts = parts_of_batch(layout, world.size)
    backend = "nccl" if device.type == "cuda" else "gloo"
    kept = "of process 0" if parts > 1 else "of the whole batch"
    return {"count": world.size, "parts": parts, "running_statistics": kept, "backend": backend}


def refuse_indivisible(blueprint: Blueprint, processes: int) -> None:
    """Refuse a training whose batches so many processes cannot divide.

    Raises:
        ConfigError: with what would.
    """
    config, plan = blueprint.config, blueprint.plan
    if config.training.compile:
        raise ConfigError("training.compile: several processes train without it; expected false, or one process")
    norms = sorted(set(divided_norms(blueprint.layout).values()))
    least = 2 * processes if norms else processes
    for size, what, mend in (
        (plan.batch_size, "data.batch_size", "a larger batch"),
        (plan.last_batch, "the last batch of each epoch:", "data.drop_last=true, another data.batch_size"),
    ):
        if size < least:
            each = f"{processes} processes take a part each"
            why = f"{each}, of which {norms[0]} needs 2 examples or more" if norms else each
            raise ConfigError(f"{what} {size}: {why}; expected at least {least}: set {mend}, or start fewer processes")
        for item in config.model.items:
            ghost = item.options.ghost_size
            if ghost and 1 in (size // processes % ghost, -(-size // processes) % ghost):
                raise ConfigError(
                    f"{what} {size} with {item.name}(size={ghost}): of the part that each of {processes} processes "
                    "takes, a ghost batch of 1 example is left over; set another size"
                )


@dataclass
class DividedStep(TrainStep):
    """A step whose batches are divided between processes; its gradients are those of the whole batch.

    DistributedDataParallel averages gradients over N processes. So a part with n of the step's B examples weighs
    N n / B, and the average is the sum over all examples over B, however uneven the parts are.

    `norms` are those that take the statistics of a part. After each step their running statistics are those of process
    0, as `broadcast_buffers` has it. Outside a step, where process 0 passes whole batches, each passes them in parts.
    """

    world: World = field(kw_only=True)
    norms: Sequence[nn.Module] = field(kw_only=True)
    _last: bool = False  # whether the present batch is the last of its step
    _settled: bool = False

    def __post_init__(self) -> None:
        device = next(self.network.parameters()).device
        at = [device.index] if device.type == "cuda" else None
        self.forward = DistributedDataParallel(self.network, device_ids=at)
        self.forward.broadcast_buffers = False  # but in `update`: before an evaluation, not before the next step
        self._synchronized = [module for module in self.network.modules() if isinstance(module, SyncBatchNorm)]
        self._streams = list(streams_of(self.network).values())
        self._statistics = [buffer for norm in self.norms for buffer in norm.buffers() if buffer.is_floating_point()]
        for norm in self.norms:
            pass_in_parts(norm, self.world)

    @property
    def compiled(self) -> bool:
        """Never."""
        return False

    def accumulate(self, x: Tensor, y: Tensor, *, of: float) -> None:
        """Pass this process's part of a batch forward and backward, and add it to the gradient of a step."""
        part = self.world.part_of(len(y))
        with self._divided(part.start, len(y)):
            if not self._settled:
                self._settle(x[part], y[part])
            with contextlib.nullcontext() if self._last else self.forward.no_sync():  # type: ignore[attr-defined]
                super().accumulate(x[part], y[part], of=of / self.world.size)
        passed = self._earlier.pop()
        logits = passed.logits.new_zeros(len(y), passed.logits.shape[1])  # (B, classes)
        logits[part] = passed.logits
        dist.all_reduce(logits)
        self._earlier.append(Passed(logits, y, passed.loss / self.world.size))

    def gradients(self, x: Tensor, y: Tensor) -> Passed:
        """Pass the last batch of a step; of the loss, this process's share is returned, which `World.agreed` adds."""
        self._last = True
        try:
            return super().gradients(x, y)
        finally:
            self._last = False

    def update(self) -> None:
        """Take the step, and keep the running statistics of process 0."""
        super().update()
        if self._statistics:
            flat = torch.cat([buffer.flatten() for buffer in self._statistics])
            dist.broadcast(flat, src=0)
            for buffer, values in zip(self._statistics, flat.split([b.numel() for b in self._statistics]), strict=True):
                buffer.copy_(values.view_as(buffer))

    @contextlib.contextmanager
    def _divided(self, first: int, examples: int) -> Iterator[None]:
        """Let the modules know that they pass a part of so many examples, until the context ends."""
        self._mark((first, examples))
        try:
            yield
        finally:
            self._mark(None)

    def _mark(self, part: tuple[int, int] | None) -> None:
        for synchronized in self._synchronized:
            synchronized.shares = part is not None
        for norm in self.norms:
            norm.in_parts = part is None  # type: ignore[assignment]
        for stream in self._streams:
            stream.part = part

    def _settle(self, x: Tensor, y: Tensor) -> None:
        """Let DistributedDataParallel order its buckets, as it does after a first pass, so that every step sums alike.

        In which order three or more processes are added depends on the place in a bucket: without this, the first step
        of a resumed run would have other last bits than the same step of one that was never stopped.
        """
        with undisturbed(self.network):
            loss_of(self.forward, self.precision, x, y)[1].backward()
        self.optimizer.zero_grad()
        self._settled = True


def pass_in_parts(norm: nn.Module, world: World) -> None:
    """Let a norm pass whole batches in the parts that the processes take, while its `in_parts` is true.

    So process 0 sees by itself, in a pass outside the steps, what all of them compute in a step. What the norm keeps of
    it is what it keeps of the first part.
    """
    forward: Callable[[Tensor], Tensor] = norm.forward

    def forward_in_parts(x: Tensor) -> Tensor:
        if not (norm.training and norm.in_parts) or len(x) < 2 * world.size:
            return forward(x)
        stream, own = getattr(norm, "stream", None), dict(norm._buffers)
        state, outputs = stream and stream.get_state(), list[Tensor]()
        for rank in reversed(range(world.size)):
            part = world.part_of(len(x), rank)
            if stream is not None:
                stream.set_state(state)
                stream.part = (part.start, len(x))
            # A copy where they are not kept: to put values back would change what the backward pass needs.
            norm._buffers.update({name: b.clone() for name, b in own.items() if b is not None} if rank else own)
            outputs.append(forward(x[part]))
        if stream is not None:
            stream.part = None
        return torch.cat(outputs[::-1])

    norm.in_parts = True  # type: ignore[assignment]
    norm.forward = forward_in_parts
