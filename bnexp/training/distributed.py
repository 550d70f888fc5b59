"""Train one network in several processes (`world.py`): each passes its part of every batch, and all take the same step.

torch's DistributedDataParallel averages the gradients, over gloo between CPUs and NCCL between GPUs. Process 0 keeps
the records and looks through the probes; the others follow it. docs/devices.md says what is divided and what is not.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from bnexp.blueprint import Blueprint
from bnexp.config.division import divided_norms, parts_of_batch
from bnexp.config.layout import Layout
from bnexp.errors import ConfigError
from bnexp.measure.passes import loss_of
from bnexp.measure.restore import streams_of, undisturbed
from bnexp.norms.sync_batch_norm import SyncBatchNorm
from bnexp.training.step import Passed, TrainStep
from bnexp.training.world import World


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
    if config.training.graph == "on":
        raise ConfigError("training.graph on: several processes train without it; expected auto or off, or one process")
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

    def update(self, *, unseen: bool = False) -> None:
        """Take the step, and keep the running statistics of process 0."""
        super().update(unseen=unseen)
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
            loss_of(self.forward, self.precision, x, y, self.label_smoothing)[1].backward()
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
