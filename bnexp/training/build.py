"""Build everything that the training of a blueprint needs."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bnexp.blueprint import Blueprint
from bnexp.config.division import divided_norms
from bnexp.config.loading import dump_config
from bnexp.config.memory import keeps_inputs
from bnexp.config.plan import Plan
from bnexp.config.schema import Config
from bnexp.data.batches import TrainBatches
from bnexp.data.load import Dataset, load_dataset
from bnexp.measure.machine import forget_peak
from bnexp.measure.subject import Items, Subject
from bnexp.models.build import build_model, leaves, memory_format_of
from bnexp.probes.registry import Probes, build_probes
from bnexp.training.averaging import WeightAverage
from bnexp.training.compiling import compiled
from bnexp.training.device import Graphing, autocast, check_precision, choose_device, graphing
from bnexp.training.distributed import DividedStep
from bnexp.training.optimizer import LossScaler, begin_momentum, build_optimizer, learning_rate
from bnexp.training.step import TrainStep
from bnexp.training.world import World, process_0_first


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A run in memory: everything that its training needs, on its device. On disk it is a `runs.run.Run`."""

    config: Config
    plan: Plan
    device: torch.device
    dataset: Dataset
    batches: TrainBatches
    network: nn.Module
    memory_format: torch.memory_format  # of its feature maps
    items: Items
    train_step: TrainStep
    precision: AbstractContextManager[Any]  # around the forward pass
    probes: Probes
    subject: Subject  # what the probes measure
    world: World | None = None  # the processes that divide its batches, where there are several
    graph: Graphing = field(default_factory=Graphing)  # whether its step is recorded as a CUDA graph

    @cached_property
    def config_text(self) -> str:
        """The config as YAML, which every checkpoint holds."""
        return dump_config(self.config)

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(parameter.numel() for parameter in self.network.parameters() if parameter.requires_grad)

    @property
    def has_own_code(self) -> bool:
        """Whether an item of the network is code of one's own, which may do and keep what bnexp knows nothing of."""
        return any(item.kind.source is not None for item in self.config.model.items)

    def last_batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the last batch of a step, counted from 1: x (B, C, H, W), y (B,); those before it are accumulated."""
        *earlier, last = self.plan.batches_of(step)
        for number in earlier:
            self.train_step.accumulate(*self.batches.at(number), of=self.plan.examples_of(step))
        return self.batches.at(last)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 1."""
        return learning_rate(self.config.schedule, self.config.optimizer.lr, step - 1, self.plan)


def build(blueprint: Blueprint, *, data_dir: Path, device: str = "auto", world: World | None = None) -> TrainingRun:
    """Load the dataset of a blueprint and build its network. Nothing is written.

    The device is auto, cpu, cuda, cuda:N or mps. With a world, each of its processes builds the same; the first has the
    probes.

    Raises:
        ConfigError: the device is not there, or cannot compute in the config's precision; or the batches cannot be
            divided.
        BnexpError: the dataset is missing or corrupt.
    """
    config, info, plan = blueprint.config, blueprint.info, blueprint.plan
    chosen = choose_device(device)
    check_precision(config.training, chosen)
    graph = graphing(config, chosen) if world is None else Graphing()
    with process_0_first(world):
        dataset = load_dataset(config.data, info, plan, data_dir, chosen)
    network = build_model(blueprint.layout, config.init, config.seed)
    memory_format = memory_format_of(config.model, config.training, chosen)
    network = network.to(chosen).to(memory_format=memory_format)  # type: ignore[call-overload]
    forget_peak(chosen)
    prepared = keeps_inputs(config, plan, math.prod(info.shape))
    items, precision = leaves(network), autocast(config.training, chosen)
    norms = [items[name] for name in divided_norms(blueprint.layout)]
    return TrainingRun(
        config=config,
        plan=plan,
        device=chosen,
        dataset=dataset,
        batches=TrainBatches(dataset, plan, config.seed, config.data.augment, prepared=prepared),
        network=network,
        memory_format=memory_format,
        items=items,
        train_step=_step_of(network, config, chosen, precision, world, norms),
        precision=precision,
        probes=build_probes(
            config.probes,
            plan,
            rehearsed=config.training.compile or world is not None,
            elsewhere=world is not None and world.rank > 0,
        ),
        subject=Subject(
            config, plan, network, items, blueprint.layout, dataset, precision, config.training.label_smoothing
        ),
        world=world,
        graph=graph,
    )


def _step_of(
    network: nn.Module,
    config: Config,
    device: torch.device,
    precision: AbstractContextManager[Any],
    world: World | None,
    norms: Sequence[nn.Module],
) -> TrainStep:
    """Return the step that a network takes; in a world, its part of it."""
    step = partial(DividedStep, world=world, norms=norms) if world else TrainStep
    training, optimizer = config.training, build_optimizer(config.optimizer, network)
    scaler = LossScaler(training.precision, device)
    if scaler.scales:
        begin_momentum(optimizer)
    return step(
        network=network,
        forward=compiled(network, deterministic=training.deterministic) if training.compile else network,
        optimizer=optimizer,
        scaler=scaler,
        precision=precision,
        grad_clip=training.grad_clip,
        average=WeightAverage(network, training.ema) if training.ema else None,
        label_smoothing=training.label_smoothing,
    )
