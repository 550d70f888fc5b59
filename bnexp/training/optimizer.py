"""The optimizer, loss scaling, and the learning rate: a function of the step alone, so that any step can be resumed."""

import inspect
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.profiler import record_function
from torch.optim import SGD, Adam, AdamW, Optimizer

from bnexp.config.plan import Plan
from bnexp.config.schema import (
    AdamConfig,
    CosineSchedule,
    OneCycleSchedule,
    OptimizerConfig,
    ScheduleConfig,
    SgdConfig,
    StepSchedule,
)

# Both are torch's own names, which it may change: without them a step is torch's, and takes longer.
_is_profiled: Callable[[], bool] = getattr(torch._C._autograd, "_profiler_enabled", lambda: True)
_SGD_KERNEL: Callable[..., None] | None = getattr(torch, "_fused_sgd_", None)
ONECYCLE_START = 1 / 25
ONECYCLE_END = 1 / 25e4


def learning_rate(schedule: ScheduleConfig, peak: float, step: int, plan: Plan) -> float:
    """Return the learning rate of `step`, counted from 0.

        constant    peak
        step        peak * gamma^(number of milestones passed)
        cosine      peak * (f + (1 - f) * (1 + cos(pi * t)) / 2),  t from 0 to 1 over what follows the warm-up
        onecycle    cosine from peak/25 up to peak, then down to peak/250,000, as torch's OneCycleLR

    During a warm-up of w steps the rate is (step + 1) / w of that: it reaches the whole with its last step.
    """
    if isinstance(schedule, OneCycleSchedule):
        return peak * _onecycle(schedule.rise_fraction, step, plan.total_steps)
    warmup_steps = round(schedule.warmup_epochs * plan.steps_per_epoch)
    warmup = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    if isinstance(schedule, StepSchedule):
        passed = sum(step >= round(milestone * plan.steps_per_epoch) for milestone in schedule.milestones)
        return peak * warmup * schedule.gamma**passed
    if isinstance(schedule, CosineSchedule):
        progress = max(0, step - warmup_steps) / max(1, plan.total_steps - warmup_steps)
        return peak * warmup * _cosine(1.0, schedule.final_fraction, progress)
    return peak * warmup


