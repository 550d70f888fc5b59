"""Warnings about configs that are valid and known to mislead."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from bnexp.config.block import Item
from bnexp.config.data_section import WRITTEN, SyntheticData
from bnexp.config.items import ITEMS, BatchRenormOptions, FreezableBatchNormOptions
from bnexp.config.layout import Layout
from bnexp.config.model import CnnConfig, MlpConfig
from bnexp.config.norm_lint import warnings_of_norms
from bnexp.config.plan import Plan
from bnexp.config.schema import Config
from bnexp.config.wording import shown

SMALL_BATCH = 8
"""Below this a warning is due. Wu & He 2018, figure 1, lose about a point already from 32 to 8 images, on ImageNet."""


def warnings_of(config: Config, plan: Plan, layout: Layout) -> list[str]:
    """Return a sentence for each known mistake of a config."""
    return [
        *_of_momentum(config),
        *_of_frozen(config),
        *_of_zeros(config),
        *_of_order(config),
        *warnings_of_norms(layout, plan),
        *_of_nonlinearities(config),
        *_of_batches(config, plan),
        *_of_running_statistics(config, plan),
        *_of_training(config, plan),
        *_of_data(config),
    ]


def _of_momentum(config: Config) -> Iterator[str]:
    for item, momentum in _momenta(config):
        if momentum > 0.5:
            keras = f" Keras' {momentum:g} is {1 - momentum:.4g} here." if momentum < 1 else ""
            ghost = "ghost " if item.options.ghost_size else ""
            yield (
                f"{item.name}(momentum={momentum:g}): the momentum is PyTorch's, the weight of the new {ghost}batch; "
                f"the running statistics remember about {1 / momentum:.1f} {ghost}batches.{keras}"
            )


def _momenta(config: Config) -> list[tuple[Item, float]]:
    """Return the items with running statistics that move, and their momentum."""
    moving = (item for item in config.model.items if not item.options.freezes_statistics)
    return [(item, item.options.momentum) for item in moving if hasattr(item.options, "momentum")]


def _of_frozen(config: Config) -> Iterator[str]:
    """Say what is left of a norm that is frozen as it starts: no run starts from the statistics of another."""
    for item in dict.fromkeys(config.model.items):
        options = item.options
        if not isinstance(options, FreezableBatchNormOptions) or options.frozen == "none":
            continue
        found, x = f"{item.name}(frozen={options.frozen})", "x / sqrt(1 + eps)"
        if not options.freezes_statistics:
            yield f"{found}: gamma stays 1 and beta 0, the same function as {item.name}(affine=false)."
            continue
        learns = options.affine and not options.freezes_affine
        gives = f"gamma {x} + beta, which normalizes nothing" if learns else f"{x}, nearly the identity"
        yield f"{found}: the running mean stays at 0 and the variance at 1, where a run starts, and it gives {gives}."


def _of_zeros(config: Config) -> Iterator[str]:
    if config.init.scheme == "zeros":
        yield (
            "init.scheme zeros: the head passes no gradient back through weights of 0, and no hidden layer starts to "
            "learn; after relu or tanh, which give 0 for 0, only the bias of the head ever does."
        )


def _in_a_row(config: Config) -> tuple[Item, ...]:
    """Return the items of one block, or of two where there are more: a block's end meets the next one's start."""
    model = config.model
    blocks = max(map(len, model.widths)) if isinstance(model, CnnConfig) else model.block_count
    return model.items * min(blocks, 2)


def _of_order(config: Config) -> Iterator[str]:
    items = _in_a_row(config)
    for first, second in dict.fromkeys(pairwise(items)):
        if first.kind.role == "layer" and second.kind.cancels_bias and config.model.bias is True:
            effect = f"has no effect on training, {second.name} subtracts it"
            yield f"model.bias true: the bias of {first.name} before {second.name} {effect}."
    roles = [item.kind.role for item in items]
    for index, item in enumerate(items):
        if item.kind.batch_statistics and "dropout" in roles[:index]:
            of_next = "" if index < len(config.model.items) else " of the next layer"
            yield (
                f"dropout before the {item.name}{of_next}: the variance that {item.name} sees in training is not the "
                "one at inference (Li et al. 2019); dropout after the last normalization avoids it."
            )
            break


def _of_nonlinearities(config: Config) -> Iterator[str]:
    if not any(_bends(item) for item in config.model.items):
        yield _no_nonlinearity(config.model.items)
    items = _in_a_row(config)
    for first, second in dict.fromkeys(pairwise(items)):
        if first.kind.has_activation and second.kind.role == "activation" and _bends(second):
            yield f"{first.name} -> {second.name}: {first.name} contains its nonlinearity, and this is a second one."
    yield from _of_pairs(items)


def _no_nonlinearity(items: Sequence[Item]) -> str:
    """Describe a network without a nonlinearity; a norm with statistics of each example is a weak one."""
    norms = [item for item in items if item.kind.over != "none"]
    dividing = next((item for item in norms if item.kind.divided), None)
    if dividing:
        only = f"{dividing.name} divides {dividing.kind.divided}"
        return f"the block has no nonlinearity but that {only}: without an activation, all else is linear."
    where = f" at inference, where the statistics of {norms[0].name} are fixed" if norms else ""
    return f"the block has no nonlinearity: without one, all layers together are one linear map{where}."


def _of_pairs(items: Sequence[Item]) -> Iterator[str]:
    """Warn where a norm or the activation that belongs right after it stands without the other."""
    pairs = list(pairwise([None, *(item.name for item in items if item.name != "add"), None]))
    for norm, activation in ((name, kind.activation) for name, kind in ITEMS.items() if kind.activation):
        others = [second for first, second in pairs if first == norm and second != activation]
        if others:
            found = f"found {others[0] or 'nothing'}"
            yield f"{norm} subtracts no mean, for which the activation {activation} right after it makes up; {found}."
        if any(first != norm and second == activation for first, second in pairs):
            threshold = f"its learned threshold makes up for the mean that {norm} leaves in"
            yield f"{activation} without {norm} right before it: {threshold}."


def _bends(item: Item) -> bool:
    return item.kind.nonlinear or (item.kind.role == "activation" and item.name != "identity")


def _of_batches(config: Config, plan: Plan) -> Iterator[str]:
    norms = [item.name for item in config.model.items if item.kind.batch_statistics]
    if not norms:
        return
    if plan.accumulate > 1:
        moved = [item.name for item, _ in _momenta(config)]
        times = f", and the running statistics move {plan.accumulate} times a step" if moved else ""
        yield (
            f"training.accumulate {plan.accumulate} with {norms[0]}: a step of the optimizer is of {plan.step_size} "
            f"examples, the statistics still of {plan.batch_size}{times}."
        )
    if plan.batch_size < SMALL_BATCH:
        yield f"data.batch_size {plan.batch_size} with {norms[0]}: batch statistics of so few examples are noisy."
    if plan.last_batch < plan.batch_size and plan.last_batch < SMALL_BATCH:
        yield (
            f"the last batch of each epoch holds {plan.last_batch} examples; {norms[0]} takes noisy statistics from it "
            "(data.drop_last=true leaves it out)."
        )
    for item in dict.fromkeys(config.model.items):
        size = item.options.ghost_size
        if size and size < SMALL_BATCH <= plan.batch_size:
            yield f"{item.name}(size={size}): batch statistics of so few examples are noisy."
        if size == plan.batch_size:
            yield f"{item.name}(size={size}): the ghost batch is the whole batch, and it is bn."


def _of_running_statistics(config: Config, plan: Plan) -> Iterator[str]:
    for item, momentum in dict.fromkeys(_momenta(config)):
        updates_per_step = math.ceil(plan.batch_size / (item.options.ghost_size or plan.batch_size))
        initial = (1 - momentum) ** (plan.batches_of(plan.total_steps).stop * updates_per_step)
        if initial > 0.05:
            yield (
                f"{plan.total_steps} steps of {item.name}(momentum={momentum:g}): at the end the running statistics "
                f"still hold {initial:.0%} of their initial values, and evaluation uses them."
            )
        if isinstance(item.options, BatchRenormOptions) and plan.total_steps <= item.options.warmup_steps:
            written = f"batch_renorm(warmup_steps={item.options.warmup_steps})"
            yield f"{written}: all {plan.total_steps} steps are warm-up, in which it is bn."


def _of_training(config: Config, plan: Plan) -> Iterator[str]:
    if config.training.precision == "fp16":
        yield (
            "training.precision fp16: only a CUDA device trains in it, and a value beyond 65,504 is not finite in it; "
            "bf16 has the range of fp32."
        )
    if config.optimizer.decay_norm_and_bias and config.optimizer.weight_decay > 0:
        decayed = "gamma, beta and biases are decayed; set it the same in all arms you compare."
        yield f"optimizer.decay_norm_and_bias: {decayed}"
    warmup = getattr(config.schedule, "warmup_epochs", 0.0) * plan.steps_per_epoch
    if warmup >= plan.total_steps:
        yield f"schedule.warmup_epochs covers all {plan.total_steps} steps: the learning rate never reaches its peak."
    milestones = [m for m in getattr(config.schedule, "milestones", ()) if m * plan.steps_per_epoch >= plan.total_steps]
    if milestones:
        yield f"schedule.milestones {shown(milestones)} lie at or after the end of the training and do nothing."
    if plan.val_examples < 100:
        yield f"{plan.val_examples} validation examples: one of them is {1 / plan.val_examples:.1%} of accuracy."


def _of_data(config: Config) -> Iterator[str]:
    if isinstance(config.data, SyntheticData):
        made, classes = config.data.synthetic, config.data.synthetic.classes
        for examples, where in ((made.size, "to train and validate on"), (made.test_examples, "to test on")):
            if examples < classes:
                yield (
                    f"data.synthetic: {examples} examples {where} for {classes} classes, of which {classes - examples} "
                    f"have none there; fewer classes, or size {5 * classes}, give each one."
                )
    if config.data.augment == "crop_flip" and config.data.dataset in WRITTEN:
        yield (
            f"data.augment crop_flip mirrors {config.data.dataset}: most mirrored signs are another sign or none; "
            "data.augment: shift moves them only."
        )
    if config.data.preprocess == "pca_whiten" and not isinstance(config.model, MlpConfig):
        yield (
            "data.preprocess pca_whiten before convolutions: it turns pixels into principal components, among which "
            "none is the neighbour of another; zca_whiten whitens and keeps the image."
        )
