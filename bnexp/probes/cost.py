"""Probe `cost`: where the time of a step goes by kind of item, and how much memory it takes."""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import ClassVar

import torch
from torch import Tensor, nn

from bnexp.config.probes_section import CostSchedule
from bnexp.measure.machine import peak_mib, synchronize
from bnexp.measure.passes import inputs_of
from bnexp.measure.restore import undisturbed
from bnexp.measure.subject import Look, Subject
from bnexp.probes.probe import Charts, Figure, Probe, Reading

_KINDS = {"norm": "norms", "layer": "layers", "activation": "activations"}
KINDS = (*_KINDS.values(), "rest")

_SAME_MACHINE = "yes, on the same machine with nothing else running"
_ALONE = "what a step takes: items are timed one by one, and without the optimizer"
_MEMORY = "what a norm takes, and what training takes without probes"


class Cost(Probe):
    """Measures where the time of a step goes by kind of item, and how much memory is in use.

    Each item alone is timed on the inputs that it has in this step, and the times of a kind are added up. The kinds are
    `norms`, `layers` (linear, conv and the head), `activations` and the `rest` (dropout, add, shortcuts, pooling). An
    item is timed `repeats` times after one that does not count, and the median is taken. The clock waits for the device
    at every item, so that on a GPU each time includes that of a launch. Their sum is not the time of a step. A compiled
    network is timed in its plain form.

    The memory is more than training alone takes. Probes that look at the same step add to it: some keep the output of
    every item through the backward pass, and `cost` keeps the inputs of every item while it times them.
    """

    figures = (
        Figure(
            "cost_ms/<kind>_forward",
            "time of the forward passes of a step",
            range="milliseconds",
            comparable=_SAME_MACHINE,
            silent_on=_ALONE,
        ),
        Figure(
            "cost_ms/<kind>_backward",
            "time of the gradients with respect to parameters, and to inputs where the step needs them",
            range="milliseconds",
            comparable=_SAME_MACHINE,
            silent_on=_ALONE,
        ),
        Figure(
            "cost_share/<kind>",
            "both times of the kind together, as a part of those of all kinds",
            range="0 to 1",
            comparable="yes, on the same machine; it shrinks where the other kinds take longer, too",
            silent_on=_ALONE,
        ),
        Figure(
            "peak_memory_mib/process",
            "largest memory of the process since it began, that of all probes included",
            range="MiB",
            comparable="no: earlier runs of the same command, and the libraries loaded, are in it",
            silent_on=_MEMORY,
        ),
        Figure(
            "peak_memory_mib/run",
            "the same since the run began, where the system tells (Linux)",
            range="MiB",
            comparable="yes, with the same probes, in processes that had loaded the same before",
            silent_on=_MEMORY,
        ),
        Figure(
            "peak_memory_mib/device",
            "largest memory of torch on a CUDA device since the run began",
            range="MiB",
            comparable="yes, with the same probes",
            silent_on=_MEMORY,
        ),
    )
    charts: ClassVar[Charts] = {"cost": {"milliseconds": r"cost_ms/", "share": r"cost_share/"}}

    def __init__(self, schedule: CostSchedule, now: Callable[[], float] = time.perf_counter) -> None:
        """Take the options of the section, and a clock that tells the time in seconds."""
        super().__init__(schedule)
        self._repeats, self._now = schedule.repeats, now

    def after_step(self, look: Look) -> Reading:
        """Time every item."""
        subject, device, kinds = look.subject, look.x.device, kinds_of(look.subject)
        sums = {kind: [0.0, 0.0] for kind in KINDS}
        with undisturbed(subject.network):
            with subject.precision:
                inputs = inputs_of(subject.items, lambda: subject.network(look.x), _alone)
            for name, taken in inputs.items():
                for way, seconds in enumerate(self._median(look, subject.items[name], taken)):
                    sums[kinds[name]][way] += seconds
        milliseconds = torch.tensor([sums[kind] for kind in KINDS], device=device) * 1e3  # (kinds, 2)
        shares = milliseconds.sum(dim=1) / milliseconds.sum()
        scalars = dict[str, Tensor]()
        for kind, (forward, backward), share in zip(KINDS, milliseconds, shares, strict=True):
            scalars[f"cost_ms/{kind}_forward"] = forward
            scalars[f"cost_ms/{kind}_backward"] = backward
            scalars[f"cost_share/{kind}"] = share
        for where, mib in peak_mib(device).items():
            if mib is not None:
                scalars[f"peak_memory_mib/{where}"] = torch.tensor(mib, device=device)
        return Reading(scalars)

    def _median(self, look: Look, module: nn.Module, inputs: Sequence[Tensor]) -> tuple[float, float]:
        """Return the seconds of an item's passes forward and backward."""
        self._time(look, module, inputs)  # the first call of a kernel is slower than the others
        forwards, backwards = zip(*(self._time(look, module, inputs) for _ in range(self._repeats)), strict=True)
        return median(forwards), median(backwards)

    def _time(self, look: Look, module: nn.Module, inputs: Sequence[Tensor]) -> tuple[float, float]:
        device = look.x.device
        with look.subject.precision:  # entered for each, since autocast keeps the weights that it has cast
            start = self._time_when_done(device)
            output = module(*inputs)
            forward = self._time_when_done(device) - start
        wanted = [tensor for tensor in (*inputs, *module.parameters(recurse=False)) if tensor.requires_grad]
        if not wanted:
            return forward, 0.0
        ones = torch.ones_like(output)
        start = self._time_when_done(device)
        torch.autograd.grad(output, wanted, ones)
        return forward, self._time_when_done(device) - start

    def _time_when_done(self, device: torch.device) -> float:
        synchronize(device)
        return self._now()


def kinds_of(subject: Subject) -> dict[str, str]:
    """Return the kind of each item by its name."""
    placed = {name: _KINDS.get(placed.item.kind.role, "rest") for name, placed in subject.placed.items()}
    return dict.fromkeys(subject.items, "rest") | {"head": "layers"} | placed


def _alone(inputs: Sequence[Tensor]) -> list[Tensor]:
    """Detach the inputs of an item from the graph that made them."""
    return [tensor.detach().requires_grad_(tensor.requires_grad) for tensor in inputs]
