"""Passes through a network that take the statistics of its norms from elsewhere than training or evaluation do."""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from bnexp.measure.evaluation import inference_mode_of
from bnexp.measure.restore import copies_of, put, undisturbed
from bnexp.measure.subject import Subject
from bnexp.norms.statistics import Seen, seen_by, statistics_of

Forward = Callable[[Tensor], Tensor]
"""From inputs (B, C, H, W) to logits (B, classes)."""

RECOMPUTED_OVER = 5000
"""Training examples that recomputed statistics are taken over, where nothing else is said."""


def batch_statistics_norms(subject: Subject) -> list[nn.Module]:
    """Return the norms that take statistics of the batch in training, those of shortcuts last."""
    return [subject.items[name] for name, placed in subject.placed.items() if placed.item.kind.batch_statistics]


def ghost_sizes(subject: Subject) -> set[int]:
    """Return the sizes of the ghost batches that batches are cut into."""
    return {size for placed in subject.placed.values() if (size := placed.item.options.ghost_size)}


def without_a_batch_of_one(subject: Subject, count: int, batch_size: int) -> int:
    """Return how many of the first `count` examples can be passed through in training mode, in batches of a size.

    Where norms take statistics of the batch, no batch and no ghost batch may hold only one.
    """
    if not batch_statistics_norms(subject):
        return count
    sizes = {batch_size, *ghost_sizes(subject)}
    while _leaves_one(min(count, batch_size), sizes) or _leaves_one(count % batch_size, sizes):
        count -= 1
    return count


def _leaves_one(batch: int, sizes: set[int]) -> bool:
    return batch == 1 or any(batch % size == 1 for size in sizes)


@contextlib.contextmanager
def using_batch_statistics(subject: Subject) -> Iterator[Forward]:
    """Use the statistics of each batch as training does, and all else as evaluation does, until the context ends.

    There is no dropout, and no noise of `noisy_bn`. Each pass finds the network as training left it (the running
    statistics, toward which `batch_renorm` corrects, and its bounds) and leaves it so.

    Yields:
        The passes. For vectors they raise ValueError where a batch or a ghost batch holds one example.
    """
    norms = batch_statistics_norms(subject)
    buffers = [buffer for norm in norms for buffer in norm.buffers()]
    copies = copies_of(buffers)

    def forward(x: Tensor) -> Tensor:
        logits: Tensor = subject.network(x)
        put(buffers, copies)  # all that a pass changes here, and far less work than `undisturbed` each time
        return logits

    with undisturbed(subject.network), inference_mode_of(subject.network), _switched_off(norms, "noisy"):
        for norm in norms:
            norm.train()
        yield forward


@contextlib.contextmanager
def using_recomputed_statistics(subject: Subject, examples: int = RECOMPUTED_OVER) -> Iterator[Forward]:
    """Evaluate with running statistics that are recomputed for the present weights, until the context ends.

    Running statistics average over steps, and so over weights that are gone. These are the moments of all that a norm
    takes in from training examples, with the weights of now (Wu & Johnson 2021, "precise BN"); each norm makes of them
    what it keeps. The examples are the first ones of the training part in its order, which mixes the classes, each once
    and without augmentation; fewer than asked for where the training part has no more.

    They come in batches as large as in evaluation, ghost batches too: the layers above see nearly what they see at
    inference, and not what small batches would make of it (of two vectors, signs).

    Source: https://arxiv.org/abs/2105.07576, section 3
    """
    with undisturbed(subject.network):
        for norm, statistics in _recomputed(subject, examples).items():
            for name, value in statistics.items():
                norm.get_buffer(name).copy_(value)
        with inference_mode_of(subject.network):
            yield subject.network


@torch.no_grad()
def _recomputed(subject: Subject, examples: int) -> dict[nn.Module, dict[str, Tensor]]:
    """Return the running statistics that training examples give, for each norm by the names of its buffers."""
    seen = defaultdict[nn.Module, list[Seen]](list)

    def note(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen[norm].append(seen_by(norm, inputs[0]))

    norms, images = batch_statistics_norms(subject), subject.dataset.train.images[:examples]
    if not norms:
        return {}
    largest = max(subject.plan.batch_size, subject.config.data.eval_batch_size, 3)  # cut evenly, none is of one
    # As bn: with corrections, layers further up would see what the outdated running statistics make.
    with contextlib.ExitStack() as stack:
        for name in ("corrects", "splits", "in_parts"):
            stack.enter_context(_switched_off(norms, name))
        forward = stack.enter_context(using_batch_statistics(subject))
        for norm in norms:
            stack.callback(norm.register_forward_pre_hook(note).remove)
        for batch in images.tensor_split(-(-len(images) // largest)):
            forward(subject.dataset.inputs(batch))
    return {norm: statistics_of(norm, batches) for norm, batches in seen.items()}


@contextlib.contextmanager
def _switched_off(norms: list[nn.Module], name: str) -> Iterator[None]:
    """Set an attribute to false, of those norms that have it, until the context ends."""
    before = {norm: getattr(norm, name) for norm in norms if hasattr(norm, name)}
    for norm in before:
        setattr(norm, name, False)
    try:
        yield
    finally:
        for norm, value in before.items():
            setattr(norm, name, value)
