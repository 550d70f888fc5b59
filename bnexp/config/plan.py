"""The plan of a training: the numbers of examples, batches, steps and evaluations that follow from a config."""

from dataclasses import dataclass

from bnexp.config.data_section import DatasetInfo
from bnexp.config.refusals import refuse_empty_parts, refuse_lone_examples
from bnexp.config.schema import Config
from bnexp.config.section import is_due, times_until


@dataclass(frozen=True)
class Plan:
    """Counts that follow from a config and the size of its dataset.

    Attributes:
        train_examples: examples trained on, after the validation part and `data.limit` are taken.
        last_batch: examples in the last batch of an epoch (equal to `batch_size` when the epoch divides evenly).
        steps_per_epoch: training steps in one epoch, after `data.drop_last`.
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
    val_examples = round(info.train_examples * data.val_fraction)
    refuse_empty_parts(data, info, val_examples)
    available = info.train_examples - val_examples
    train_examples = min(available, data.limit or available)
    full, remainder = divmod(train_examples, data.batch_size)
    has_short_batch = remainder > 0 and not data.drop_last
    last_batch = remainder if has_short_batch else data.batch_size
    refuse_lone_examples(config, train_examples, last_batch)
    steps_per_epoch = full + has_short_batch
    return Plan(
        train_examples=train_examples,
        val_examples=val_examples,
        test_examples=info.test_examples,
        batch_size=data.batch_size,
        last_batch=last_batch,
        steps_per_epoch=steps_per_epoch,
        total_steps=training.steps or steps_per_epoch * (training.epochs or 0),
        eval_every_epochs=training.eval_every_epochs,
    )
