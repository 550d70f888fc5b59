"""The arithmetic of a training: how many examples, batches, steps and evaluations a config means."""

import math
from dataclasses import dataclass

from bnexp.config.datasets import DatasetInfo
from bnexp.config.items import GhostBatchNormOptions
from bnexp.config.schema import Config
from bnexp.errors import ConfigError

_ROUNDING = 1e-9
"""Lets 0.7 epochs of 10 steps, which is 7.000000000000001 in floating point, end after step 7."""


@dataclass(frozen=True)
class Plan:
    """Counts that follow from a config and the size of its dataset.

    Attributes:
        train_examples: examples trained on, after the validation part and `data.limit` are taken.
        val_examples: examples in the validation part.
        test_examples: examples in the test set.
        batch_size: examples in a full batch.
        last_batch: examples in the last batch of an epoch (equal to `batch_size` when the epoch divides evenly).
        steps_per_epoch: training steps in one epoch, after `data.drop_last`.
        total_steps: training steps in the whole run.
        eval_every_epochs: epochs between two evaluations of the validation part.
    """

    train_examples: int
    val_examples: int
    test_examples: int
    batch_size: int
    last_batch: int
    steps_per_epoch: int
    total_steps: int
    eval_every_epochs: float

    def evaluates_at(self, step: int) -> bool:
        """Tell whether the validation part is evaluated after this step, counted from 1; the last step always is."""
        return step == self.total_steps or self.regularly_at(step, self.eval_every_epochs)

    def regularly_at(self, step: int, every_epochs: float) -> bool:
        """Tell whether what is done every so many epochs is done after this step, counted from 1."""
        return self._regular_until(step, every_epochs) > self._regular_until(step - 1, every_epochs)

    def evaluations_until(self, step: int) -> int:
        """Return how many evaluations there are up to this step, itself included."""
        regular = self._regular_until(step, self.eval_every_epochs)
        return regular + (step == self.total_steps and not self.regularly_at(step, self.eval_every_epochs))

    def _regular_until(self, step: int, every_epochs: float) -> int:
        """Count what is done on a schedule until a step; with less than a step between two, it is done at each."""
        every = max(every_epochs * self.steps_per_epoch, 1.0)
        return math.floor(step / every + _ROUNDING)

    def epoch_at(self, step: int) -> float:
        """Return the epochs done after `step` steps, as a fraction."""
        return step / self.steps_per_epoch


def make_plan(config: Config, info: DatasetInfo) -> Plan:
    """Work out the plan of a config and the sizes of its dataset.

    Raises:
        ConfigError: the batch is larger than the training set, a batch or ghost batch of one example meets batch
            statistics, or a ghost batch is larger than the batch.
    """
    data, training = config.data, config.training
    val_examples = round(info.train_examples * data.val_fraction)
    available = info.train_examples - val_examples
    if val_examples < 1 or available < 1:
        raise ConfigError(
            f"data.val_fraction {data.val_fraction} of {info.train_examples} examples leaves {available} to train "
            f"on and {val_examples} to validate on; each part needs at least one"
        )
    train_examples = min(available, data.limit or available)
    if data.batch_size > train_examples:
        raise ConfigError(
            f"data.batch_size {data.batch_size} is larger than the training set of {train_examples} examples "
            f"({info.train_examples} less {val_examples} for validation{_limit_note(data.limit)}); "
            f"expected at most {train_examples}"
        )
    remainder = train_examples % data.batch_size
    steps_per_epoch = train_examples // data.batch_size + (1 if remainder and not data.drop_last else 0)
    plan = Plan(
        train_examples=train_examples,
        val_examples=val_examples,
        test_examples=info.test_examples,
        batch_size=data.batch_size,
        last_batch=remainder if remainder and not data.drop_last else data.batch_size,
        steps_per_epoch=steps_per_epoch,
        total_steps=training.steps or steps_per_epoch * (training.epochs or 0),
        eval_every_epochs=training.eval_every_epochs,
    )
    _refuse_batch_of_one(config, plan)
    for item in config.model.items:
        if isinstance(item.options, GhostBatchNormOptions):
            _refuse_ghost_of_one(config, plan, item.options.size)
    return plan


def _limit_note(limit: int | None) -> str:
    return f", data.limit {limit}" if limit else ""


def _refuse_batch_of_one(config: Config, plan: Plan) -> None:
    norms = [item.name for item in config.model.items if item.kind.batch_statistics]
    if not norms or plan.last_batch > 1:
        return
    reason = _of_one_example(config)
    if config.data.batch_size == 1:
        raise ConfigError(f"data.batch_size 1 with {norms[0]}: {reason}; expected at least 2")
    raise ConfigError(
        f"the last batch of each epoch would hold 1 example ({plan.train_examples} = {plan.steps_per_epoch - 1} x "
        f"{plan.batch_size} + 1), with {norms[0]}: {reason}; set data.drop_last=true or another data.batch_size"
    )


def _of_one_example(config: Config) -> str:
    """Say what batch statistics of one example are: of a vector nothing, of an image those of its own positions."""
    if config.model.arch == "mlp":
        return "one vector has no batch statistics, its mean is itself and its variance 0"
    return "the statistics of one image are those of its own positions, which is instance normalization, and noisy"


def _refuse_ghost_of_one(config: Config, plan: Plan, size: int) -> None:
    """Each batch is cut into ghost batches of `size` examples; what is left over is one of its own."""
    if size > plan.batch_size:
        raise ConfigError(
            f"data.batch_size {plan.batch_size} with ghost_bn(size={size}): a ghost batch is a part of the batch; "
            f"expected a size of at most {plan.batch_size}, or bn"
        )
    for batch, words in ((plan.batch_size, "data.batch_size"), (plan.last_batch, "the last batch of each epoch:")):
        if batch % size == 1:
            raise ConfigError(
                f"{words} {batch} with ghost_bn(size={size}): {batch} = {batch // size} x {size} + 1, and the ghost "
                f"batch that is left over holds 1 example: {_of_one_example(config)}; set another size or "
                "data.batch_size" + (", or data.drop_last=true" if batch != plan.batch_size else "")
            )
