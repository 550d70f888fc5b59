"""Train runs that differ in their seed as one vectorized network.

Each run keeps its own network, optimizer, batches and records. Here its parameters and buffers become views of tensors
(K, ...) that all K of them share: a step, a look or an evaluation of one run works on its own as ever.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional
from torch.optim import Optimizer

from bnexp.data.batches import TrainBatches
from bnexp.norms.shapes import widened
from bnexp.training.ahead import Seen, Stretch
from bnexp.training.build import TrainingRun
from bnexp.training.optimizer import set_learning_rate

_SLOW = "There is a performance drop because we have not yet implemented the batching rule"
"""What torch warns of where it passes the networks through an operation one by one: `lerp_`, of running statistics."""


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

    The runs have one config but for the seed. One that does not take part in a stretch, since it has ended perhaps,
    gets tensors of its own back. Its place in the stack is computed on and written nowhere, so that the others keep
    their bits, which may depend on how many are computed at once.

    Source: model ensembling in torch.func, https://docs.pytorch.org/tutorials/intermediate/ensembling.html
    """

    def __init__(self, runs: Sequence[TrainingRun]) -> None:
        self._runs = runs
        parameters = [dict(run.network.named_parameters()) for run in runs]
        buffers = [dict(run.network.named_buffers()) for run in runs]
        self._parameters, self._buffers = whole(parameters), whole(buffers)
        self._gradients = {
            name: torch.zeros_like(tensor) for name, tensor in self._parameters.items() if tensor.requires_grad
        }
        together = {**self._parameters, **self._buffers}
        self._places = [
            [(tensor, together[name].detach()[number]) for name, tensor in (*own.items(), *kept.items())]
            for number, (own, kept) in enumerate(zip(parameters, buffers, strict=True))
        ]
        self._trained = [[own[name] for name in self._gradients] for own in parameters]
        self._within = set[int]()
        self._statistics = [tensor for tensor in self._buffers.values() if tensor.is_floating_point()]
        self._optimizer = self._of_those_within(range(len(runs)))

    def take(self, stretches: Sequence[Stretch]) -> None:
        """Take all steps of the stretches of some of the runs, the same steps of each, and set what is seen of them.

        Nothing is brought to Python before the last.
        """
        numbers = [next(n for n, run in enumerate(self._runs) if run is stretch.run) for stretch in stretches]
        if set(numbers) != self._within:
            self._optimizer = self._of_those_within(numbers)
        self._begin()
        losses, corrects, others = list[Tensor](), list[Tensor](), list[Tensor]()  # (K,) each
        for step in stretches[0].steps:
            passed = self.gradients(step)
            losses.append(passed.losses)
            corrects.append((passed.logits.argmax(dim=2) == passed.labels).sum(dim=1))
            others += self._zero()
            self.update(step)
        others += self._weights()
        self._end()
        figures = torch.stack([figure.float() for figure in (*losses, *corrects, *others)]).T.tolist()
        for number, stretch in zip(numbers, stretches, strict=True):
            own, count = figures[number], len(losses)
            sound = all(map(math.isfinite, own[2 * count :]))
            stretch.seen = Seen(own[:count], own[count : 2 * count], sound)

    def gradients(self, step: int) -> AllPassed:
        """Pass the batches of a step: the gradients (K, ...) are then those of the mean loss of each run."""
        plan, batches = self._runs[0].plan, [run.batches for run in self._runs]
        of, passes = plan.examples_of(step), list[AllPassed]()
        for number in plan.batches_of(step):
            x, y = TrainBatches.of_all(batches, number)  # (K, B, C, H, W), (K, B)
            logits, losses = self.forward(x, y)
            if y.shape[1] != of:
                losses = losses * (y.shape[1] / of)
            losses.sum().backward()
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
        with self._runs[0].precision:
            logits = widened(pass_all(self._runs[0].network, {**self._parameters, **self._buffers}, x))
        losses = functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none")  # (K * B,)
        return logits, losses.view(y.shape).mean(dim=1)

    def update(self, step: int) -> None:
        """Clip the gradients of each run, move the weights by them, and clear them."""
        first, gradients = self._runs[0], list(self._gradients.values())
        if first.train_step.grad_clip is not None:
            clip_each(gradients, first.train_step.grad_clip)
        set_learning_rate(self._optimizer, first.learning_rate(step))
        self._optimizer.step()
        for number in self._within:
            if (average := self._runs[number].train_step.average) is not None:
                average.update()
        torch._foreach_zero_(gradients)

    @torch.no_grad()
    def _of_those_within(self, numbers: Sequence[int]) -> Optimizer:
        """Put some of the runs into their places, give the others tensors of their own, and return an optimizer."""
        for number, places in enumerate(self._places):
            for tensor, place in places:
                if number in numbers and number not in self._within:
                    tensor.data = place.copy_(tensor)
                elif number not in numbers and number in self._within:
                    tensor.data = place.clone()
        self._within = set(numbers)
        return _joint([self._runs[number].train_step.optimizer for number in numbers])

    def _begin(self) -> None:
        """Gather the gradients of those within, and give the optimizer the state of theirs, which all write into."""
        self._optimizer.state.clear()
        for name, gradient in self._gradients.items():
            self._parameters[name].grad = gradient.zero_()
        for number in self._within:
            self._optimizer.state.update(self._runs[number].train_step.optimizer.state)
            for parameter, gradient in zip(self._trained[number], self._gradients.values(), strict=True):
                parameter.grad = gradient[number]

    def _end(self) -> None:
        """Leave the runs as after a step of their own, without gradients."""
        for number in self._within:
            optimizer = self._runs[number].train_step.optimizer
            for parameter in self._trained[number]:
                parameter.grad = None
                if parameter in self._optimizer.state:
                    optimizer.state[parameter] = self._optimizer.state[parameter]

    def _zero(self) -> list[Tensor]:
        """Return what is 0 for each run while its running statistics are finite, else nan, (K,); [] without any."""
        flat = [tensor.flatten(1) for tensor in self._statistics]
        return [(torch.cat(flat, dim=1) * 0).sum(dim=1)] if flat else []

    @torch.no_grad()
    def _weights(self) -> list[Tensor]:
        """Return what is not finite for a run of which a gradient was not, for the policy that asks about gradients."""
        asks = self._runs[0].config.training.on_divergence == "skip_step"
        return [norm_of_each(list(self._parameters.values()))] if asks else []


