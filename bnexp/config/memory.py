"""Estimate the memory of a training from its layout, before it begins and without torch."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from bnexp.config.layout import Layout, PoolLayout
from bnexp.config.plan import Plan
from bnexp.config.refusals import count_weights
from bnexp.config.schema import Config, SgdConfig

FLOAT = 4
"""Bytes of a number in fp32; other precisions are estimated as if they were that."""
_LABEL = 8
"""Bytes of a label."""
_ONE_KERNEL = {"bn", "sync_bn", "ln", "gn", "in"}
"""Norms that torch computes in one kernel; the others keep about two more tensors of the size of their output."""
_PASSING = 2
"""Tensors of the largest size that the backward pass has beside what is kept for it: two gradients."""
_OF_A_STACK = 1.4
"""Largest ratio of the memory of a stack to the estimates for its seeds: 1.0 to 1.4 for four networks on the CPU."""
_AT_ONCE = 3
"""Tensors of the largest size that a forward pass alone has at once: in, out, and what the kernel sets aside."""
_MOST_INPUTS = 256 << 20
"""Bytes of prepared inputs at most; those of MNIST fit."""
_PASSES = 8
"""Passes over the training part, from which on it pays to prepare its inputs once: memory that is new takes longest."""


def keeps_inputs(config: Config, plan: Plan, values: int) -> bool:
    """Tell whether a training keeps its inputs as floats, `values` of them per example.

    It does where each image comes again unchanged; gathering a batch then saves a hundredth of the step of an MLP.
    """
    data, passes = config.data, plan.total_steps / plan.steps_per_epoch
    same = data.augment == "none" and not data.preprocess.endswith("whiten")
    return same and passes >= _PASSES and FLOAT * values * plan.train_examples <= _MOST_INPUTS


@dataclass(frozen=True)
class Memory:
    """Estimated bytes of a training, beside the program.

    Measured on the CPU with twelve small networks, a training took 0.8 to 1.0 times the estimate (1.6 with evonorm and
    in bf16), an evaluation 100 MiB more, at most twice as much.

    Attributes:
        weights: of the network alone.
        dataset: images of all parts as they lie on the device, a byte a value, their labels, and the inputs that are
            prepared once.
        training: weights, gradients, what the optimizer keeps, averaged and best weights; where steps are taken ahead,
            all that they change once more.
        batch: of the activations of one batch, forward and backward.
        evaluation: of the activations of the largest batch of an evaluation.
        evaluated: examples in that batch.
    """

    weights: int
    dataset: int
    training: int
    batch: int
    evaluation: int
    evaluated: int


@dataclass(frozen=True)
class StackMemory:
    """Estimated bytes of stacked seeds of a config, and those that are free for them.

    Attributes:
        seed: weights, gradients, optimizer and what steps are taken back to, of each seed.
        batch: activations of a batch, of each seed.
        evaluation: activations of the largest batch of an evaluation, of one seed after the other.
        free: beside the dataset.
    """

    seed: int
    batch: int
    evaluation: int
    free: int

    @classmethod
    def of(cls, one: Memory, free: int) -> "StackMemory":
        """Scale up the estimate of a single run, with steps taken ahead, to that of stacked seeds."""
        seed, batch = (round(_OF_A_STACK * part) for part in (one.training, one.batch))
        return cls(seed, batch, one.evaluation, max(free - one.dataset, 0))

    def needed(self, seeds: int) -> int:
        """Return the bytes that a stack of seeds takes."""
        return seeds * self.seed + max(seeds * self.batch, self.evaluation)

    def fitting(self, stacks: int) -> int:
        """Return how many seeds fit into each stack, with several side by side; 0 where not even one fits."""
        each = self.free // stacks
        return max(min(each // (self.seed + self.batch), (each - self.evaluation) // self.seed), 0)


def memory_of(config: Config, plan: Plan, layout: Layout, *, ahead: bool = False) -> Memory:
    """Estimate the memory that the training of a config takes, with steps taken `ahead` if that is so."""
    weights = FLOAT * count_weights(layout)
    evaluated = min(config.data.eval_batch_size, max(plan.val_examples, plan.test_examples))
    sizes = list(_sizes(layout))
    values = math.prod(layout.parts[0].shape_in)
    inputs = FLOAT * values * plan.train_examples if keeps_inputs(config, plan, values) else 0
    largest, kept = max(size for size, _ in sizes), sum(size * times for size, times in sizes)
    return Memory(
        weights=weights,
        dataset=(values + _LABEL) * (plan.train_examples + plan.val_examples + plan.test_examples) + inputs,
        training=weights * _copies(config, ahead=ahead),
        batch=FLOAT * plan.batch_size * (kept + _PASSING * largest),
        evaluation=FLOAT * evaluated * _AT_ONCE * largest,
        evaluated=evaluated,
    )


def size(number: int) -> str:
    """Write a number of bytes."""
    return f"{number / 2**30:,.1f} GiB" if number >= 2**30 / 10 else f"{number / 2**20:.1f} MiB"


def _copies(config: Config, *, ahead: bool) -> int:
    """Count the tensors a weight: itself, its gradient, its best value, its average, and the state of the optimizer.

    Of steps taken ahead, all but gradient and best value is kept as it was before them, so that they can be taken back.
    """
    optimizer = config.optimizer
    kept = (1 if optimizer.momentum else 0) if isinstance(optimizer, SgdConfig) else 2
    changed = 1 + kept + (1 if config.training.ema else 0)
    return 2 + changed * (2 if ahead else 1)


def _sizes(layout: Layout) -> Iterator[tuple[int, int]]:
    """Yield the numbers in the input and in each item's output, of one example, and how many copies are kept."""
    yield math.prod(layout.parts[0].shape_in), 1
    for part in layout.parts:
        if isinstance(part, PoolLayout):
            yield math.prod(part.shape_out), 1
            continue
        for placed in (*part.items, *part.shortcut):
            written_out = placed.item.kind.role == "norm" and placed.item.name not in _ONE_KERNEL
            yield math.prod(placed.shape_out), 3 if written_out else 1
