"""Fold batch normalization into the layer before it: the same function at inference, without a norm.

At inference a norm over the batch works with its running statistics, which are constants: of each channel x it makes
scale * x + shift. After a layer x = W z + b that is a layer again:

    W' = gamma / sqrt(var + eps) * W                    a factor for each unit or channel of the output
    b' = beta + (b - mean) * gamma / sqrt(var + eps)

Source: Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.2, which folds into convolutions without a bias
"""

import copy
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from bnexp.config.block import Item
from bnexp.config.items import ITEMS, LayerOptions
from bnexp.config.layout import BlockLayout, Layout, Placed, PoolLayout
from bnexp.errors import BnexpError
from bnexp.files import with_advice
from bnexp.inspection.stored import EXAMPLES, open_stored, strange_values
from bnexp.measure.machine import synchronize
from bnexp.measure.restore import copy_of_weights
from bnexp.models.network import build_item
from bnexp.norms.trial import affine_of_features
from bnexp.norms.weights import NormalizedConv2d, NormalizedLinear, per_unit
from bnexp.runs.checkpoints import save_checkpoint
from bnexp.training.build import TrainingRun
from bnexp.training.device import computing_as

_PASSES = 15
"""Timed passes of each network."""
FOLDED_WEIGHTS = "folded.pt"


@dataclass(frozen=True)
class NormFold:
    """A norm at its place, with the layer that it folds into, or the reason why there is none."""

    norm: str
    item: Item
    layer: str | None
    reason: str = ""


def folds_of(layout: Layout) -> list[NormFold]:
    """Return each norm of a network, in its order, and into which layer it can be folded."""
    folds: list[NormFold] = []
    source = _Source(None, "takes the input of the network, and no layer is before it")
    for part in layout.parts:
        if isinstance(part, PoolLayout):
            source = _Source(None, f"comes after {part.place}, which a layer before it does not see")
            continue
        if part.residual:
            source = _Source(None, "takes what the shortcut takes, too, which a layer before it would change for both")
            folds += _along(part, part.shortcut, f"{part.place}.shortcut", source)[0]
        own, source = _along(part, part.items, part.place, source)
        folds += own
    return folds


@dataclass(frozen=True)
class _Source:
    """The layer that alone gives an item its input, or the reason why none does."""

    layer: str | None
    reason: str = ""


def _along(block: BlockLayout, items: Sequence[Placed], place: str, source: _Source) -> tuple[list[NormFold], _Source]:
    """Return the norms along the items of a path, and the source of what comes after it."""
    folds: list[NormFold] = []
    for placed in items:
        name, item = f"{place}.{placed.name}", placed.item
        match item.kind.role:
            case "layer":
                source = _Source(name)
            case "norm":
                fold = _fold_of(name, item, source)
                folds.append(fold)
                if fold.layer is None:
                    source = _Source(None, f"comes after {name}, which stays")
            case "activation" if item.name != "identity":
                source = _Source(None, f"comes after {item}, which is not linear")
            case "shortcut":
                source = _Source(None, "takes the sum of branch and shortcut, which no layer alone gives")
    return folds, source


def _fold_of(name: str, item: Item, source: _Source) -> NormFold:
    kind = ITEMS[item.name]
    if kind.nonlinear:
        return NormFold(name, item, None, "is not linear at inference either")
    if kind.over != "batch":
        return NormFold(name, item, None, "takes the statistics of each example, at inference too")
    return NormFold(name, item, source.layer, source.reason)


def fold_norms(network: nn.Module, layout: Layout) -> nn.Module:
    """Return a copy of a network, for inference, with every norm folded that can be.

    A folded norm becomes an identity; its layer gets a bias, and plain weights where they were normalized. The new
    weights are computed in float64. The network keeps its weights and its mode.
    """
    result = copy.deepcopy(network).eval()
    placed = dict(_layers_of(layout))
    for fold in folds_of(layout):
        if fold.layer is None:
            continue
        layer = cast("nn.Linear | nn.Conv2d", result.get_submodule(fold.layer))
        norm = result.get_submodule(fold.norm)
        if fold.item.kind.source is None:
            scale, shift = affine_at_inference(norm)
        else:  # its buffers have names of their own
            scale, shift = (one.to(layer.weight.device) for one in affine_of_features(norm, placed[fold.norm].shape_in))
        result.set_submodule(fold.layer, _plain(placed[fold.layer], fold.layer, layer, scale, shift))
        result.set_submodule(fold.norm, nn.Identity())
    return result.eval()


def _layers_of(layout: Layout) -> Iterator[tuple[str, Placed]]:
    for block in layout.blocks:
        for place, items in ((block.place, block.items), (f"{block.place}.shortcut", block.shortcut)):
            yield from ((f"{place}.{placed.name}", placed) for placed in items)


