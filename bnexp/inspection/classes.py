"""The test set class by class: how many examples of each class the stored weights take for which."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bnexp.data.parts import Part
from bnexp.data.sources.class_names import class_names
from bnexp.errors import BnexpError
from bnexp.inspection.learned_from import on_other_data
from bnexp.inspection.stored import open_stored, strange_values
from bnexp.measure.evaluation import inference_mode_of
from bnexp.training.build import TrainingRun


@dataclass(frozen=True)
class Confusion:
    """The examples of a test set by their class and the class that a network takes them for.

    Attributes:
        step: how many steps the network had taken.
        names: of the classes, in the order of their labels; empty where they have numbers only.
        counts: by true class, then by predicted class.
        on_data: that the test set is of other data than the run learned from, where it is.
    """

    step: int
    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    on_data: str = ""

    @property
    def examples(self) -> int:
        """Number of all examples."""
        return sum(map(sum, self.counts))

    @property
    def accuracy(self) -> float:
        """Fraction of all examples that are recognized."""
        return sum(row[label] for label, row in enumerate(self.counts)) / self.examples

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall over the classes that have examples: each class counts the same, however many it has."""
        recalls = [recall for label in range(len(self.counts)) if (recall := self.recall(label)) is not None]
        return sum(recalls) / len(recalls)

    def recall(self, label: int) -> float | None:
        """Return the fraction of a class's examples that are recognized, its accuracy; None where it has none."""
        return _ratio(self.counts[label][label], sum(self.counts[label]))

    def precision(self, label: int) -> float | None:
        """Return how much of what is taken for a class is of that class; None where nothing is."""
        return _ratio(self.counts[label][label], sum(row[label] for row in self.counts))

    def mistakes(self) -> list[tuple[int, int, int]]:
        """Return each confusion as (true class, predicted class, examples), the most frequent first."""
        cells = [(true, taken, count) for true, row in enumerate(self.counts) for taken, count in enumerate(row)]
        wrong = [(true, taken, count) for true, taken, count in cells if count and true != taken]
        return sorted(wrong, key=lambda mistake: -mistake[2])


def measure_classes(
    folder: Path, *, weights: str = "final", overrides: Sequence[str] = (), data_dir: Path, device: str = "auto"
) -> Confusion:
    """Pass the test set through the stored weights of a run, in inference mode as the training did at its end.

    The arguments are those of `probe_run`.

    Raises:
        ConfigError: what the config asks for cannot be.
        BnexpError: the run has no such weights, or they put out values that are not finite.
    """
    run, step = open_stored(folder, weights=weights, overrides=overrides, data_dir=data_dir, device=device)
    if found := strange_values(folder, run):
        raise BnexpError(f"{folder}: {found}")
    outputs = _logits(run, run.dataset.test)  # (N, classes)
    if strange := int((~outputs.isfinite().all(dim=1)).sum()):
        raise BnexpError(
            f"{folder}: for {strange:,} of {len(outputs):,} test examples these weights put out values that are not "
            "finite, which say nothing about a class"
        )
    counts = confusion_counts(run.dataset.test.labels, outputs.argmax(dim=1), outputs.shape[1])
    names, rows = class_names(run.config.data, data_dir), tuple(map(tuple, counts.tolist()))
    return Confusion(step, names, rows, on_other_data(folder, run.config, run.dataset))


def confusion_counts(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Count examples by their label and what is predicted, both (N,); returns (classes, classes), labels down."""
    return torch.bincount((labels * classes + predicted).cpu(), minlength=classes**2).reshape(classes, classes)


@torch.inference_mode()
def _logits(run: TrainingRun, part: Part) -> Tensor:
    """Return the logits of a part of the dataset, (N, classes) as floats."""
    batches = part.images.split(run.config.data.eval_batch_size)
    with inference_mode_of(run.network), run.precision:
        return torch.cat([run.network(run.dataset.inputs(images)).float() for images in batches])


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
