"""From a config to everything that its training needs."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bnexp.config.layout import layout_of
from bnexp.config.plan import Plan, make_plan
from bnexp.config.refusals import refuse_degenerate
from bnexp.config.schema import Config
from bnexp.data.batches import TrainBatches
from bnexp.data.load import Dataset, load_dataset
from bnexp.data.sources.facts import dataset_info
from bnexp.measure.subject import Subject
from bnexp.models.build import build_model, leaves, memory_format_of
from bnexp.probes.registry import Probes, build_probes
from bnexp.training.device import autocast, check_precision, choose_device, compiled
from bnexp.training.optimizer import LossScaler, build_optimizer


@dataclass(frozen=True)
class Experiment:
    """Everything that a training needs, on its device.

    Attributes:
        config: the resolved config.
        plan: its arithmetic.
        device: where everything lies.
        dataset: train, val and test parts.
        batches: the training batch of any step.
        network: the initialized network.
        memory_format: how its feature maps lie in memory.
        forward: what a training step calls: the network, or its compiled form.
        items: its modules that hold no others, by name and in order.
        optimizer: over all parameters.
        scaler: loss scaling for fp16, else it does nothing.
        precision: context of the forward pass.
        probes: what looks inside on the way.
        subject: what they look at.
    """

    config: Config
    plan: Plan
    device: torch.device
    dataset: Dataset
    batches: TrainBatches
    network: nn.Module
    memory_format: torch.memory_format
    forward: Callable[[Tensor], Tensor]
    items: Mapping[str, nn.Module]
    optimizer: Optimizer
    scaler: LossScaler
    precision: AbstractContextManager[Any]
    probes: Probes
    subject: Subject

    @property
    def compiled(self) -> bool:
        """Whether training steps go through torch.compile."""
        return self.forward is not self.network

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(parameter.numel() for parameter in self.network.parameters())


def build(config: Config, *, data_dir: Path, device: str = "auto") -> Experiment:
    """Build the experiment of a config. Nothing is written.

    Args:
        config: the resolved config.
        data_dir: where datasets lie.
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        ConfigError: what the config asks for cannot be.
        BnexpError: the dataset is corrupt.
    """
    info = dataset_info(config.data, data_dir)
    plan = make_plan(config, info)
    refuse_degenerate(config, info)
    chosen = choose_device(device)
    check_precision(config.training, chosen)
    dataset = load_dataset(config.data, info, plan, data_dir, chosen)
    network = build_model(config.model, config.init, info.shape, info.classes, config.seed)
    memory_format = memory_format_of(config.model, config.training, chosen)
    network = network.to(chosen).to(memory_format=memory_format)  # type: ignore[call-overload]
    items, precision = leaves(network), autocast(config.training, chosen)
    layout = layout_of(config.model, info.shape, info.classes)
    return Experiment(
        config=config,
        plan=plan,
        device=chosen,
        dataset=dataset,
        batches=TrainBatches(dataset, plan, config.seed, config.data.augment),
        network=network,
        memory_format=memory_format,
        forward=compiled(network) if config.training.compile else network,
        items=items,
        optimizer=build_optimizer(config.optimizer, network),
        scaler=LossScaler(config.training.precision, chosen),
        precision=precision,
        probes=build_probes(config.probes, plan),
        subject=Subject(config, plan, network, items, layout, dataset, precision),
    )