@torch.no_grad()
def affine_at_inference(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return scale and shift, (F,) in float64, of a norm over the batch that at inference gives scale * x + shift.

    `batch_renorm` keeps a running deviation in place of the variance, and `vn` no mean.
    """
    values = {name: tensor.double() for name, tensor in (*norm.named_parameters(), *norm.named_buffers())}
    if "running_std" in values:
        scale = 1 / values["running_std"]
    else:
        scale = torch.rsqrt(values["running_var"] + cast("float", norm.eps))
    scale = scale * values.get("weight", torch.ones_like(scale))
    shift = values.get("bias", torch.zeros_like(scale)) - values.get("running_mean", torch.zeros_like(scale)) * scale
    return scale, shift


@torch.no_grad()
def _plain(placed: Placed, name: str, layer: nn.Linear | nn.Conv2d, scale: Tensor, shift: Tensor) -> nn.Module:
    """Return the layer at a place whose outputs are scale * (those of the given one) + shift."""
    weight = layer.weight.double()
    if isinstance(layer, NormalizedLinear | NormalizedConv2d):
        weight = layer.rule.effective(weight, layer.gain.double())
    bias = shift if layer.bias is None else layer.bias.double() * scale + shift
    options = cast("LayerOptions", placed.item.options).model_copy(update={"weight_norm": False, "weight_std": False})
    with torch.random.fork_rng(devices=[]):  # what it draws is replaced
        plain = build_item(replace(placed, item=Item(placed.item.name, options), bias=True), name, seed=0)
    plain = plain.to(layer.weight)
    state = {"weight": per_unit(scale, weight) * weight, "bias": bias}
    plain.load_state_dict({key: value.to(layer.weight) for key, value in state.items()})
    return plain


@dataclass(frozen=True)
class FoldingResult:
    """What came of folding the norms of a run.

    Attributes:
        folds: the norms, and where each went.
        step: the steps that its weights took.
        examples: of the validation part, on which both networks were compared.
        difference: the largest between their logits.
        largest_logit: the largest magnitude of a logit.
        agreeing: examples for which both give the same class.
        ms: the median time of a pass of these examples, before and after.
        precision: that the run trained in; both networks are compared and timed in fp32.
        path: the file of the folded weights, by the names that the layers have.
    """

    folds: list[NormFold]
    step: int
    examples: int
    difference: float
    largest_logit: float
    agreeing: int
    ms: tuple[float, float]
    precision: str
    path: Path


def fold_run(folder: Path, *, weights: str, data_dir: Path, device: str) -> FoldingResult:
    """Fold the norms of a run's stored weights, final or best, and write them beside it in `folded.pt`.

    All is computed in fp32, whatever the run's precision; the folded weights are rounded to it from float64. The file
    is written as checkpoints are, with a checksum; `runs.checkpoints.load_checkpoint` reads it.

    Raises:
        ConfigError: what the config asks for cannot be.
        BnexpError: the run has no such weights, or they are not finite, or no norm of it can be folded, with reasons.
    """
    run, step = open_stored(folder, weights=weights, overrides=(), data_dir=data_dir, device=device)
    folds = folds_of(run.subject.layout)
    if all(fold.layer is None for fold in folds):
        reasons = dict.fromkeys(f"{fold.item} {fold.reason}" for fold in folds)
        raise BnexpError(f"{folder}: nothing can be folded: {'; '.join(reasons) or 'this network has no norm'}")
    if strange := strange_values(folder, run):
        raise BnexpError(f"{folder}: nothing is folded: {strange}")
    network, path = fold_norms(run.network, run.subject.layout), folder / FOLDED_WEIGHTS
    network.to(memory_format=run.memory_format)  # type: ignore[call-overload]  # both are timed in the same layout
    with computing_as(), torch.inference_mode():
        x = run.dataset.val_inputs(EXAMPLES)
        before, after = (one(x).double() for one in (run.network.eval(), network))
        ms = _times(run, network, x)
    try:
        save_checkpoint(path, {"step": step, "weights": copy_of_weights(network)})
    except OSError as error:
        raise BnexpError(f"{path}: the folded weights cannot be written: {with_advice(error)}") from None
    same = (before.argmax(dim=1) == after.argmax(dim=1)).sum()
    difference, largest = (before - after).abs().max(), before.abs().max()
    return FoldingResult(
        folds, step, len(x), difference.item(), largest.item(), int(same), ms, run.config.training.precision, path
    )


def _times(run: TrainingRun, network: nn.Module, x: Tensor) -> tuple[float, float]:
    """Return the median milliseconds of a pass through the network of a run, and through another, taken in turn."""
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(_PASSES):
        for one, times in zip((run.network, network), took, strict=True):
            synchronize(run.device)
            start = time.perf_counter()
            one(x)
            synchronize(run.device)
            times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(took[0]), statistics.median(took[1])
