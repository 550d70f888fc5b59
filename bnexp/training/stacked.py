"""Train runs that differ in their seed as one vectorized network.

Each run keeps its own network, optimizer, batches and records. Here its parameters and buffers become views of tensors
(K, ...) that all K of them share: a step, a look or an evaluation of one run works on its own as ever.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.nn import functional
from torch.optim import Optimizer

from bnexp.data.batches import TrainBatches
from bnexp.norms.shapes import widened
from bnexp.training.build import TrainingRun
from bnexp.training.optimizer import set_learning_rate


class AllPassed(NamedTuple):
    """What a step of K runs gave: logits (K, N, classes) as floats, labels (K, N), mean losses (K,) in nats."""

    logits: Tensor
    labels: Tensor
    losses: Tensor


class Stack:
    """The networks of K runs as one, which takes the steps of all.

        forward     vmap over the runs: parameters and buffers (K, ...), inputs (K, B, C, H, W)
        backward    of the sum of the K losses: the gradient of each run is that of its own loss
        update      the gradients of each run clipped by their own norm, then one optimizer over the parameters of all

    The runs have one config but for the seed, and stand at the same step. Between `begin` and `end` only this moves
    them; outside, each may be used on its own.

    Source: model ensembling in torch.func, https://docs.pytorch.org/tutorials/intermediate/ensembling.html
    """

    def __init__(self, runs: Sequence[TrainingRun]) -> None:
        self.runs = runs
        self._parameters = _stacked([dict(run.network.named_parameters()) for run in runs])
        self._buffers = _stacked([dict(run.network.named_buffers()) for run in runs])
        trained = [name for name, tensor in self._parameters.items() if tensor.requires_grad]
        self._gradients = {name: torch.zeros_like(self._parameters[name]) for name in trained}
        self._own = [[dict(run.network.named_parameters())[name] for run in runs] for name in trained]
        self._optimizers = [run.train_step.optimizer for run in runs]
        self._optimizer = _joint(self._optimizers)

    def begin(self) -> None:
        """Take the runs over: gradients are gathered here, and one optimizer has the state of all."""
        self._optimizer.state.clear()
        for optimizer in self._optimizers:
            self._optimizer.state.update(optimizer.state)
        for (name, gradients), own in zip(self._gradients.items(), self._own, strict=True):
            self._parameters[name].grad = gradients.zero_()
            for parameter, gradient in zip(own, gradients.unbind(), strict=True):
                parameter.grad = gradient

    def end(self) -> None:
        """Give the runs back, each with its part of the optimizer's state and without gradients."""
        for optimizer in self._optimizers:
            for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
                parameter.grad = None
                if parameter in self._optimizer.state:
                    optimizer.state[parameter] = self._optimizer.state[parameter]

    def step(self, step: int) -> AllPassed:
        """Take a step, counted from 1, of every run."""
        set_learning_rate(self._optimizer, self.runs[0].learning_rate(step))
        passed = self.gradients(step)
        self.update()
        return passed

    def gradients(self, step: int) -> AllPassed:
        """Pass the batches of a step: afterwards `grad` of each parameter of each run is that of its mean loss."""
        plan, batches = self.runs[0].plan, [run.batches for run in self.runs]
        passes = []
        for number in plan.batches_of(step):
            x, y = TrainBatches.of_all(batches, number)  # (K, B, C, H, W), (K, B)
            logits, losses = self.forward(x, y)
            if y.shape[1] != (of := plan.examples_of(step)):
                losses = losses * (y.shape[1] / of)
            losses.sum().backward()  # type: ignore[no-untyped-call]
            passes.append(AllPassed(logits.detach(), y, losses.detach()))
        if len(passes) == 1:
            return passes[0]
        all_logits, labels, all_losses = zip(*passes, strict=True)
        return AllPassed(torch.cat(all_logits, dim=1), torch.cat(labels, dim=1), torch.stack(all_losses).sum(0))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Pass inputs x (K, B, C, H, W) with labels y (K, B) forward, each through its own network.

        Returns:
            Logits (K, B, classes) as floats, and the mean cross-entropy (K,) of each network in nats.
        """
        network = self.runs[0].network

        def of_one(weights: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
            logits: Tensor = functional_call(network, dict(weights), (inputs,))
            return logits

        with self.runs[0].precision:
            logits = vmap(of_one)({**self._parameters, **self._buffers}, x)
        logits = widened(logits)
        losses = functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none")  # (K * B,)
        return logits, losses.view(y.shape).mean(dim=1)

    def update(self) -> None:
        """Clip the gradients of each run, move the weights of all, and clear the gradients."""
        gradients = list(self._gradients.values())
        if (most := self.runs[0].train_step.grad_clip) is not None:
            clip_each(gradients, most)
        self._optimizer.step()
        for run in self.runs:
            if run.train_step.average is not None:
                run.train_step.average.update()
        torch._foreach_zero_(gradients)


@torch.no_grad()
def clip_each(gradients: Sequence[Tensor], most: float) -> None:
    """Scale the gradients of each of K networks down to a norm of at most `most`, as `clip_grad_norm_` does for one.

    Gradients (K, ...), changed in place: times min(1, most / (norm + 1e-6)), where the norm (K,) is over all of them.
    """
    norms = torch.stack([torch.linalg.vector_norm(one.flatten(1), dim=1) for one in gradients])  # (parameters, K)
    factor = (most / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1.0)  # (K,)
    for one in gradients:
        one.mul_(factor.view(-1, *[1] * (one.ndim - 1)))


@torch.no_grad()
def _stacked(named: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return tensors (K, ...) by name, and let those of each network be views of them, in the memory format they had.

    Raises:
        ValueError: the networks do not have the same tensors.
    """
    whole = dict[str, Tensor]()
    for name, first in named[0].items():
        own = [tensors[name] for tensors in named]
        stack = torch.empty_strided(
            (len(own), *first.shape), (first.numel(), *first.stride()), dtype=first.dtype, device=first.device
        )
        for place, tensor in zip(stack, own, strict=True):
            place.copy_(tensor)
            tensor.data = place
        whole[name] = stack.requires_grad_(first.requires_grad)
    return whole


def _joint(optimizers: Sequence[Optimizer]) -> Optimizer:
    """Return one optimizer over the parameters of all, group by group: its arithmetic is elementwise, that of each."""
    first, groups = optimizers[0], zip(*(optimizer.param_groups for optimizer in optimizers), strict=True)
    joined = [{**alike[0], "params": [p for group in alike for p in group["params"]]} for alike in groups]
    return type(first)(joined, **first.defaults)
