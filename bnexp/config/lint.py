"""Warnings: what a config says that is allowed and known to mislead."""

import math
from collections.abc import Iterator
from itertools import pairwise

from bnexp.config.datasets import WRITTEN, DatasetInfo
from bnexp.config.items import BatchNormOptions
from bnexp.config.plan import Plan
from bnexp.config.schema import Config
from bnexp.errors import ConfigError

SMALL_BATCH = 8
"""Below this, batch statistics are noisy enough to cost accuracy (Wu & He 2018, figure 1)."""


def warnings_of(config: Config, plan: Plan) -> list[str]:
    """Return one sentence per known mistake that this config makes; an empty list when there is none."""
    return [
        *_of_momentum(config),
        *_of_order(config),
        *_of_batches(config, plan),
        *_of_training(config, plan),
        *_of_data(config),
    ]


def refuse_degenerate(config: Config, info: DatasetInfo) -> None:
    """Refuse normalizations over a single element: their output is beta, whatever the input.

    Raises:
        ConfigError: `ln` where only one feature comes in.
    """
    features = math.prod(info.shape)
    for number, width in enumerate(config.model.hidden, start=1):
        for item in config.model.items:
            if item.kind.role == "layer":
                features = width
            elif item.name == "ln" and features == 1:
                raise ConfigError(
                    f"model.hidden {list(config.model.hidden)}: the ln of block {number} would see 1 feature and give "
                    "beta, whatever the input; expected a width of at least 2"
                )


def _of_momentum(config: Config) -> Iterator[str]:
    for item in config.model.items:
        if isinstance(item.options, BatchNormOptions) and item.options.momentum > 0.5:
            momentum = item.options.momentum
            keras = f" Keras' {momentum:g} is {1 - momentum:.4g} here." if momentum < 1 else ""
            yield (
                f"bn(momentum={momentum:g}): the momentum is PyTorch's, the weight of the new batch; the running "
                f"statistics remember about {1 / momentum:.1f} batches.{keras}"
            )


def _of_order(config: Config) -> Iterator[str]:
    block = config.model.items
    items = block * min(len(config.model.hidden), 2)  # with several layers, a block's end meets the next one's start
    pairs = dict.fromkeys(pairwise(items))
    for first, second in pairs:
        if first.kind.role == "layer" and second.kind.cancels_bias and config.model.bias is True:
            effect = f"the bias of {first.name} before {second.name} has no effect, {second.name} subtracts it"
            yield f"model.bias true: {effect}."
        if first.kind.role == "norm" and second.kind.role == "norm":
            yield f"{first.name} -> {second.name}: two normalizations in a row; the second undoes most of the first."
    roles = [item.kind.role for item in items]
    for index, item in enumerate(items):
        if item.kind.batch_statistics and "dropout" in roles[:index]:
            of_next = "" if index < len(block) else " of the next layer"
            yield (
                f"dropout before the {item.name}{of_next}: the variance that {item.name} sees in training is not the "
                "one at inference (Li et al. 2019); dropout after the last normalization avoids it."
            )
            break
    if not any(item.kind.role == "activation" and item.name != "identity" for item in block):
        yield "the block has no nonlinearity: without one, all layers together are one linear map."


def _of_batches(config: Config, plan: Plan) -> Iterator[str]:
    norms = [item.name for item in config.model.items if item.kind.batch_statistics]
    if not norms:
        return
    if plan.batch_size < SMALL_BATCH:
        yield f"data.batch_size {plan.batch_size} with {norms[0]}: batch statistics of so few examples are noisy."
    if plan.last_batch < plan.batch_size and plan.last_batch < SMALL_BATCH:
        yield (
            f"the last batch of each epoch holds {plan.last_batch} examples; {norms[0]} takes noisy statistics from it "
            "(data.drop_last=true leaves it out)."
        )
    momenta = [item.options.momentum for item in config.model.items if isinstance(item.options, BatchNormOptions)]
    for momentum in momenta:
        if plan.total_steps < 1 / momentum:
            yield (
                f"{plan.total_steps} steps are fewer than the {1 / momentum:.0f} batches that "
                f"bn(momentum={momentum:g}) remembers: at evaluation the running statistics still hold "
                "their initial values."
            )


def _of_training(config: Config, plan: Plan) -> Iterator[str]:
    if config.optimizer.decay_norm_and_bias and config.optimizer.weight_decay > 0:
        yield (
            "optimizer.decay_norm_and_bias: gamma, beta and biases are decayed; "
            "set it the same in all arms you compare."
        )
    warmup = getattr(config.schedule, "warmup_epochs", 0.0) * plan.steps_per_epoch
    if warmup >= plan.total_steps:
        yield f"schedule.warmup_epochs covers all {plan.total_steps} steps: the learning rate never reaches its peak."
    milestones = [m for m in getattr(config.schedule, "milestones", ()) if m * plan.steps_per_epoch >= plan.total_steps]
    if milestones:
        yield f"schedule.milestones {milestones} lie at or after the end of the training and do nothing."
    if plan.val_examples < 100:
        yield f"{plan.val_examples} validation examples: one of them is {1 / plan.val_examples:.1%} of accuracy."


def _of_data(config: Config) -> Iterator[str]:
    if config.data.augment == "crop_flip" and config.data.dataset in WRITTEN:
        yield (
            f"data.augment crop_flip mirrors {config.data.dataset}: a mirrored sign is another sign or none; "
            "data.augment: shift moves them only."
        )
