"""Train runs that differ in their seed as one vectorized network.

Each run keeps its own network, optimizer, batches and records. Here its parameters and buffers become views of tensors
(K, ...) that all K of them share: a step, a look or an evaluation of one run works on its own as ever.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional
from torch.optim import Optimizer

from bnexp.data.batches import Drawn
from bnexp.norms.random_stream import RandomStream
from bnexp.norms.shapes import widened
from bnexp.training.ahead import Stretch, Take
from bnexp.training.averaging import WeightAverage
from bnexp.training.build import TrainingRun
from bnexp.training.cuda_graph import CudaRecorder, GraphRecorder
from bnexp.training.graph import Graphed, Recordings
from bnexp.training.kept import KeptState, KeptTogether
from bnexp.training.optimizer import rate_of, set_learning_rate
from bnexp.training.unseen import Expected, OneByOne, Stepped, Taken, looks_at_weights, seen_of, told

_SLOW = "There is a performance drop because we have not yet implemented the batching rule"
"""What torch warns of where it passes the networks through an operation one by one: `lerp_`, of running statistics."""


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

    def __init__(
        self,
        runs: Sequence[TrainingRun],
        recorder: GraphRecorder | None = None,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._runs = runs
        parameters = [dict(run.network.named_parameters()) for run in runs]
        buffers = [dict(run.network.named_buffers()) for run in runs]
        self._parameters, self._buffers = whole(parameters), whole(buffers)
        together = {**self._parameters, **self._buffers}
        self._places = [
            [(tensor, together[name].detach()[number]) for name, tensor in (*own.items(), *kept.items())]
            for number, (own, kept) in enumerate(zip(parameters, buffers, strict=True))
        ]
        self._gradients = {
            name: torch.zeros_like(tensor) for name, tensor in self._parameters.items() if tensor.requires_grad
        }
        self._trained = [[own[name] for name in self._gradients] for own in parameters]
        self._statistics = [tensor for tensor in self._buffers.values() if tensor.is_floating_point()]
        self._kept = [KeptState(run) for run in runs]
        self._within, self.streams = list[int](), list[RandomStream]()
        self.optimizer = self._of_those_within(range(len(runs)))
        if reason := runs[0].graph.why_not:
            note(reason)
        if recorder is None and runs[0].graph.tried:
            recorder = CudaRecorder(runs[0].device)
        self._recordings = Recordings(self, runs[0].graph, recorder, note) if recorder else None
        self._recorder, self._note = recorder, note
        self._lookers: dict[int, Take] = {}  # how the steps of a run are taken that a probe looks at

    def __call__(self, stretches: Sequence[Stretch]) -> None:
        """Take all steps of the stretches of some of the runs, the same steps of each, and set what is seen of them.

        Nothing is brought to Python before the last. Steps that a probe looks at are taken by each run for itself.
        """
        numbers = [next(n for n, run in enumerate(self._runs) if run is stretch.run) for stretch in stretches]
        if numbers != self._within:
            self.optimizer = self._of_those_within(numbers)
        if stretches[0].is_look:
            for number, stretch in zip(numbers, stretches, strict=True):
                stretch.seen = self._looker_of(number)(stretch)
            return
        self._begin()
        taken = (self._recordings or self._take_as_they_are)(stretches[0].steps)
        figures = torch.stack([step.figures for step in taken])  # (steps, F, K)
        ends = self._ends()  # (K,) each
        self._end()
        graph = self._runs[0].graph
        for run in self._runs[1:]:
            run.graph.recorded, run.graph.reason = graph.recorded, graph.reason
        together = torch.cat([figures.flatten(0, 1), *(end.unsqueeze(0).float() for end in ends)])
        for stretch in stretches:
            stretch.meanwhile()
        of_each = together.T.tolist()
        count, width = len(stretches[0].steps) * figures.shape[1], figures.shape[1]
        for number, stretch in zip(numbers, stretches, strict=True):
            stretch.seen = seen_of(of_each[number][:count], width, of_each[number][count:])

    def _looker_of(self, number: int) -> Take:
        """Return how the steps of a run are taken that a probe looks at: recorded, in the memory of the others'."""
        if number not in self._lookers:
            run, note = self._runs[number], self._note if not self._lookers else lambda text: None
            # what a step needs was warmed up by the stack
            looker = Graphed(run, self._recorder, note, warm_up=1) if self._recorder else OneByOne(run)
            self._lookers[number] = looker
        return self._lookers[number]

    def _ends(self) -> list[Tensor]:
        """Return for each run what is finite while its running statistics are, and its weights where that is asked."""
        norms = [norm_of_each(list(self._parameters.values())).detach()] if looks_at_weights(self._runs[0]) else []
        flat = [tensor.reshape(len(tensor), -1) for tensor in self._statistics]  # (K, F) each
        return [*norms, *([(torch.cat(flat, dim=1) * 0).sum(dim=1)] if flat else [])]

    def kept(self) -> KeptTogether:
        """Return what keeps, and puts back, all that the steps change."""
        return KeptTogether([self._kept[number] for number in self._within])

    def forget(self) -> None:
        """Forget the gradients of a step that was not taken to its end."""
        torch._foreach_zero_(list(self._gradients.values()))

    def expect(self, step: int) -> Expected:
        """Return what a step is taken with, counted from 1: to be called once for each, in order.

        Of each batch these are the examples of the first run, then those of the second, and so on, (K B,).
        """
        first = self._runs[0]
        settings = [first.learning_rate(step), *(average.count() for average in self._averages)]
        batches = first.plan.batches_of(step)
        return Expected([Drawn.of_all([run.batches.draw(batch) for run in self._runs]) for batch in batches], settings)

    def set(self, settings: Sequence[float]) -> None:
        """Set by what the next step goes."""
        lr, *weights = settings
        set_learning_rate(self.optimizer, lr)
        for average, weight in zip(self._averages, weights, strict=True):
            average.weigh(weight)

    @property
    def settable(self) -> list[Tensor]:
        """The tensors () that hold the settings on CUDA."""
        held = [rate_of(self.optimizer), *(average.weight for average in self._averages)]
        return [value for value in held if isinstance(value, Tensor)]

    @property
    def _averages(self) -> list[WeightAverage]:
        averages = (self._runs[number].train_step.average for number in self._within)
        return [average for average in averages if average is not None]

    def _take_as_they_are(self, numbers: Iterable[int]) -> list[Taken]:
        taken = list[Taken]()
        for number in numbers:
            expected = self.expect(number)
            self.set(expected.settings)
            taken.append(told(self.take(expected)))
        return taken

    def take(self, expected: Expected) -> Stepped:
        """Take a step by the settings that are set, and return what it leaves, with K in front."""
        losses, logits, labels = zip(*(self._pass(batch, expected.examples) for batch in expected.drawn), strict=True)
        gradients, most = list(self._gradients.values()), self._runs[0].train_step.grad_clip
        if most is not None:
            clip_each(gradients, most)
        self.optimizer.step()
        for average in self._averages:
            average.take_in()
        self.forget()
        return Stepped(sum_of(losses), joined(logits), joined(labels))

    def _pass(self, batch: Drawn, examples: int) -> tuple[Tensor, Tensor, Tensor]:
        """Add the gradients of a batch of a step of so many examples.

        Return its part of the losses (K,), its logits (K, B, classes) and labels (K, B).
        """
        first, count = self._runs[0], len(self._runs)
        inputs, labels = first.batches.gather(*batch)
        x, y = inputs.view(count, -1, *inputs.shape[1:]), labels.view(count, -1)  # (K, B, C, H, W), (K, B)
        with first.precision:
            logits = pass_all(first.network, {**self._parameters, **self._buffers}, x)
        logits = widened(logits)  # (K, B, classes)
        smoothing = first.train_step.label_smoothing
        every = functional.cross_entropy(
            logits.flatten(0, 1), labels, reduction="none", label_smoothing=smoothing
        )  # (K B,)
        losses = every.view(y.shape).mean(dim=1)
        if len(labels) != examples:
            losses = losses * (len(labels) / examples)
        losses.sum().backward()
        return losses.detach(), logits.detach(), y

    @torch.no_grad()
    def _of_those_within(self, numbers: Sequence[int]) -> Optimizer:
        """Put some of the runs into their places, give the others tensors of their own, and return an optimizer."""
        for number, places in enumerate(self._places):
            for tensor, place in places:
                if number in numbers and number not in self._within:
                    tensor.data = place.copy_(tensor)
                elif number not in numbers and number in self._within:
                    tensor.data = place.clone()
        self._within = list(numbers)
        return _joint([self._runs[number].train_step.optimizer for number in numbers])

    def _begin(self) -> None:
        """Gather the gradients of those within, and give the optimizer the state of theirs, which all write into."""
        self.optimizer.state.clear()
        for name, gradient in self._gradients.items():
            self._parameters[name].grad = gradient.zero_()
        for number in self._within:
            self.optimizer.state.update(self._runs[number].train_step.optimizer.state)
            for parameter, gradient in zip(self._trained[number], self._gradients.values(), strict=True):
                parameter.grad = gradient[number]

    def _end(self) -> None:
        """Leave the runs as after a step of their own: each has its part of the optimizer's state, and no gradients."""
        for number in self._within:
            state = self._runs[number].train_step.optimizer.state
            for parameter in self._trained[number]:
                parameter.grad = None
                if parameter in self.optimizer.state:
                    state[parameter] = self.optimizer.state[parameter]


def sum_of(parts: Sequence[Tensor]) -> Tensor:
    """Return the sum of tensors of one shape; of one, itself."""
    return parts[0] if len(parts) == 1 else torch.stack(list(parts)).sum(dim=0)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Return batches (K, B, ...) of K networks as one; one alone is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)


def norm_of_each(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm over tensors (K, ...) for each of K networks, (K,)."""
    norms = torch.stack([one.reshape(len(one), -1).norm(dim=1) for one in tensors])  # (tensors, K)
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
