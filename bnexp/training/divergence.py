"""`training.on_divergence`: what is done about a step that is not finite, and where in the network that began."""

import itertools
import math
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

from bnexp.measure.evaluation import Score, inference_mode_of
from bnexp.measure.machine import numbers_of
from bnexp.measure.recorder import outputs_of
from bnexp.measure.restore import copies_of, put, undisturbed
from bnexp.measure.tally import waits
from bnexp.training.build import TrainingRun
from bnexp.training.optimizer import MOST_SKIPS_IN_A_ROW
from bnexp.training.progress import Divergence, Progress

Decision = Literal["take", "skip", "end"]
FINITE = ("loss", "value")
"""Place and quantity where every output of the network is finite."""
_LOOKED_AT = (torch.float32, torch.float64)
"""Kinds of running statistics that are looked at where they lie."""
_CHECK = getattr(torch, "_amp_foreach_non_finite_check_and_unscale_", None)
"""What loss scaling looks at gradients with: torch's own name, which it may change; without it, `zero` is asked."""


class Guard:
    """Decides about each step before it is taken, and about the run after it.

        stop        the first loss or running statistic that is not finite ends the run, and so does such an evaluation
        skip_step   a step with such a loss, statistic or gradient is not taken, and the running statistics are put back
                    to where they were before its forward pass; too many in a row end the run
        continue    every step is taken, whatever it does to the weights

    The first of them is traced to its layer. Where the loss is scaled, gradients that overflow are left to the scaling.
    """

    def __init__(self, run: TrainingRun, progress: Progress) -> None:
        self._run, self._progress, self._scaler = run, progress, run.train_step.scaler
        self._policy = run.config.training.on_divergence
        self._buffers: list[Tensor] = []
        self._before: list[Tensor] = []
        self._statistics = RunningStatistics(run.network)

    def before_forward(self) -> None:
        """Keep a copy of the running statistics, where the step may be skipped."""
        if self._policy == "skip_step":
            self._buffers = list(self._run.network.buffers())
            self._before = copies_of(self._buffers)

    def transfer(self, loss: Tensor) -> tuple[float, bool]:
        """Bring the loss () to Python, and with it, in one transfer, whether the running statistics are finite.

        Of several processes, all find what any of them finds.
        """
        if waits(loss.device):
            value, *zeros = numbers_of([loss, *self._statistics.zero()])
            sum_of_zeros = sum(zeros, 0.0)
        else:
            [value] = loss.float().view(1).tolist()
            sum_of_zeros = 0.0 if self._statistics.are_finite() else math.nan
        if self._run.world is not None:
            value, sum_of_zeros = self._run.world.agreed(value, sum_of_zeros)
        return value, sum_of_zeros == 0

    def decide(self, loss: float, statistics_finite: bool, x: Tensor, step: int) -> Decision:
        """Decide whether a step is taken, skipped without a trace, or the end of the run.

        Args:
            loss: of all batches of the step, in nats.
            statistics_finite: whether the forward passes of the step left the running statistics finite.
            x: the last batch of the step, (B, C, H, W).
            step: its number, from 1.
        """
        progress = self._progress
        if statistics_finite and self._is_finite(loss):
            progress.skipped_in_a_row = 0
            return "take"
        if progress.divergence is None:
            *earlier, _ = self._run.plan.batches_of(step)
            inputs = itertools.chain((self._run.batches.at(number)[0] for number in earlier), [x])
            progress.divergence = find_divergence(self._run, inputs, step)
        if self._policy == "skip_step":
            put(self._buffers, self._before)
            progress.skipped += 1
            progress.skipped_in_a_row += 1
            return "skip"
        if self._policy == "continue":
            return "take"
        progress.sound, progress.ended = False, True
        return "end"

    def ends_after(self, step: int, score: Score | None) -> bool:
        """Tell whether a step was the last: for what its evaluation shows, if it had one, or for too many skips."""
        run, progress = self._run, self._progress
        if score is not None:
            progress.sound = math.isfinite(score.loss) and buffers_are_finite(run.network)
            if not progress.sound and progress.divergence is None:
                x = run.dataset.val_inputs(run.plan.batch_size)
                progress.divergence = find_divergence(run, [x], step, inference=True)
        if max(progress.skipped_in_a_row, self._scaler.skipped_in_a_row) > MOST_SKIPS_IN_A_ROW:
            progress.sound, progress.ended = False, self._policy != "continue"
            scaling = Divergence(step, run.plan.epoch_at(step), "loss scaling", "gradient")
            progress.divergence = progress.divergence or scaling
        progress.ended = progress.ended or (self._policy == "stop" and not progress.sound)
        return progress.ended

    def _is_finite(self, loss: float) -> bool:
        if not math.isfinite(loss):
            return False
        asks_gradients = self._policy == "skip_step" and not self._scaler.scales
        return not asks_gradients or gradients_are_finite(self._run.network)