def _cosine(start: float, end: float, progress: float) -> float:
    """Return the point at `progress` (0 .. 1) of half a cosine from start to end."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def _onecycle(rise_fraction: float, step: int, total_steps: int) -> float:
    top = rise_fraction * total_steps - 1  # the step of the peak, a fraction as in torch's OneCycleLR
    if step <= top:
        return _cosine(ONECYCLE_START, 1.0, step / top if top > 0 else 1.0)
    return _cosine(1.0, ONECYCLE_END, (step - max(top, 0)) / max(total_steps - 1 - max(top, 0), 1))


def build_optimizer(config: OptimizerConfig, network: nn.Module) -> Optimizer:
    """Return the optimizer over all parameters of the network."""
    groups = parameter_groups(network, config.weight_decay, config.decay_norm_and_bias)
    device = next(network.parameters()).device
    # One kernel for all parameters, where there is one: the same arithmetic in less time.
    fused, on_cuda = device.type in ("cpu", "cuda"), device.type == "cuda"
    # A tensor where a CUDA graph may hold the step: it reads at each step what it is then.
    lr = torch.tensor(config.lr, device=device) if on_cuda else config.lr
    if isinstance(config, SgdConfig):
        sgd: type[SGD] = _unwrapped(SGD)
        return sgd(groups, lr=lr, momentum=config.momentum, nesterov=config.nesterov, fused=fused)
    adam: type[Adam] = _unwrapped(Adam if isinstance(config, AdamConfig) else AdamW)
    return adam(groups, lr=lr, betas=config.betas, eps=config.eps, fused=fused, capturable=on_cuda)


@cache
def _unwrapped(kind: type[Optimizer]) -> Any:
    """Return an optimizer of torch without what wraps its methods for those who compile them.

    bnexp compiles networks, never a method of an optimizer. The wrappers load torch._dynamo, and with it all of
    torch.compile: two seconds before the first step. Nor does it hook into a step: a profiler alone is told of it.
    """
    names = ("add_param_group", "state_dict", "load_state_dict", "step")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    plain, label = methods["step"], f"Optimizer.step#{kind.__name__}.step"

    def step(optimizer: Optimizer) -> None:
        with torch.no_grad(), record_function(label) if _is_profiled() else nullcontext():
            if not (kind is SGD and _stepped_on_cpu(optimizer)):
                plain(optimizer)

    step.hooked = True  # type: ignore[attr-defined]  # torch wraps it no further
    return type(kind.__name__, (kind,), {**methods, "step": step, "zero_grad": _clear_gradients})


def _stepped_on_cpu(optimizer: Optimizer) -> bool:
    """Take a step of SGD by the kernel that torch's step comes to, if it needs nothing else; tell whether it was taken.

    What torch asks before is a fifth of the step of a small network. It is needed to begin the momentum, where a
    parameter has no gradient, for loss scaling, and on a GPU.
    """
    # The rate is a tensor on a GPU; `found_inf` is what loss scaling has found.
    is_special = isinstance(optimizer.param_groups[0]["lr"], Tensor) or hasattr(optimizer, "found_inf")
    if _SGD_KERNEL is None or is_special:
        return False
    state, calls = optimizer.state, []
    for group in optimizer.param_groups:
        parameters, momentum = group["params"], group["momentum"]
        gradients = [parameter.grad for parameter in parameters]
        # `state[parameter]` would begin one, and a checkpoint would hold it, of a parameter that no loss depends on
        momenta = [state.get(parameter, {}).get("momentum_buffer") for parameter in parameters] if momentum else []
        if any(tensor is None or tensor.device.type != "cpu" for tensor in (*gradients, *momenta)):
            return False
        calls.append((group, parameters, gradients, momenta))
    for group, parameters, gradients, momenta in calls:
        _SGD_KERNEL(
            parameters,
            gradients,
            momenta,
            lr=group["lr"],
            momentum=group["momentum"],
            weight_decay=group["weight_decay"],
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=group["maximize"],
            is_first_step=False,
        )
    return True


def _clear_gradients(optimizer: Optimizer) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def parameter_groups(network: nn.Module, weight_decay: float, decay_norm_and_bias: bool) -> list[dict[str, Any]]:
    """Split the parameters into those that are decayed and those that are not.

    The weights of linear and convolutional layers are decayed. gamma, beta, biases and whatever else a norm or an
    activation learns are only if asked; the gamma of `ln` on feature maps has as many dimensions as a weight.
    """
    weights = {id(module.weight) for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in parameters if decay_norm_and_bias or id(parameter) in weights]
    others = [parameter for parameter in parameters if not (decay_norm_and_bias or id(parameter) in weights)]
    if weight_decay == 0:  # one group of the same order: each costs the optimizer a call of its own
        decayed, others = [*decayed, *others], []
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def begin_momentum(optimizer: Optimizer) -> None:
    """Let the momentum of SGD begin at 0, which makes the first step what it is without.

    For loss scaling: a first step that it skips leaves a momentum of whatever was in memory in torch's fused SGD.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"] if group.get("momentum") else ():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def optimizer_state_like(optimizer: Optimizer) -> dict[int, dict[str, Tensor]]:
    """Return an example of what an optimizer keeps of each parameter, by its number, once it has taken a step."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if isinstance(optimizer, SGD):
        return {number: {"momentum_buffer": parameter} for number, parameter in enumerate(parameters)}
    step = torch.zeros(())
    return {
        number: {"step": step, "exp_avg": parameter, "exp_avg_sq": parameter}
        for number, parameter in enumerate(parameters)
    }


def set_learning_rate(optimizer: Optimizer, lr: float) -> float:
    """Let every parameter group take its next step at this rate, and return it."""
    rate = optimizer.param_groups[0]["lr"]
    if isinstance(rate, Tensor):  # one for all groups
        rate.fill_(lr)
        return lr
    for group in optimizer.param_groups:
        group["lr"] = lr
    return lr


def rate_of(optimizer: Optimizer) -> float | Tensor:
    """Return the learning rate of the next step: on CUDA the tensor () that the optimizer reads."""
    rate: float | Tensor = optimizer.param_groups[0]["lr"]
    return rate


def optimizer_state(optimizer: Optimizer) -> dict[str, Any]:
    """Return the state of an optimizer for a checkpoint: with the learning rate as a number on every device."""
    state = optimizer.state_dict()
    groups = [{**group, "lr": float(group["lr"])} for group in state["param_groups"]]
    return {**state, "param_groups": groups}


def load_optimizer_state(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Resume from what an optimizer keeps of its parameters; what else a group holds is the config's.

    A fused optimizer on the CPU takes it for granted that both lie in memory alike. On another device the run may have
    had another memory format.
    """
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state["state"]})
    for parameter, kept in optimizer.state.items():
        for name, value in kept.items():
            if value is not None and value.shape == parameter.shape and value.stride() != parameter.stride():
                kept[name] = torch.empty_like(parameter).copy_(value)


