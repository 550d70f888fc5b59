"""The lesson `folding`: at inference, batch normalization is a part of the layer before it.

Jacob et al. 2018, section 3.2, https://arxiv.org/abs/1712.05877
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnexp.document.table import Table, number_table, with_exponents
from bnexp.document.values import Lesson, Text
from bnexp.document.writing import Value
from bnexp.lessons.prose import compose
from bnexp.lessons.request import Request
from bnexp.lessons.tables import matrix
from bnexp.lessons.tensors import against_torch, largest_magnitude, normal, standard_normal
from bnexp.norms import reference

INPUTS, FEATURES, EXAMPLES, SEEN = 3, 4, 5, 200
EPS = 1e-5
BATCHES, DRAWN = (4, 16, 64, 256), 200
NAMES = [f"feature {number}" for number in range(1, FEATURES + 1)]


@dataclass(frozen=True)
class Folding:
    """A linear layer and the batch normalization after it, as training left them."""

    weight: Tensor  # W, (I, F)
    bias: Tensor  # b, (F,)
    gamma: Tensor  # (F,)
    beta: Tensor  # (F,)
    mean: Tensor  # the running mean, (F,)
    var: Tensor  # the running variance, (F,)

    @property
    def factor(self) -> Tensor:
        """Return gamma / sqrt(var + eps), (F,)."""
        return self.gamma / torch.sqrt(self.var + EPS)

    @property
    def folded(self) -> tuple[Tensor, Tensor]:
        """Return W', (I, F), and b', (F,)."""
        return self.weight * self.factor, self.beta + (self.bias - self.mean) * self.factor

    def in_two_steps(self, x: Tensor) -> Tensor:
        """Return the outputs (B, F) for x (B, I): the layer, then the normalization at inference."""
        z = x @ self.weight + self.bias
        return reference.batch_norm_inference(z, self.gamma, self.beta, self.mean, self.var, EPS)

    def in_one(self, x: Tensor) -> Tensor:
        """Return the outputs (B, F) for x (B, I) of the folded layer."""
        weight, bias = self.folded
        return x @ weight + bias


def lesson(request: Request) -> Lesson:
    """Return the lesson on a linear layer whose weights and inputs are drawn."""
    generator = torch.Generator().manual_seed(request.seed)
    weight, bias = standard_normal(generator, INPUTS, FEATURES), standard_normal(generator, FEATURES)
    seen = normal(generator, 1, 2, SEEN, INPUTS) @ weight + bias
    gamma, beta = normal(generator, 1, 0.25, FEATURES), standard_normal(generator, FEATURES)
    layer = Folding(weight, bias, gamma, beta, seen.mean(dim=0), seen.var(dim=0))
    x = normal(generator, 1, 2, EXAMPLES, INPUTS)
    constants = torch.stack([layer.mean, layer.var, layer.gamma, layer.beta, layer.factor])
    labels = ("running mean", "running var", "gamma", "beta", "factor")
    new_weight, new_bias = layer.folded
    before, after = (torch.cat([one, two[None]]) for one, two in ((weight, bias), layer.folded))
    rows = (*(f"input {number}" for number in range(1, INPUTS + 1)), "bias")
    return compose(
        __name__,
        [
            matrix("constants", "what training leaves", constants, NAMES, labels, ["factor = gamma / sqrt(var + eps)"]),
            matrix("before", "the layer: W, a row for each input, and b", before, NAMES, rows),
            matrix("after", "folded: W' and b'", after, NAMES, rows),
            matrix("outputs", "outputs of the folded layer for new examples", layer.in_one(x), NAMES),
            _in_training(layer, generator),
            _beyond(layer, x),
        ],
        difference=largest_magnitude(layer.in_two_steps(x) - layer.in_one(x)),
        single=largest_magnitude(layer.in_two_steps(x) - (x.float() @ new_weight.float() + new_bias.float()).double()),
        dead_factor=EPS**-0.5,
        against_torch=_against_torch(layer, x),
    )


def _in_training(layer: Folding, generator: torch.Generator) -> Table:
    """Compare the folded layer with what training computes, over many batches of several sizes."""
    rows: list[tuple[str, Sequence[Value]]] = []
    for size in BATCHES:
        x = normal(generator, 1, 2, DRAWN, size, INPUTS)
        z = x @ layer.weight + layer.bias  # (DRAWN, B, F)
        var, mean = torch.var_mean(z, dim=1, correction=0, keepdim=True)
        factors = layer.gamma / torch.sqrt(var + EPS)
        change = (z - mean) * factors + layer.beta - layer.in_one(x)
        of_first = factors[:, 0, 0]
        rows.append((str(size), [of_first.min().item(), of_first.max().item(), change.square().mean().sqrt().item()]))
    title = (
        f"the factor of feature 1 in training, in {DRAWN} batches, and how far their outputs are from the folded layer"
    )
    columns = "smallest factor", "largest factor", "rms difference"
    return number_table("in_training", title, columns, rows, corner="batch size")


def _beyond(layer: Folding, x: Tensor) -> Table:
    """Compare, where relu comes first, and for layer normalization, with one factor for all examples."""
    z = x @ layer.weight + layer.bias
    after_relu = reference.batch_norm_inference(z.relu(), layer.gamma, layer.beta, layer.mean, layer.var, EPS)
    deviations = torch.sqrt(reference.layer_norm(z, layer.gamma, layer.beta, EPS).var + EPS).flatten()
    rows: list[tuple[str, Sequence[Value]]] = [
        ("linear -> bn -> relu", [largest_magnitude(layer.in_two_steps(x).relu() - layer.in_one(x).relu())]),
        ("linear -> relu -> bn", [largest_magnitude(after_relu - layer.in_one(x).relu())]),
        ("linear -> ln", [(layer.gamma[0] / deviations).max().item() - (layer.gamma[0] / deviations).min().item()]),
    ]
    formula = ("of ln: how far the factors gamma / sqrt(var + eps) of feature 1 lie apart among the examples",)
    title = "what is missed by a folded layer, and relu after it"
    return with_exponents(number_table("beyond", title, ("largest difference",), rows, formula, corner="block"), 0, 1)


def _against_torch(layer: Folding, x: Tensor) -> Text:
    linear = nn.utils.skip_init(nn.Linear, INPUTS, FEATURES, dtype=torch.float64)  # it draws nothing
    norm = nn.BatchNorm1d(FEATURES, eps=EPS).double().eval()
    linear.load_state_dict({"weight": layer.weight.T, "bias": layer.bias})
    statistics = {"running_mean": layer.mean, "running_var": layer.var}
    norm.load_state_dict({"weight": layer.gamma, "bias": layer.beta, **statistics}, strict=False)
    fused = nn.utils.fusion.fuse_linear_bn_eval(linear.eval(), norm)
    theirs = [fused(x), fused.weight.T, fused.bias, norm(functional.linear(x, layer.weight.T, layer.bias))]
    return against_torch(
        "torch's own folding, fuse_linear_bn_eval,",
        [layer.in_one(x), *layer.folded, layer.in_one(x)],
        theirs,
        "{module} and its two modules differ from the formulas by at most {difference_to_torch:.1e}, relative to the "
        "largest number of a result where that is above 1.",
    )
