"""What `coupling` says of batches that are not mixed: the mean of a class is subtracted with the batch's."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bnexp.document.lesson import Heading, Histogram, Part, Table, Text, histogram
from bnexp.document.numerals import Cell, decimal
from bnexp.lessons.tensors import initial_parameters, standard_normal
from bnexp.norms.reference import batch_norm_inference, batch_norm_train

_BATCH_SIZE, _BATCHES = 32, 100
_CENTER, _STD = 2.0, 0.5


def batches_of_one_class(generator: torch.Generator) -> list[Part]:
    """Normalize two classes in mixed batches and in batches of one class each."""
    noise = _STD * standard_normal(generator, 2, _BATCHES, _BATCH_SIZE)
    x = noise + torch.tensor([-_CENTER, _CENTER], dtype=torch.float64).view(2, 1, 1)  # class, batch of it, example
    half = _BATCH_SIZE // 2
    mixed = torch.cat([torch.cat([x[0, :, :half], x[1, :, half:]], 1), torch.cat([x[0, :, half:], x[1, :, :half]], 1)])
    by_batch = {"mixed": normalized(mixed), "sorted": normalized(x.flatten(0, 1))}  # (2 batches, B) each
    halves = {  # the outputs of class A and of class B
        "mixed": (by_batch["mixed"][:, :half].flatten(), by_batch["mixed"][:, half:].flatten()),
        "sorted": (by_batch["sorted"][:_BATCHES].flatten(), by_batch["sorted"][_BATCHES:].flatten()),
    }
    rows: list[tuple[str, Sequence[Cell]]] = []
    for name, (low, high) in halves.items():
        right = ((low < 0).double().mean() + (high >= 0).double().mean()).item() / 2
        rows.append((name, [low.mean().item(), high.mean().item(), low.std().item(), right]))
    within, overall = x.var(dim=2).mean(), mixed.var(dim=1).mean()
    at_inference = [values.mean().item() for values in _inferred(x, x.mean(), within)]
    return [
        Heading("4. Batches that are not mixed"),
        Text(
            f"Two classes, A around {-_CENTER:g} and B around {_CENTER:g}, each with standard deviation {_STD:g}, in "
            f"batches of {_BATCH_SIZE}: mixed, half of each class; or sorted, of one class only.",
            {"std_of_a_class": _STD},
        ),
        Table(
            "sorted_batches",
            "output in training",
            ("mean of A", "mean of B", "std of A", "told apart by the sign"),
            rows,
            corner="batches",
        ),
        _picture(halves),
        Text(
            "In a sorted batch the mean that is subtracted is the class's own, and with it goes what told the classes "
            "apart: half of the signs are right, by chance. At inference something else happens. If batches of A and "
            f"B take turns, the running mean is that of both, and the running variance {decimal(within.item())}, that "
            f"within a class, where mixed batches give {decimal(overall.item())}. The class means are then put out as "
            f"{decimal(at_inference[0])} and {decimal(at_inference[1])}, which the layers above have never seen. So in "
            "training each batch should be drawn from the whole data.",
            {"variance_within": within.item(), "variance_mixed": overall.item(), "means_at_inference": at_inference},
        ),
    ]


def normalized(batches: Tensor) -> Tensor:
    """Return batches (K, B) of one feature, each normalized by itself."""
    return batch_norm_train(batches.T, *initial_parameters(len(batches))).y.T


def _inferred(x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    return batch_norm_inference(x, *initial_parameters(1), mean, var)


def _picture(halves: dict[str, tuple[Tensor, Tensor]]) -> Histogram:
    edges = [-2.5 + 0.5 * one for one in range(11)]
    series = {
        f"{name} {batches}": values for batches, both in halves.items() for name, values in zip("AB", both, strict=True)
    }
    return histogram("outputs_of_classes", "outputs of the classes in mixed and in sorted batches", edges, series)