MOST_SKIPS_IN_A_ROW = 50
"""The scale is halved at each skip: from its start at 65,536 this leads far below anything that could still help."""


class LossScaler:
    """torch's `GradScaler`, which skips a step whose gradients overflowed: for fp16 alone; the skips are counted."""

    def __init__(self, precision: str, device: torch.device) -> None:
        self._scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.scales = self._scaler.is_enabled()
        """Whether the loss is scaled."""
        self.skipped = self.skipped_in_a_row = 0

    def backward(self, loss: Tensor) -> None:
        """Run the backward pass from the scaled loss ()."""
        (self._scaler.scale(loss) if self.scales else loss).backward()

    def unscale(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the scale again: from here on they are what the loss really gave."""
        if self.scales:
            self._scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer, *, unseen: bool = False) -> bool:
        """Take a step, or skip it when a gradient is not finite and the loss is scaled; tell whether it was taken.

        `unseen`, nothing is brought to Python and the step is held to be taken: `tensors` tell whether the scale fell.
        """
        if not self.scales:
            optimizer.step()
            return True
        before = 1.0 if unseen else self._scaler.get_scale()
        self._scaler.step(optimizer)
        self._scaler.update()
        if unseen:
            return True
        skipped = self._scaler.get_scale() < before
        self.skipped += skipped
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if skipped else 0
        return not skipped

    @property
    def tensors(self) -> list[Tensor]:
        """The scale and the steps since it grew, () each, once a loss was scaled; nothing where none is."""
        scaler: Any = self._scaler
        return [each for each in (scaler._scale, scaler._growth_tracker) if each is not None] if self.scales else []

    def abandon(self) -> None:
        """Forget what a step that broke off was told of its gradients."""
        if self.scales:
            self._scaler._per_optimizer_states.clear()

    def skip(self) -> None:
        """Take no step with the present gradients."""
        if self.scales:
            self._scaler.update()

    def figures(self) -> dict[str, float]:
        """Return scale and skips so far, for the row; nothing where nothing is scaled."""
        if not self.scales:
            return {}
        return {"loss_scale/optimizer": self._scaler.get_scale(), "skipped_steps/optimizer": float(self.skipped)}

    def state_dict(self) -> dict[str, Any]:
        """Return the scale and the skips."""
        return {"scaler": self._scaler.state_dict(), "skipped": self.skipped, "in_a_row": self.skipped_in_a_row}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from the scale and the skips of an earlier session."""
        self._scaler.load_state_dict(state["scaler"])
        self.skipped, self.skipped_in_a_row = state["skipped"], state["in_a_row"]