def norm_of_each(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm over tensors (K, ...) for each of K networks, (K,)."""
    norms = torch.stack([one.flatten(1).norm(dim=1) for one in tensors])  # (tensors, K)
    total: Tensor = norms.norm(dim=0)
    return total


def clip_each(gradients: Sequence[Tensor], most: float) -> None:
    """Scale the gradients of each of K networks down to a norm of at most `most`, as `clip_grad_norm_` does for one.

    Gradients (K, ...), changed in place: times min(1, most / (norm + 1e-6)), where the norm (K,) is over all of them.
    """
    factor = (most / (norm_of_each(gradients) + 1e-6)).clamp(max=1.0)  # (K,)
    for one in gradients:
        one.mul_(factor.view(-1, *[1] * (one.ndim - 1)))


def pass_all(network: nn.Module, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Pass inputs x (K, B, C, H, W) through K networks like `network`, and return their logits (K, B, classes).

    `weights` are their parameters and buffers (K, ...) by name; running statistics are written in place.
    """

    def of_one(weights: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        logits: Tensor = functional_call(network, dict(weights), (inputs,))
        return logits

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _SLOW, UserWarning)
        logits: Tensor = vmap(of_one)(weights, x)
    return logits


@torch.no_grad()
def whole(named: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return copies (K, ...) of the tensors of K networks by name, each part in the memory format of the first's."""
    found = dict[str, Tensor]()
    for name, one in named[0].items():
        shape, stride = (len(named), *one.shape), (one.numel(), *one.stride())
        stack = torch.empty_strided(shape, stride, dtype=one.dtype, device=one.device)
        for place, tensors in zip(stack, named, strict=True):
            place.copy_(tensors[name])
        found[name] = stack.requires_grad_(one.requires_grad)
    return found


def _joint(optimizers: Sequence[Optimizer]) -> Optimizer:
    """Return one optimizer over the parameters of all, group by group: its arithmetic is elementwise, that of each."""
    groups = zip(*(optimizer.param_groups for optimizer in optimizers), strict=True)
    kind: Any = type(optimizers[0])
    joint: Optimizer = kind(
        [{**alike[0], "params": [parameter for group in alike for parameter in group["params"]]} for alike in groups]
    )
    return joint
