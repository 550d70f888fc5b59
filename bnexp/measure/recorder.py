"""Record outputs or inputs of modules during one forward pass."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bnexp.measure.subject import Items


class Recorder:
    """Records the output of each item in the first forward pass after `start`, or its first input."""

    def __init__(self, *, inputs: bool = False) -> None:
        self._inputs = inputs
        self._outputs: dict[str, Tensor] = {}
        self._handles: dict[str, RemovableHandle] = {}

    def start(self, items: Items) -> None:
        """Watch these items from now on."""
        self.stop()
        for name, module in items.items():
            self._handles[name] = module.register_forward_hook(partial(self._keep, name))

    def stop(self) -> dict[str, Tensor]:
        """Stop watching, and return the recorded tensors by name, detached."""
        for handle in self._handles.values():
            handle.remove()
        self._handles = {}
        outputs, self._outputs = self._outputs, {}
        return outputs

    def _keep(self, name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._outputs[name] = (inputs[0] if self._inputs else output).detach()
        self._handles.pop(name).remove()


def outputs_of(items: Items, forward: Callable[[], object]) -> dict[str, Tensor]:
    """Call `forward`, and return the output of each item that it comes through, by name and in order."""
    recorder = Recorder()
    recorder.start(items)
    try:
        forward()
    finally:
        outputs = recorder.stop()
    return outputs
