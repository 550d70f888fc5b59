"""The lesson `bias`: lost before batch normalization, kept before layer normalization.

Ioffe & Szegedy 2015, section 3.2, leave it out for that reason, https://arxiv.org/abs/1502.03167
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bnexp.config.items import ITEMS, ItemName
from bnexp.document.table import number_table, with_exponents
from bnexp.document.values import Heading, Lesson, Part, Text, TryIt, text
from bnexp.document.writing import Value
from bnexp.lessons.image_norms import BATCH_NORM, GROUP_NORM, INSTANCE_NORM, LAYER_NORM, RMS_NORM, ImageNorm
from bnexp.lessons.request import Request
from bnexp.lessons.tables import matrix
from bnexp.lessons.tensors import against_torch, initial_parameters, largest_magnitude, names_in_words, standard_normal
from bnexp.norms import reference
from bnexp.norms.reference import batch_norm_inference, batch_norm_running, batch_norm_train, layer_norm

_EXAMPLES, _INPUTS, _FEATURES = 16, 3, 4
_NAMES = [f"feature {number}" for number in range(1, _FEATURES + 1)]
_LR, _DECAY, _STEPS = 0.1, 1e-3, 10_000
_NORMS: Sequence[tuple[ItemName, str, ImageNorm]] = (
    ("bn", "N, H, W", BATCH_NORM),
    ("in", "H, W", INSTANCE_NORM),
    ("gn", "2 channels, H, W", GROUP_NORM),
    ("ln", "C, H, W", LAYER_NORM),
    ("rms", "none", RMS_NORM),
)
"""By their names in a config: over what each takes a mean, and how."""


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

    def outputs(self, factor: float) -> Tensor:
        """Return X W + factor b."""
        return self.inputs @ self.weight + factor * self.bias


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
    images, grad_images = (standard_normal(generator, 4, 4, 3, 3) for _ in range(2))
    return Lesson(
        "bias",
        "subtracting each feature's mean takes the bias away; a mean over the features does not",
        [
            *_in_training(layer),
            *_at_inference(layer, request.momentum),
            *_gradients(layer, request.momentum),
            *_other_norms(images, layer.bias.view(-1, 1, 1), grad_images),
        ],
        TryIt(
            (
                "bnexp check configs/demo.yaml",
                "bnexp train configs/demo.yaml --set model.bias=false --name bn_without_bias",
                "bnexp train configs/demo.yaml --set model.bias=true --name bn_with_bias",
                "bnexp train configs/demo.yaml --set model.norm=ln --set model.bias=false --name ln_without_bias",
                "bnexp train configs/demo.yaml --set model.norm=ln --set model.bias=true --name ln_with_bias",
                "bnexp compare bn_without_bias bn_with_bias ln_without_bias ln_with_bias",
            ),
            "`check` shows `no bias` for each layer before bn. With `model.bias=true` training warns that the bias has "
            "no effect. The two runs with bn agree to the digits shown, in every epoch; those with ln do not. Whether "
            "a bias before ln makes a better network is another question: only several seeds could tell.",
        ),
    )


def _in_training(layer: Layer) -> list[Part]:
    rows: list[tuple[str, Sequence[Value]]] = []
    plain, norms = layer.outputs(0), (batch_norm_train, layer_norm)
    for scale in (1, 10, 1000, 100_000):
        x = layer.outputs(scale)
        changes = [norm(x, layer.gamma, layer.beta).y - norm(plain, layer.gamma, layer.beta).y for norm in norms]
        rows.append((f"{scale:,} b", list(map(largest_magnitude, (scale * layer.bias, *changes)))))
    title = "largest change of the output, against that with b = 0"
    change = number_table("output_change", title, ("largest entry", "batch norm", "layer norm"), rows, corner="bias")
    reasons = (
        ("batch norm", ["mean_b(X W)[f] + b[f]", "b[f] - b[f] = 0"]),
        ("layer norm", ["mean_f(X W) + mean_f(b)", "b[f] - mean_f(b)"]),
    )
    return [
        Heading("1. Forward: the mean takes the bias with it"),
        Text(
            f"A linear layer gives X W + b: B = {_EXAMPLES} examples, {_INPUTS} inputs, F = {_FEATURES} features, all "
            "drawn. A normalization follows, with gamma and beta drawn as well. How much does the bias change its "
            "output?"
        ),
        matrix("bias", "the bias b", layer.bias, _NAMES),
        with_exponents(change, 1, 2),
        number_table("why", "what each does with the bias of feature f", ("mean of X W + b", "left of b[f]"), reasons),
        Text(
            "Batch normalization takes the mean of each feature over the examples. The bias of a feature is the same "
            "for all of them, so the mean grows by exactly that bias, and subtracting it leaves nothing; the variance "
            "does not change. What is left in the table is rounding, which grows with the numbers that are subtracted. "
            "Layer normalization takes the mean over the features of one example, so it removes from each bias only "
            "the mean of all of them."
        ),
    ]


def _at_inference(layer: Layer, momentum: float) -> list[Part]:
    one, zero = initial_parameters(_FEATURES)
    inputs = layer.outputs(0), layer.outputs(1)
    statistics = [(zero, one), (zero, one)]
    rows: list[tuple[str, Sequence[Value]]] = []
    for step in range(1, 501):
        statistics = [
            batch_norm_running(*running, batch_norm_train(x, layer.gamma, layer.beta), len(x), momentum)
            for x, running in zip(inputs, statistics, strict=True)
        ]
        if step in (1, 10, 100, 500):
            without, with_bias = (
                batch_norm_inference(x, layer.gamma, layer.beta, *running)
                for x, running in zip(inputs, statistics, strict=True)
            )
            in_mean = (statistics[1][0] - statistics[0][0])[0].item()
            rows.append((str(step), [layer.bias[0].item(), in_mean, largest_magnitude(without - with_bias)]))
    columns = "b, feature 1", "in its running mean", "largest change of the output"
    formula = [f"in the running mean: (1 - (1 - {momentum:g})^k) b"]
    table = number_table("at_inference", "after k batches with this bias", columns, rows, formula, corner="k")
    return [
        Heading("2. At inference: the running mean takes it over"),
        with_exponents(table, 2, 2),
        Text(
            "The running mean averages the means of the batches, and with them the bias. Once its start is forgotten "
            "it holds all of the bias, which then cancels at inference too. After few batches it does not: the start, "
            "0, holds no bias."
        ),
    ]


def _gradients(layer: Layer, momentum: float) -> list[Part]:
    """Show the gradient of the bias, by the formulas and by torch."""
    one, zero = initial_parameters(_FEATURES)
    x = layer.outputs(1)
    batch, by_layer = batch_norm_train(x, layer.gamma, layer.beta), layer_norm(x, layer.gamma, layer.beta)
    torchs = nn.BatchNorm1d(_FEATURES, momentum=momentum, dtype=torch.float64)
    ours: list[Tensor] = []
    theirs: list[Tensor | None] = []
    rows: list[tuple[str, Sequence[Value]]] = []
    for name, forward, backward, module in (
        ("batch norm", batch, reference.batch_norm_train_backward, torchs),
        ("layer norm", by_layer, reference.layer_norm_backward, nn.LayerNorm(_FEATURES).double()),
    ):
        grad_x, grad_gamma, grad_beta = backward(layer.grad_y, forward, layer.gamma)
        grad_bias = grad_x.sum(dim=0)  # (F,)
        rows.append((name, [*grad_bias.tolist(), grad_bias.sum().item()]))
        module.load_state_dict({"weight": layer.gamma, "bias": layer.beta}, strict=False)
        weight, bias = (values.clone().requires_grad_() for values in (layer.weight, layer.bias))
        y = module(nn.functional.linear(layer.inputs, weight.T, bias))
        (y * layer.grad_y).sum().backward()
        ours += [forward.y, grad_bias, layer.inputs.T @ grad_x, grad_gamma, grad_beta]
        theirs += [y, bias.grad, weight.grad, *(parameter.grad for parameter in module.parameters())]
    ours += batch_norm_running(zero, one, batch, len(x), momentum)
    theirs += [torchs.running_mean, torchs.running_var]
    title = "gradient of b, the sum over the batch of the gradient of X W + b"
    table = number_table("grad_bias", title, (*_NAMES, "sum"), rows, ("d b = sum_b d(X W + b)",), corner="before")
    return [
        Heading("3. Backward: it never learns"),
        with_exponents(table, 0, _FEATURES),
        Text(
            "The gradient from above is drawn, one number for each output. Before batch normalization each entry of b "
            "gets 0, up to rounding: changing it changes no output. Before layer normalization each gets a gradient, "
            "and the entries sum to 0, whatever gamma is: adding the same number to all of them changes no output."
        ),
        text(
            "Before batch normalization weight decay would only shrink such a bias. With a learning rate of "
            "{decay_example[lr]:g} and a decay of {decay_example[weight_decay]:g}, "
            f"(1 - {_LR:g} x {_DECAY:g})^{_STEPS} = {{left_after_decay}} of it is left after {_STEPS:,} steps, and no "
            "output in training shows it. beta does its work instead: it is added after the mean is gone.",
            left_after_decay=(1 - _LR * _DECAY) ** _STEPS,
            decay_example={"lr": _LR, "weight_decay": _DECAY},
        ),
        against_torch("torch's linear layer before BatchNorm1d or LayerNorm", ours, theirs),
    ]


def _other_norms(x: Tensor, bias: Tensor, grad_y: Tensor) -> list[Part]:
    """Compare norms on images x (N, C, H, W) with a bias (C, 1, 1), given the gradient of their output."""
    equal = torch.full_like(bias, bias.mean().item())
    rows: list[tuple[str, Sequence[Value]]] = []
    for name, means, norm in _NORMS:
        plain = norm.x_hat(x)
        changes = [largest_magnitude(norm.x_hat(x + values) - plain) for values in (bias, equal)]
        grad_bias = norm.gradient_of_x_hat(x + bias, grad_y).sum(dim=(0, 2, 3))  # (C,)
        dropped = "drops it" if ITEMS[name].cancels_bias else "keeps it"
        rows.append((name, [means, *changes, largest_magnitude(grad_bias), dropped]))
    title = "images (4, 4, 3, 3) with a bias per channel, as after a convolution"
    columns = "mean over", "change by b", "by equal entries", "gradient of b", "bias: auto"
    formula = "change by b: largest change of the output, gamma 1 and beta 0", "gradient of b: its largest entry"
    droppers = names_in_words([name for name, kind in ITEMS.items() if kind.cancels_bias])
    return [
        Heading("4. Other normalizations: which of them subtract a mean per channel?"),
        with_exponents(number_table("others", title, columns, rows, formula, corner="norm"), 1, 3),
        Text(
            "A bias per channel is lost where each channel has a mean of its own: bn takes it over the batch, `in` "
            "over the positions of one image. Where channels share a mean, as in ln and gn, the bias stays, except for "
            "what these channels have in common: equal entries are lost there too. rms subtracts nothing, and even "
            "equal entries stay."
        ),
        Heading("5. What bnexp does"),
        Text(
            "`model.bias: auto`, the default, leaves a bias out exactly where the very next item takes it away: "
            f"{droppers}. Everywhere else it stays, also before batch_renorm, which subtracts a mean per feature but "
            "puts the running mean back into the output, and before vn, which subtracts none. `bnexp check` shows it "
            "for each layer. `model.bias: true` and `false` decide for all layers in the blocks."
        ),
    ]
