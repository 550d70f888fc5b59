"""The network through torch.compile."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bnexp.norms.random_stream import RandomStream


def compiled(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the network with what can be fused in kernels of its own; both share their parameters and buffers.

    A random generator cannot be part of a graph: modules that draw stay as they are, and the graph goes around them.
    """
    drawing = {
        type(module) for module in network.modules() if isinstance(getattr(module, "stream", None), RandomStream)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch's own compiler, when it is loaded
        for kind in drawing:
            kind.forward = torch.compiler.disable(kind.forward)  # to disable it again changes nothing
        return torch.compile(network, dynamic=False)
