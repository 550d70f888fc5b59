"""Compare what a training takes with the memory that is free, before anything is built."""

import os
import sys
from contextlib import suppress
from pathlib import Path

import torch

from bnexp.blueprint import Blueprint
from bnexp.config.layout import Layout
from bnexp.config.memory import FLOAT, Memory, StackMemory, memory_of, size
from bnexp.config.plan import Plan
from bnexp.config.schema import Config
from bnexp.errors import ConfigError

_PROGRAM = 300 << 20
"""Bytes that torch takes beyond what is loaded before a training."""
_TOLD = 0.25
"""Part of the free memory from which on `check` says what a training takes."""
_GROUPS = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int | None:
    """Return the memory that is free for a training on a device; None where the system does not tell.

    On the CPU it is the least of what the machine has left, swap included, what the container may still take, and what
    a limit (`ulimit -v`) leaves of this process's addresses.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    known = [left for left in (_of_machine(), _of_container(), _of_limit()) if left is not None]
    return max(min(known) - _PROGRAM, 0) if known else None


def _of_machine() -> int | None:
    """Return what the machine has left; all that it has, where only that is told."""
    with suppress(OSError, ValueError, IndexError):
        lines = [line.split() for line in Path("/proc/meminfo").read_text().splitlines()]
        return 1024 * sum(int(words[1]) for words in lines if words[0] in ("MemAvailable:", "SwapFree:"))
    with suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_container() -> int | None:
    """Return what the control group of a container leaves, file caches that can go not counted as taken."""
    for limit, used, detail, word in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):  # without a limit, the first file holds the word max
            left = int((_GROUPS / limit).read_text()) - int((_GROUPS / used).read_text())
            lines = (line.split() for line in (_GROUPS / detail).read_text().splitlines())
            return max(left + sum(int(words[1]) for words in lines if words[0] == word), 0)
    return None


def _of_limit() -> int | None:
    """Return what a limit on the addresses of this process leaves."""
    if sys.platform != "linux":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    with suppress(OSError, ValueError):
        return max(limit - int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize(), 0)
    return None


def needed_on(device: torch.device, config: Config, plan: Plan, layout: Layout) -> Memory:
    """Estimate what a training takes on a device: where Python would wait for it, steps are taken ahead."""
    return memory_of(config, plan, layout, ahead=device.type != "cpu")


def memory_of_stack(blueprint: Blueprint, device: torch.device) -> StackMemory | None:
    """Estimate what stacked seeds take on a device, where steps are always taken ahead; None where nobody knows."""
    config, plan, free = blueprint.config, blueprint.plan, free_bytes(device)
    one = memory_of(config, plan, blueprint.layout, ahead=True)
    return None if free is None else StackMemory.of(one, free)


def refuse_without_room(blueprint: Blueprint, device: torch.device) -> None:
    """Refuse a training whose weights do not fit into the free memory, with their gradients and what is kept of them.

    Raises:
        ConfigError: with both figures.
    """
    needed = needed_on(device, blueprint.config, blueprint.plan, blueprint.layout)
    refuse_beyond(free_bytes(device), needed.training, _of_weights(needed), "expected a smaller network")


def doubts_about_memory(blueprint: Blueprint, device: torch.device) -> list[str]:
    """Return a sentence for each part of a training that may not fit into the memory that is free."""
    config, plan = blueprint.config, blueprint.plan
    needed, free = needed_on(device, config, plan, blueprint.layout), free_bytes(device)
    if free is None:
        return []
    if needed.training > free:
        return [f"{_of_weights(needed)} takes about {size(needed.training)} of memory, and {size(free)} are free"]
    if needed.training + needed.dataset > free:
        what = f"the dataset takes about {size(needed.dataset)} of memory beside {size(needed.training)} of weights"
        return [f"{what}, and {size(free)} are free: less with data.limit"]
    doubts, left = [], free - needed.training - needed.dataset
    if needed.batch > left:
        fits = _fitting(needed.batch, plan.batch_size, left)
        accumulate = -(-config.data.batch_size * config.training.accumulate // fits)
        line = f"--set data.batch_size={fits} --set training.accumulate={accumulate}"
        what = f"a batch of {config.data.batch_size:,} takes about {size(needed.batch)} beside weights and dataset"
        largest = _largest(needed.batch, plan.batch_size, left)
        doubts.append(
            f"{what}, and {size(left)} are free, enough for {largest:,} examples: less with {line}, which takes "
            f"statistics of {fits}"
        )
    if needed.evaluation > left:
        line = f"--set data.eval_batch_size={max(_largest(needed.evaluation, needed.evaluated, left), 1)}"
        what = f"scoring {needed.evaluated:,} examples at once takes about {size(needed.evaluation)} of memory"
        doubts.append(f"{what}, and {size(left)} are free: less, for the same figures, with {line}")
    return doubts


def _of_weights(needed: Memory) -> str:
    return f"training {needed.weights // FLOAT:,} weights, with gradients, optimizer and a copy of the best,"


def memory_line(blueprint: Blueprint, device: torch.device) -> str | None:
    """Return a line on what a training takes, where that is much of what is free; else None."""
    needed, free = needed_on(device, blueprint.config, blueprint.plan, blueprint.layout), free_bytes(device)
    if free is None or needed.training + needed.dataset + max(needed.batch, needed.evaluation) < _TOLD * free:
        return None
    return (
        f"about {size(needed.training)} for weights, gradients and optimizer, {size(needed.dataset)} for the dataset, "
        f"{size(needed.batch)} for a batch of {blueprint.plan.batch_size:,}, {size(needed.evaluation)} to score "
        f"{needed.evaluated:,} at once; {size(free)} are free"
    )


def refuse_beyond(free: int | None, needed: int, what: str, expected: str) -> None:
    """Refuse what takes more memory than is free.

    Raises:
        ConfigError: with both figures.
    """
    if free is not None and needed > free:
        raise ConfigError(f"{what} takes about {size(needed)} of memory, and {size(free)} are free; {expected}")


def smaller_evaluation(config: Config, plan: Plan, layout: Layout, device: torch.device) -> int:
    """Return the data.eval_batch_size to try where scoring takes too much: what fits by estimate, at most the half."""
    needed, free = needed_on(device, config, plan, layout), free_bytes(device)
    left = needed.evaluation if free is None else free - needed.training  # of a dataset that is there already
    return _fitting(needed.evaluation, needed.evaluated, left)


def _fitting(needed: int, examples: int, free: int) -> int:
    """Return the largest power of two of examples that fit, at most half of so many; 1 where not even one does."""
    fits = 1
    while fits * 4 <= examples and needed // examples * fits * 2 <= free:
        fits *= 2
    return fits


def _largest(needed: int, examples: int, free: int) -> int:
    """Return how many of so many examples fit, a multiple of 8 where 8 do."""
    fits = min(examples, free * examples // needed)
    return fits if fits < 8 else fits // 8 * 8
