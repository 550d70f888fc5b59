"""The lesson `bias`: lost before batch normalization, kept before layer normalization.

Ioffe & Szegedy 2015, section 3.2, leave it out for that reason, https://arxiv.org/abs/1502.03167
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bnexp.config.items import ITEMS, ItemName
from bnexp.document.table import Table, number_table, with_exponents
from bnexp.document.values import Lesson, Text
from bnexp.document.writing import Value
from bnexp.lessons.image_norms import BATCH_NORM, GROUP_NORM, INSTANCE_NORM, LAYER_NORM, RMS_NORM, ImageNorm
from bnexp.lessons.prose import compose
from bnexp.lessons.request import Request
from bnexp.lessons.tables import matrix
from bnexp.lessons.tensors import against_torch, initial_parameters, largest_magnitude, names_in_words, standard_normal
from bnexp.norms import reference

EXAMPLES, INPUTS, FEATURES = 16, 3, 4
NAMES = [f"feature {number}" for number in range(1, FEATURES + 1)]
LR, DECAY, STEPS = 0.1, 1e-3, 10_000
NORMS: Sequence[tuple[ItemName, str, ImageNorm]] = (
    ("bn", "N, H, W", BATCH_NORM),
    ("in", "H, W", INSTANCE_NORM),
    ("gn", "2 channels, H, W", GROUP_NORM),
    ("ln", "C, H, W", LAYER_NORM),
    ("rms", "none", RMS_NORM),
)
"""By their names in a config: over what each takes a mean, and how."""


@dataclass(frozen=True)
class Layer:
    """A linear layer before a normalization, all drawn, and a gradient from above."""

    inputs: Tensor  # X, (B, I)
    weight: Tensor  # W, (I, F)
    bias: Tensor  # b, (F,), its entries not all equal
    gamma: Tensor  # (F,)
    beta: Tensor  # (F,)
    grad_y: Tensor  # (B, F)

    def outputs(self, factor: float) -> Tensor:
        """Return X W + factor b."""
        return self.inputs @ self.weight + factor * self.bias

    def by_torch(self, norm: nn.Module) -> list[Tensor | None]:
        """Return y, and the gradients of b, W, gamma and beta, by torch's linear layer and a norm of its own."""
        norm.load_state_dict({"weight": self.gamma, "bias": self.beta}, strict=False)
        weight, bias = (values.clone().requires_grad_() for values in (self.weight, self.bias))
        y = norm(nn.functional.linear(self.inputs, weight.T, bias))
        (y * self.grad_y).sum().backward()
        return [y, bias.grad, weight.grad, *(parameter.grad for parameter in norm.parameters())]


def lesson(request: Request) -> Lesson:
    """Return the lesson on a linear layer whose weights and inputs are drawn."""
    generator = torch.Generator().manual_seed(request.seed)
    layer = Layer(
        standard_normal(generator, EXAMPLES, INPUTS),
        standard_normal(generator, INPUTS, FEATURES),
        standard_normal(generator, FEATURES),
        1 + standard_normal(generator, FEATURES) / 4,
        standard_normal(generator, FEATURES),
        standard_normal(generator, EXAMPLES, FEATURES),
    )
    images, grad_images = (standard_normal(generator, 4, 4, 3, 3) for _ in range(2))
    reasons = (
        ("batch norm", ["mean_b(X W)[f] + b[f]", "b[f] - b[f] = 0"]),
        ("layer norm", ["mean_f(X W) + mean_f(b)", "b[f] - mean_f(b)"]),
    )
    why = "mean of X W + b", "left of b[f]"
    grad_bias, close_to_torch = _gradients(layer, request.momentum)
    return compose(
        __name__,
        [
            matrix("bias", "the bias b", layer.bias, NAMES),
            _output_change(layer),
            number_table("why", "what each does with the bias of feature f", why, reasons),
            _at_inference(layer, request.momentum),
            grad_bias,
            _other_norms(images, layer.bias.view(-1, 1, 1), grad_images),
        ],
        decay_example={"lr": LR, "weight_decay": DECAY},
        left_after_decay=(1 - LR * DECAY) ** STEPS,
        against_torch=close_to_torch,
        droppers=names_in_words([name for name, kind in ITEMS.items() if kind.cancels_bias]),
    )


