"""The lesson `bias`: lost before batch normalization, kept before layer normalization.

Ioffe & Szegedy 2015, section 3.2, leave it out for that reason, https://arxiv.org/abs/1502.03167
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bnexp.document.lesson import Experiment, Heading, Lesson, Part, Table, Text
from bnexp.document.numerals import Cell, decimal
from bnexp.lessons.bias_per_channel import biases_in_bnexp, other_norms
from bnexp.lessons.request import Request
from bnexp.lessons.tables import matrix, with_exponents
from bnexp.lessons.tensors import against_torch, initial_parameters, largest_magnitude, standard_normal
from bnexp.norms.reference import (
    batch_norm_inference,
    batch_norm_running,
    batch_norm_train,
    batch_norm_train_backward,
    layer_norm,
    layer_norm_backward,
)

_EXAMPLES, _INPUTS, _FEATURES = 16, 3, 4


@dataclass(frozen=True)
class Layer:
    """A linear layer before a normalization, all drawn, and a gradient from above.

    Attributes:
        inputs: X, (B, I).
        weight: W, (I, F).
        bias: b, (F,), its entries not all equal.
        gamma: (F,).
        beta: (F,).
        grad_y: (B, F).
    """

    inputs: Tensor
    weight: Tensor
    bias: Tensor
    gamma: Tensor
    beta: Tensor
    grad_y: Tensor

    def outputs(self, bias: Tensor) -> Tensor:
        """Return X W + b for a bias (F,)."""
        return self.inputs @ self.weight + bias


def lesson(request: Request) -> Lesson:
    """Return the lesson on a linear layer whose weights and inputs are drawn."""
    generator = torch.Generator().manual_seed(request.seed)
    layer = Layer(
        standard_normal(generator, _EXAMPLES, _INPUTS),
        standard_normal(generator, _INPUTS, _FEATURES),
        standard_normal(generator, _FEATURES),
        1 + standard_normal(generator, _FEATURES) / 4,
        standard_normal(generator, _FEATURES),
        standard_normal(generator, _EXAMPLES, _FEATURES),
    )
    parts = [
        *_in_training(layer),
        *_at_inference(layer, request.momentum),
        *_gradients(layer),
        _against_torch(layer, request.momentum),
        *other_norms(standard_normal(generator, 4, 4, 3, 3), layer.bias, standard_normal(generator, 4, 4, 3, 3)),
        *biases_in_bnexp(),
    ]
    return Lesson(
        "bias",
        "subtracting each feature's mean takes the bias away; a mean over the features does not",
        parts,
        Experiment(
            (
                "bnexp check configs/demo.yaml",
                "bnexp train configs/demo.yaml --set model.bias=false --name bn_without_bias",
                "bnexp train configs/demo.yaml --set model.bias=true --name bn_with_bias",
                "bnexp train configs/demo.yaml --set model.norm=ln --set model.bias=false --name ln_without_bias",
                "bnexp train configs/demo.yaml --set model.norm=ln --set model.bias=true --name ln_with_bias",
                "bnexp compare bn_without_bias bn_with_bias ln_without_bias ln_with_bias",
            ),
            "`check` says `no bias` of each layer before bn. With `model.bias=true` training warns that it has no "
            "effect. The two runs with bn are alike to the digits shown, in every epoch. Those with ln are not. "
            "Whether a bias before ln makes a better network is another question: only several seeds could tell.",
        ),
    )


def _in_training(layer: Layer) -> list[Part]:
    zero = torch.zeros_like(layer.bias)
    rows: list[tuple[str, Sequence[Cell]]] = []
    for scale in (1, 10, 1000, 100_000):
        without, with_bias = layer.outputs(zero), layer.outputs(scale * layer.bias)
        changes = [
            largest_magnitude(norm(with_bias, layer.gamma, layer.beta).y - norm(without, layer.gamma, layer.beta).y)
            for norm in (batch_norm_train, layer_norm)
        ]
        rows.append((f"{scale:,} b", [largest_magnitude(scale * layer.bias), *changes]))
    return [
        Heading("1. Forward: the mean takes the bias with it"),
        Text(
            f"A linear layer gives X W + b: B = {_EXAMPLES} examples, {_INPUTS} inputs, F = {_FEATURES} features, all "
            "drawn. A normalization follows, with gamma and beta drawn as well. How much does the bias change its "
            "output?"
        ),
        matrix("bias", "the bias b", layer.bias, [f"feature {one + 1}" for one in range(_FEATURES)]),
        with_exponents(
            Table(
                "output_change",
                "largest change of the output, against that with b = 0",
                ("largest entry", "batch norm", "layer norm"),
                rows,
                corner="bias",
            ),
            1,
            2,
        ),
        Table(
            "why",
            "what each does with the bias of feature f",
            ("mean of X W + b", "left of b[f]"),
            (
                ("batch norm", ["mean_b(X W)[f] + b[f]", "b[f] - b[f] = 0"]),
                ("layer norm", ["mean_f(X W) + mean_f(b)", "b[f] - mean_f(b)"]),
            ),
        ),
        Text(
            "Batch normalization takes the mean of each feature over the examples. The bias of a feature is the same "
            "for all of them, so the mean grows by just that bias, and subtracting it leaves nothing; the variance "
            "never saw it. What is left in the table is rounding, which grows with the numbers that are subtracted. "
            "Layer normalization takes the mean over the features of one example, so that of each bias only the mean "
            "of all of them goes."
        ),
    ]


def _at_inference(layer: Layer, momentum: float) -> list[Part]:
    one, zero = initial_parameters(_FEATURES)
    without, with_bias = layer.outputs(zero), layer.outputs(layer.bias)
    statistics = [(zero, one), (zero, one)]
    rows: list[tuple[str, Sequence[Cell]]] = []
    for step in range(1, 501):
        statistics = [
            batch_norm_running(*running, batch_norm_train(x, layer.gamma, layer.beta), len(x), momentum)
            for x, running in zip((without, with_bias), statistics, strict=True)
        ]
        if step in (1, 10, 100, 500):
            outputs = [
                batch_norm_inference(x, layer.gamma, layer.beta, *running)
                for x, running in zip((without, with_bias), statistics, strict=True)
            ]
            moved = (statistics[1][0] - statistics[0][0])[0].item()
            rows.append((str(step), [layer.bias[0].item(), moved, largest_magnitude(outputs[0] - outputs[1])]))
    return [
        Heading("2. At inference: the running mean takes it over"),
        with_exponents(
            Table(
                "at_inference",
                "after k batches with this bias",
                ("b, feature 1", "in its running mean", "largest change of the output"),
                rows,
                (f"in the running mean: (1 - (1 - {momentum:g})^k) b",),
                corner="k",
            ),
            2,
            2,
        ),
        Text(
            "The running mean averages the means of the batches, and the bias with them. Once its start is forgotten "
            "it holds all of the bias, which then cancels at inference too. After few batches it does not: the start, "
            "0, does not know of the bias."
        ),
    ]


def _gradients(layer: Layer) -> list[Part]:
    x = layer.outputs(layer.bias)
    batch, by_layer = batch_norm_train(x, layer.gamma, layer.beta), layer_norm(x, layer.gamma, layer.beta)
    of_batch = batch_norm_train_backward(layer.grad_y, batch, layer.gamma)[0].sum(dim=0)  # (F,)
    of_layer = layer_norm_backward(layer.grad_y, by_layer, layer.gamma)[0].sum(dim=0)  # (F,)
    lr, decay, steps = 0.1, 1e-3, 10_000
    decayed = (1 - lr * decay) ** steps
    return [
        Heading("3. Backward: it never learns"),
        with_exponents(
            Table(
                "grad_bias",
                "gradient of b, the sum over the batch of the gradient of X W + b",
                (*(f"feature {one + 1}" for one in range(_FEATURES)), "sum"),
                [
                    (name, [*grad.tolist(), grad.sum().item()])
                    for name, grad in (("batch norm", of_batch), ("layer norm", of_layer))
                ],
                ("d b = sum_b d(X W + b)",),
                corner="before",
            ),
            0,
            4,
        ),
        Text(
            "The gradient from above is drawn, one number for each output. Before batch normalization each entry "
            "of b gets 0, but for rounding: a change of it changes no output. Before layer normalization each gets a "
            "gradient, and the entries sum to 0, whatever gamma is: adding the same number to all of them changes no "
            "output."
        ),
        Text(
            "Under weight decay, such a bias before batch normalization would do one thing: shrink. With a learning "
            f"rate of {lr:g} and a decay of {decay:g}, what is left of it after {steps:,} steps is (1 - {lr:g} x "
            f"{decay:g})^{steps} = {decimal(decayed)}, and no output in training shows it. Its place is taken by "
            "beta, which is added after the mean is gone.",
            {"left_after_decay": decayed, "decay_example": {"lr": lr, "weight_decay": decay}},
        ),
    ]


def _against_torch(layer: Layer, momentum: float) -> Text:
    x = layer.outputs(layer.bias)
    batch, by_layer = batch_norm_train(x, layer.gamma, layer.beta), layer_norm(x, layer.gamma, layer.beta)
    batch_norm = nn.BatchNorm1d(_FEATURES, momentum=momentum, dtype=torch.float64)
    start = torch.zeros_like(layer.bias), torch.ones_like(layer.bias)
    ours: list[Tensor] = []
    theirs: list[Tensor | None] = []
    for forward, (grad_x, grad_gamma, grad_beta), norm in (
        (batch, batch_norm_train_backward(layer.grad_y, batch, layer.gamma), batch_norm),
        (by_layer, layer_norm_backward(layer.grad_y, by_layer, layer.gamma), nn.LayerNorm(_FEATURES).double()),
    ):
        norm.load_state_dict({"weight": layer.gamma, "bias": layer.beta}, strict=False)
        weight, bias = (one.clone().requires_grad_() for one in (layer.weight, layer.bias))
        y = norm(nn.functional.linear(layer.inputs, weight.T, bias))
        (y * layer.grad_y).sum().backward()
        ours += [forward.y, grad_x.sum(dim=0), layer.inputs.T @ grad_x, grad_gamma, grad_beta]
        theirs += [y, bias.grad, weight.grad, *(parameter.grad for parameter in norm.parameters())]
    ours += batch_norm_running(*start, batch, len(x), momentum)
    theirs += [batch_norm.running_mean, batch_norm.running_var]
    return against_torch("torch's linear layer before BatchNorm1d or LayerNorm", ours, theirs)