class RunningStatistics:
    """The running statistics of a network, and whether all are finite."""

    def __init__(self, network: nn.Module) -> None:
        self._tensors = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        self._zeros = torch.cat([torch.zeros_like(tensor).flatten() for tensor in self._tensors or [torch.empty(0)]])
        fits = all(tensor.is_contiguous() and tensor.dtype in _LOOKED_AT for tensor in self._tensors)
        self._check = _CHECK if fits else None
        self._found, self._one = torch.zeros(()), torch.ones(())

    def zero(self) -> list[Tensor]:
        """Return what is 0 while they are finite, and nan from there on, (), in a list; [] where there are none."""
        # 0 times a number is 0, and nan for inf and nan: one reduction over the statistics of all norms.
        # A norm of one's own may have one of any shape.
        flat = [tensor if tensor.ndim == 1 else tensor.flatten() for tensor in self._tensors]
        return [torch.dot(torch.cat(flat), self._zeros)] if flat else []

    def are_finite(self) -> bool:
        """Tell whether they are finite, where Python waits for no device: in half the time of `zero`."""
        if self._check is None:
            return all(math.isfinite(zero) for zero in numbers_of(self.zero()))
        self._check(self._tensors, self._found, self._one)  # multiplies by 1, which leaves every bit as it is
        found = bool(self._found.tolist())
        if found:
            self._found.zero_()
        return not found


def find_divergence(run: TrainingRun, inputs: Iterable[Tensor], step: int, *, inference: bool = False) -> Divergence:
    """Find where the network of a run first is not finite for the batches of a step, in training or inference mode.

    Running statistics count as what their layer gives. Where all of this is finite, the gradients that the network
    holds are searched, from the last layer back.
    """
    with run.precision, inference_mode_of(run.network) if inference else nullcontext():
        found = (first_non_finite(run.network, run.items, x) for x in inputs)
        layer, quantity = next((each for each in found if each != FINITE), FINITE)
    order = list(run.items)
    poisoned = next((name for name in order if not _all_finite(run.items[name].buffers(recurse=False))), None)
    if poisoned is not None and (quantity == "value" or order.index(poisoned) <= order.index(layer)):
        layer, quantity = poisoned, "running statistics"
    elif quantity == "value":
        layers = (name for name in reversed(order) if not gradients_are_finite(run.items[name]))
        if begun := next(layers, None):
            layer, quantity = begun, "gradient"
    buffers = tuple(name for name, buffer in run.network.named_buffers() if not _all_finite([buffer]))
    return Divergence(step, run.plan.epoch_at(step), layer, quantity, buffers)


def first_non_finite(network: nn.Module, items: Mapping[str, nn.Module], x: Tensor) -> tuple[str, str]:
    """Find the first item, in the order of computation, that gives a value that is not finite for the batch x.

    The forward pass is done once more, in the mode the network is in, and leaves no trace. With the item's name comes
    `weight` or `running statistics` when those are already not finite, else `output`; `FINITE` when every output is.
    """
    with torch.no_grad(), undisturbed(network):
        outputs = outputs_of(items, lambda: network(x))
    for name, output in outputs.items():
        module = items[name]
        # In training the running statistics are not read, only written: there they are never the cause.
        if not module.training and not _all_finite(module.buffers(recurse=False)):
            return name, "running statistics"
        if not _all_finite([output]):
            return name, "output" if _all_finite(module.parameters(recurse=False)) else "weight"
    return FINITE


def gradients_are_finite(network: nn.Module) -> bool:
    """Tell whether every gradient of the network is finite."""
    return _all_finite(parameter.grad for parameter in network.parameters() if parameter.grad is not None)


def buffers_are_finite(network: nn.Module) -> bool:
    """Tell whether every buffer (running statistics) of the network is finite."""
    return _all_finite(network.buffers())


def _all_finite(tensors: Iterable[Tensor]) -> bool:
    finite = [torch.isfinite(tensor).all() for tensor in tensors]
    return not finite or bool(torch.stack(finite).all())
