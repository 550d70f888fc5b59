"""What records the work of a device, so that it can be repeated without Python: CUDA graphs.

Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

Work = Callable[[], None]


class Unrecordable(Exception):
    """Says why a step cannot be recorded."""


class GraphRecorder(Protocol):
    """Records what a device is asked to do, so that it can be repeated without Python."""

    def aside(self, work: Work) -> None:
        """Do work where it is recorded later, in its turn between what was asked before and what will be."""

    def record(self, work: Work, generators: Sequence[torch.Generator]) -> Work:
        """Return what repeats the work on the tensors that it had, drawing on from these generators.

        Work that is recorded may be done, or not: whoever asks for it puts back what it may have changed.

        Raises:
            Unrecordable, RuntimeError: it cannot be recorded.
        """


class CudaRecorder:
    """Records CUDA graphs, which share their memory: one is repeated after the other, never two at once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            self._stream, self._pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()

    def aside(self, work: Work) -> None:
        """Do work on a stream of its own, as torch asks for before a recording."""
        with torch.cuda.device(self._device):
            current = torch.cuda.current_stream()
            self._stream.wait_stream(current)
            with torch.cuda.stream(self._stream):
                work()
            current.wait_stream(self._stream)

    def record(self, work: Work, generators: Sequence[torch.Generator]) -> Work:
        """Record work, which is not done."""
        with torch.cuda.device(self._device):
            self._refuse_without_room()
            graph = torch.cuda.CUDAGraph()
            for generator in generators:
                graph.register_generator_state(generator)
            # Other threads of the process have nothing to do with it, the backward pass aside, which torch takes along.
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                work()
        return graph.replay

    def _refuse_without_room(self) -> None:
        """Refuse where a look or an evaluation, which keeps its own memory, would not fit beside the recorded step."""
        held = torch.cuda.memory_allocated()
        step, free = torch.cuda.max_memory_allocated() - held, torch.cuda.mem_get_info()[0]
        if 2 * step > free + torch.cuda.memory_reserved() - held:
            raise Unrecordable("the memory of the GPU is too small for it beside a step that is not")
