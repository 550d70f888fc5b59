"""`training.compile`: the training steps through torch.compile, which fuses what it can into kernels of its own."""

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from bnexp.config.plan import Plan
from bnexp.data.batches import TrainBatches
from bnexp.errors import BnexpError
from bnexp.measure.passes import loss_of
from bnexp.measure.restore import undisturbed
from bnexp.training.step import TrainStep


def compiled(network: nn.Module, *, deterministic: bool = True) -> Callable[[Tensor], Tensor]:
    """Return the compiled form of a network, which shares its parameters and buffers.

    On a GPU torch would otherwise choose among several kernels by their times, which differ from one compilation to the
    next, and with the kernels the bits.
    What was compiled before in this process is forgotten: torch keeps a few versions of the code that it compiles and
    then silently goes on without, so that the runs of one command would not be alike.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch's own compiler, when it is loaded
        torch.compiler.reset()
        return torch.compile(network, dynamic=False, options={"deterministic": deterministic})


def warm_up(train_step: TrainStep, batches: TrainBatches, plan: Plan) -> float:
    """Compile for every batch size of the plan, and return the seconds it took; the network and its streams stay alike.

    Raises:
        BnexpError: torch cannot compile here, for want of a C++ compiler perhaps.
    """
    start = time.perf_counter()
    with _explained(), undisturbed(train_step.network):
        last = min(plan.batches_per_epoch, plan.batches_of(plan.total_steps).stop) - 1
        for number in dict.fromkeys((0, last)):  # a full batch, and the last one of an epoch
            smoothing = train_step.label_smoothing
            _, loss = loss_of(train_step.forward, train_step.precision, *batches.at(number), smoothing)
            loss.backward()  # not through the loss scaling, whose state would move
    train_step.optimizer.zero_grad()
    return time.perf_counter() - start


@contextlib.contextmanager
def _explained() -> Iterator[None]:
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
