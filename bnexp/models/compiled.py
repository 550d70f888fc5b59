"""The network through torch.compile."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn


def compiled(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the network with what can be fused in kernels of its own; both share their parameters and buffers.

    What was compiled before in this process is forgotten: torch keeps a few versions of the code that it compiles and
    then silently goes on without, so that the runs of one command would not be alike.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch's own compiler, when it is loaded
        torch.compiler.reset()
        return torch.compile(network, dynamic=False)