def _output_change(layer: Layer) -> Table:
    rows: list[tuple[str, Sequence[Value]]] = []
    plain, norms = layer.outputs(0), (reference.batch_norm_train, reference.layer_norm)
    for scale in (1, 10, 1000, 100_000):
        x = layer.outputs(scale)
        changes = [norm(x, layer.gamma, layer.beta).y - norm(plain, layer.gamma, layer.beta).y for norm in norms]
        rows.append((f"{scale:,} b", list(map(largest_magnitude, (scale * layer.bias, *changes)))))
    title = "largest change of the output, against that with b = 0"
    change = number_table("output_change", title, ("largest entry", "batch norm", "layer norm"), rows, corner="bias")
    return with_exponents(change, 1, 2)


def _at_inference(layer: Layer, momentum: float) -> Table:
    """Show how far the bias changes the output at inference, after more and more batches that have it."""
    rows: list[tuple[str, Sequence[Value]]] = []
    inputs = layer.outputs(0), layer.outputs(1)
    one, zero = initial_parameters(FEATURES)
    statistics = [(zero, one), (zero, one)]
    for step in range(1, 501):
        statistics = [
            reference.batch_norm_running(
                *running, reference.batch_norm_train(x, layer.gamma, layer.beta), len(x), momentum
            )
            for x, running in zip(inputs, statistics, strict=True)
        ]
        if step in (1, 10, 100, 500):
            without, with_bias = (
                reference.batch_norm_inference(x, layer.gamma, layer.beta, *running)
                for x, running in zip(inputs, statistics, strict=True)
            )
            in_mean = (statistics[1][0] - statistics[0][0])[0].item()
            rows.append((str(step), [layer.bias[0].item(), in_mean, largest_magnitude(without - with_bias)]))
    columns = "b, feature 1", "in its running mean", "largest change of the output"
    formula = [f"in the running mean: (1 - (1 - {momentum:g})^k) b"]
    changes = number_table("at_inference", "after k batches with this bias", columns, rows, formula, corner="k")
    return with_exponents(changes, 2, 2)


def _gradients(layer: Layer, momentum: float) -> tuple[Table, Text]:
    x = layer.outputs(1)
    batch, by_layer = (
        reference.batch_norm_train(x, layer.gamma, layer.beta),
        reference.layer_norm(x, layer.gamma, layer.beta),
    )
    torchs = nn.BatchNorm1d(FEATURES, momentum=momentum, dtype=torch.float64)
    ours: list[Tensor] = []
    theirs: list[Tensor | None] = []
    rows: list[tuple[str, Sequence[Value]]] = []
    for name, forward, backward, module in (
        ("batch norm", batch, reference.batch_norm_train_backward, torchs),
        ("layer norm", by_layer, reference.layer_norm_backward, nn.LayerNorm(FEATURES).double()),
    ):
        grad_x, grad_gamma, grad_beta = backward(layer.grad_y, forward, layer.gamma)
        grad_bias = grad_x.sum(dim=0)  # (F,)
        rows.append((name, [*grad_bias.tolist(), grad_bias.sum().item()]))
        ours += [forward.y, grad_bias, layer.inputs.T @ grad_x, grad_gamma, grad_beta]
        theirs += layer.by_torch(module)
    one, zero = initial_parameters(FEATURES)
    ours += reference.batch_norm_running(zero, one, batch, len(x), momentum)
    theirs += [torchs.running_mean, torchs.running_var]
    title, formula = "gradient of b, the sum over the batch of the gradient of X W + b", ("d b = sum_b d(X W + b)",)
    gradients = number_table("grad_bias", title, (*NAMES, "sum"), rows, formula, corner="before")
    compared = against_torch("torch's linear layer before BatchNorm1d or LayerNorm", ours, theirs)
    return with_exponents(gradients, 0, FEATURES), compared


def _other_norms(x: Tensor, bias: Tensor, grad_y: Tensor) -> Table:
    """Compare norms on images x (N, C, H, W) with a bias (C, 1, 1), given the gradient of their output."""
    equal = torch.full_like(bias, bias.mean().item())
    rows: list[tuple[str, Sequence[Value]]] = []
    for name, means, norm in NORMS:
        plain = norm.x_hat(x)
        changes = [largest_magnitude(norm.x_hat(x + values) - plain) for values in (bias, equal)]
        grad_bias = norm.gradient_of_x_hat(x + bias, grad_y).sum(dim=(0, 2, 3))  # (C,)
        dropped = "drops it" if ITEMS[name].cancels_bias else "keeps it"
        rows.append((name, [means, *changes, largest_magnitude(grad_bias), dropped]))
    title = "images (4, 4, 3, 3) with a bias per channel, as after a convolution"
    columns = "mean over", "change by b", "by equal entries", "gradient of b", "bias: auto"
    formula = "change by b: largest change of the output, gamma 1 and beta 0", "gradient of b: its largest entry"
    return with_exponents(number_table("others", title, columns, rows, formula, corner="norm"), 1, 3)
