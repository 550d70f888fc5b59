"""Counts what a GPU would begin, on any device."""

from collections.abc import Callable
from typing import Any

from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode


class Kernels(TorchDispatchMode):
    """Counts the operations of torch while it is on, but for views and for memory that is only reserved."""

    count = 0

    def __torch_dispatch__(self, function: OpOverload, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not function.is_view and "empty" not in function.name()
        return function(*args, **(kwargs or {}))


def kernels_of(work: Callable[[], object]) -> int:
    """Return how many operations some work has."""
    with Kernels() as kernels:
        work()
    return kernels.count
