"""`training.compile`: the training steps through torch.compile, which fuses what it can into kernels of its own."""

import contextlib
import time
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from bnexp.errors import BnexpError
from bnexp.measure.undisturbed import undisturbed
from bnexp.training.build import Experiment


def warm_up(run: Experiment) -> float:
    """Compile for every batch size of the plan, before the first step; nothing in the network or its streams changes.

    Returns:
        The seconds that it took.

    Raises:
        BnexpError: torch cannot compile here, for want of a C++ compiler perhaps.
    """
    start = time.perf_counter()
    with _in_words(), undisturbed(run.network):
        last = min(run.plan.steps_per_epoch, run.plan.total_steps) - 1
        for step in dict.fromkeys((0, last)):  # a full batch, and the last one of an epoch
            x, y = run.batches.at(step)
            with run.precision:
                logits = run.forward(x)
            functional.cross_entropy(logits.float(), y).backward()
    run.optimizer.zero_grad()
    return time.perf_counter() - start


@torch.no_grad()
def rehearse(run: Experiment, x: Tensor) -> None:
    """Pass a batch through the plain network, for the probes that watch: a compiled one calls no hooks."""
    with undisturbed(run.network), run.precision:
        run.network(x)


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    """Turn what stops the compiler into a message; its warnings are about its own code, not about the network."""
    from torch._dynamo.exc import TorchDynamoException  # takes seconds, for those who compile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except TorchDynamoException as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BnexpError(
            f"training.compile: torch could not compile the network ({reason}); set training.compile: false, or, where "
            "a C++ compiler is missing, name one in the variable CXX"
        ) from None
