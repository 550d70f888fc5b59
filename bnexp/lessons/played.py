"""What a reader moves on the pages of two lessons: the controls, what they are computed on, and how it looks at first.

Values are drawn with three decimals, so that a page holds exactly what is computed on here.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from bnexp.document.figure import histogram
from bnexp.document.values import Control, Play
from bnexp.lessons.tensors import initial_parameters
from bnexp.norms import reference

OFFSET, MOST_EXAMPLES, MOST_BATCHES = 3.0, 64, 50
EDGES = tuple(number / 2 for number in range(-20, 21))
OUTPUT_EDGES = (-1.0, -0.99, *(number / 10 for number in range(-9, 10)), 0.99, 1.0)
WEIGHTS = (0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2, 3)

BATCH_NORM = (
    Control("batch_size", "batch size B", tuple(range(2, MOST_EXAMPLES + 1)), 32),
    Control("scale", "scale of x", tuple(number / 10 for number in range(51)), 2.0),
    Control("gamma", "gamma", tuple(number / 10 for number in range(-30, 31)), 1.0),
    Control("beta", "beta", tuple(number / 10 for number in range(-30, 31)), 0.0),
    Control("eps", "eps", tuple(float(f"1e{power}") for power in range(-8, 3)), 1e-5),
    Control("momentum", "momentum", tuple(number / 100 for number in range(101)), 0.1),
    Control("batches", "batches seen", tuple(range(1, MOST_BATCHES + 1)), 10),
)
SATURATION = (
    Control("std", "std of weights", WEIGHTS, 1),
    Control("norm", "normalization", ("none", "bn"), "none"),
    Control("activation", "activation", ("tanh", "sigmoid"), "tanh"),
)


def batch_norm_play(seed: int = 0) -> Play:
    """Return what is moved in `batchnorm`: one feature of mean OFFSET with a long tail, a batch after the other."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(2, MOST_BATCHES, MOST_EXAMPLES, dtype=torch.float64, generator=generator)
    draws = _rounded((-torch.log1p(-uniform).sum(dim=0) - 2) / 2**0.5)  # Gamma(2), brought to mean 0 and variance 1
    start = {control.name: control.start for control in BATCH_NORM}
    batches = OFFSET + float(start["scale"]) * draws[: int(start["batches"]), : int(start["batch_size"]), None]
    gamma, beta = running_var, running_mean = initial_parameters(1)
    for x in batches:
        y = reference.batch_norm_train(x, gamma, beta)
        running_mean, running_var = reference.batch_norm_running(running_mean, running_var, y, len(x))
    at_inference = reference.batch_norm_inference(batches[-1], gamma, beta, running_mean, running_var)
    series = {"x": batches[-1], "y in training": y.y, "y at inference": at_inference}
    title = f"batch {start['batches']}, before and after: share of the values in each bin"
    values = {"offset": OFFSET, "edges": EDGES, "draws": draws.tolist()}
    return Play("play", "batchnorm", histogram("played", title, EDGES, series), BATCH_NORM, values)


def saturation_play(
    x: Tensor, weights: Tensor, arriving: Tensor, saturated: float, edges: Sequence[float] = OUTPUT_EDGES
) -> Play:
    """Return what is moved in `saturation`: a stack of layers, forward and backward.

    Shapes: x and the arriving gradient (B, F), weights (layers, F, F) of standard deviation 1.
    """
    x, weights, arriving = map(_rounded, (x, weights, arriving))
    outputs = [x]
    for weight in weights:
        outputs.append(torch.tanh(outputs[-1] @ weight))
    series = {f"h of layer {layer}": outputs[layer] for layer in (1, len(weights))}
    still = histogram("played", "weights of std 1: share of the outputs h in each bin", edges, series)
    values = {"x": x.tolist(), "weights": weights.tolist(), "arriving": arriving.tolist()}
    return Play("play", "saturation", still, SATURATION, {**values, "saturated": saturated, "edges": edges})


def _rounded(values: Tensor) -> Tensor:
    """Return values with three decimals."""
    return (1000 * values).round() / 1000
