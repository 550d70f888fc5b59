"""Steps that are recorded and repeated: here by a tape on the CPU, on a GPU in test_on_gpu.py."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bnexp.config.schema import Config
from bnexp.training.build import TrainingRun
from bnexp.training.device import Graphing
from bnexp.training.graph import WARM_UP, Graphed, Work
from left_behind import LENGTH, NO_PROBES, STEPS, Trained, built

MakeConfig = Callable[..., Config]


class Tape(TorchDispatchMode):
    """Notes every operation with its tensors, and with the numbers of Python as they are at that moment.

    That is what a CUDA graph does. Repeated, the operations run on the same tensors, and write into the same results.
    """

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.noted.append((function, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def repeat(self) -> None:
        for function, args, kwargs, results in self.noted:
            for into, value in zip(tree_leaves(results), tree_leaves(function(*args, **kwargs)), strict=True):
                if isinstance(into, Tensor) and into.data_ptr() != value.data_ptr():
                    into.copy_(value)


class TapeRecorder:
    """Records on a tape, and counts."""

    def __init__(self) -> None:
        self.aside_of = self.recorded = self.repeated = 0

    def aside(self, work: Work) -> None:
        self.aside_of += 1
        work()

    def record(self, work: Work, generators: Sequence[torch.Generator]) -> Work:
        with Tape() as tape:
            work()
        self.recorded += 1

        def repeat() -> None:
            self.repeated += 1
            tape.repeat()

        return repeat


def on_tensors(run: TrainingRun) -> None:
    """Let the learning rate and the weight of the average be tensors, as on CUDA."""
    rate = torch.tensor(0.0)
    for group in run.train_step.optimizer.param_groups:
        group["lr"] = rate
    if run.train_step.average is not None:
        run.train_step.average._weight = torch.tensor(0.0)
    run.graph.tried = True


def graphed(config: Config, fault: Callable[[TrainingRun], None] = lambda run: None) -> tuple[Trained, TapeRecorder]:
    tape = TapeRecorder()
    run = built(config, lambda run: (on_tensors(run), fault(run)))
    return Trained(run, Graphed(run, tape, lambda text: None)), tape


@pytest.mark.parametrize("kind", STEPS)
def test_repeated_steps_leave_what_watched_ones_leave(make_config: MakeConfig, kind: str) -> None:
    """Full steps and the short one of each epoch, among rows, evaluations and checkpoints."""
    training = {**LENGTH, "steps": 32, **STEPS[kind].get("training", {})}
    config = make_config(**{**STEPS[kind], "training": training, "probes": NO_PROBES})
    watched = Trained(built(config, on_tensors), None)
    repeated, tape = graphed(config)
    assert repeated.left() == watched.left()
    assert repeated.run.graph == Graphing(tried=True, recorded=tape.recorded)
    assert tape.recorded == 2
    assert tape.aside_of == tape.recorded * WARM_UP
    taken_ahead = sum(last - first + 1 for first, last in repeated.stretches)
    assert tape.repeated == taken_ahead - tape.aside_of + 2, "each recording is tried once"
