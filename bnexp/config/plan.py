"""The plan of a training: the numbers of examples, batches, steps and evaluations that follow from a config."""

from dataclasses import dataclass
from functools import cached_property

from bnexp.config.data_section import DatasetInfo
from bnexp.config.refusals import refuse_empty_parts, refuse_lone_examples
from bnexp.config.schema import Config
from bnexp.config.section import is_due, times_until


@dataclass(frozen=True)
class Plan:
    """Counts that follow from a config and the size of its dataset.

    Attributes:
        train_examples: examples trained on, after the validation part and `data.limit` are taken.
        batch_size: examples in a batch, which batch statistics are taken of.
        last_batch: examples in the last batch of an epoch (equal to `batch_size` when the epoch divides evenly).
        steps_per_epoch: steps of the optimizer in one epoch, after `data.drop_last`.
        eval_every_epochs: epochs between two evaluations of the validation part.
        accumulate: batches of a step; the last step of an epoch may have fewer.
    """

    train_examples: int
    val_examples: int
    test_examples: int
    batch_size: int
    last_batch: int
    steps_per_epoch: int
    total_steps: int
    eval_every_epochs: float
    accumulate: int = 1

    @property
    def step_size(self) -> int:
        """Examples in a full step of the optimizer."""
        return self.examples_of(1)

    @cached_property
    def batches_per_epoch(self) -> int:
        """Batches in one epoch, after `data.drop_last`."""
        full, remainder = divmod(self.train_examples, self.batch_size)
        return full + (0 < remainder == self.last_batch)

    def batches_of(self, step: int) -> range:
        """Return the numbers of the batches of a step, counted from 0 over all epochs; the step is counted from 1."""
        epoch, number = divmod(step - 1, self.steps_per_epoch)
        first = epoch * self.batches_per_epoch + number * self.accumulate
        return range(first, min(first + self.accumulate, (epoch + 1) * self.batches_per_epoch))

    def examples_of(self, step: int) -> int:
        """Return the number of examples in the batches of a step, counted from 1."""
        short = self.batch_size - self.last_batch if step % self.steps_per_epoch == 0 else 0
        return len(self.batches_of(step)) * self.batch_size - short

    def evaluates_at(self, step: int) -> bool:
        """Tell whether the validation part is evaluated after this step, counted from 1; the last step always is."""
        return step == self.total_steps or self.regularly_at(step, self.eval_every_epochs)

    def regularly_at(self, step: int, every_epochs: float) -> bool:
        """Tell whether another `every_epochs` epochs end with this step, counted from 1."""
        return is_due(step, every_epochs, self.steps_per_epoch)

    def evaluations_until(self, step: int) -> int:
        """Return how many evaluations there are up to this step, itself included."""
        regular = times_until(step, self.eval_every_epochs, self.steps_per_epoch)
        return regular + (step == self.total_steps and not self.regularly_at(step, self.eval_every_epochs))

    def epoch_at(self, step: int) -> float:
        """Return the epochs done after `step` steps, as a fraction."""
        return step / self.steps_per_epoch


def make_plan(config: Config, info: DatasetInfo) -> Plan:
    """Work out the plan of a config and the sizes of its dataset, and refuse batches that do not fit them."""
    data, training = config.data, config.training
    taken = round(info.train_examples * data.val_fraction) if info.val_examples is None else 0
    refuse_empty_parts(data, info, taken)
    available = info.train_examples - taken
    train_examples = min(available, data.limit or available)
    full, remainder = divmod(train_examples, data.batch_size)
    has_short_batch = remainder > 0 and not data.drop_last
    last_batch = remainder if has_short_batch else data.batch_size
    refuse_lone_examples(config, train_examples, last_batch)
    steps_per_epoch = -(-(full + has_short_batch) // training.accumulate)
    return Plan(
        train_examples=train_examples,
        val_examples=taken if info.val_examples is None else info.val_examples,
        test_examples=info.test_examples,
        batch_size=data.batch_size,
        last_batch=last_batch,
        steps_per_epoch=steps_per_epoch,
        total_steps=training.total_steps(steps_per_epoch),
        eval_every_epochs=training.eval_every_epochs,
        accumulate=training.accumulate,
    )
