"""The items of the block notation: their names, their options, and the facts about them that need no torch.

A new norm is one entry in ITEMS here, and one file with one registry line in `bnexp/norms/`. Everything else follows
from the facts of its `ItemKind`: the bias rule, refusals and warnings, ghost batches, the format of memory, probes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from bnexp.config.plugin_code import Source
from bnexp.config.section import Section, Switch, read_switch

Role = Literal["layer", "norm", "activation", "dropout", "shortcut"]
Over = Literal["batch", "example", "position", "group", "channel", "none"]
ItemName = str
"""A key of ITEMS."""

Momentum = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _read_affine(value: object) -> object:
    value = read_switch(value)
    if value != "channel" and not isinstance(value, bool):
        raise ValueError("true, false or channel")
    return value


Affine = Annotated[bool | Literal["channel"], BeforeValidator(_read_affine)]


class Options(Section):
    """Options in the parentheses of an item, such as `bn(momentum=0.01)`; most items have none."""

    @property
    def ghost_size(self) -> int | None:
        """Examples in a part of the batch with statistics of its own; None where they are those of the whole batch."""
        return None

    @property
    def freezes_statistics(self) -> bool:
        """Whether the running statistics normalize in training too, and stay where they are."""
        return False

    @property
    def freezes_affine(self) -> bool:
        """Whether gamma and beta stay where they are."""
        return False


class LayerOptions(Options):
    """Options of the layers with weights."""

    weight_norm: Switch = False
    """learn direction and length of each unit's weights apart"""
    weight_std: Switch = False
    """standardize each unit's weights, as NF-ResNets do; their gain starts where it makes up for the activation before
    the layer (1.71 after relu of a normal input), times `init.gain`"""

    @field_validator("weight_std")
    @classmethod
    def _one_of_both(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("weight_norm"):
            raise ValueError("false beside weight_norm=true, since each sets the scale of the weights")
        return value


class ConvOptions(LayerOptions):
    """Options of `conv`."""

    kernel: int = Field(3, ge=1, le=31)
    """side of the square kernel, odd; padding keeps the image's size"""
    stride: int = Field(1, ge=1, le=16)
    """steps of the kernel; in a cnn or resnet the stages add their own"""

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(f"expected an odd kernel, which padding can center, found {kernel}")
        return kernel


class BatchNormOptions(Options):
    """Options of the kin of `bn`. The momentum is PyTorch's: the weight of the new batch (0.1 is 0.9 in Keras)."""

    momentum: Momentum = 0.1
    """weight of the new batch in the running statistics"""
    eps: Positive = 1e-5
    """added to the variance"""
    affine: Switch = True
    """learn gamma and beta"""


class FreezableBatchNormOptions(BatchNormOptions):
    """Options of `bn`. Frozen statistics would make `ghost_bn`, `sync_bn` and `batch_renorm` the same as `bn`."""

    frozen: Literal["none", "statistics", "affine", "both"] = "none"
    """what stays as it starts: statistics, the running ones (0 and 1), which then normalize in training too; affine,
    gamma and beta (1 and 0); or both"""

    @field_validator("frozen")
    @classmethod
    def _something_to_freeze(cls, frozen: str, info: ValidationInfo) -> str:
        if frozen in ("affine", "both") and info.data.get("affine") is False:
            raise ValueError("none or statistics beside affine=false, which has no gamma and beta")
        return frozen

    @property
    def freezes_statistics(self) -> bool:
        """Whether the running statistics normalize in training too, and stay where they are."""
        return self.frozen in ("statistics", "both")

    @property
    def freezes_affine(self) -> bool:
        """Whether gamma and beta stay where they are."""
        return self.frozen in ("affine", "both")


class GhostBatchNormOptions(BatchNormOptions):
    """Options of `ghost_bn`."""

    size: int = Field(32, ge=2)
    """examples in a ghost batch; at most the batch"""

    @property
    def ghost_size(self) -> int:
        """Examples in a ghost batch."""
        return self.size


class BatchRenormOptions(BatchNormOptions):
    """Options of `batch_renorm`."""

    rmax: float = Field(3.0, ge=1, allow_inf_nan=False)
    """largest correction of the scale, and 1/smallest"""
    dmax: float = Field(5.0, ge=0, allow_inf_nan=False)
    """largest correction of the shift, in deviations"""
    warmup_steps: int = Field(500, ge=0, le=1_000_000_000)
    """steps as bn; then the bounds rise, to dmax at 5 times and to rmax at 8 times as many"""
    momentum: Momentum = 0.01
    """weight of the new batch in the running statistics"""


class EvoNormBatchOptions(Options):
    """Options of `evonorm_b0`."""

    momentum: Momentum = 0.1
    """weight of the new batch in the running variance"""
    eps: Positive = 1e-5
    """added to the variance"""


class ChannelLayerNormOptions(Options):
    """Options of `ln_c` and `in`."""

    eps: Positive = 1e-5
    """added to the variance"""
    affine: Switch = True
    """learn gamma and beta"""


class LayerNormOptions(Options):
    """Options of `ln`."""

    eps: Positive = 1e-5
    """added to the variance"""
    affine: Affine = True
    """learn gamma and beta: true, one of each for every value (C, H, W), as torch has it; channel, one for each channel
    of an image, as Wu & He 2018 compare it; on vectors both are the same, that of Ba et al. 2016"""


class GroupedOptions(Options):
    """Options of every norm over groups of channels."""

    groups: int = Field(8, ge=1)
    """groups of channels; must divide them (the papers have 32)"""


class GroupNormOptions(GroupedOptions, ChannelLayerNormOptions):
    """Options of `gn`."""


class EvoNormSampleOptions(GroupedOptions):
    """Options of `evonorm_s0`."""

    eps: Positive = 1e-5
    """added to the variance"""


class RmsNormOptions(Options):
    """Options of `rms`."""

    eps: Positive = 1e-5
    """added to the mean square"""
    affine: Affine = True
    """learn gamma: true, one for every value (C, H, W), as torch has it; channel, one for each channel of an image"""


class FilterResponseNormOptions(Options):
    """Options of `frn`."""

    eps: Positive = 1e-6
    """added to the mean square"""


class DynamicTanhOptions(Options):
    """Options of `dyt`."""

    alpha: Positive = 0.5
    """where the learned slope starts"""


class DynamicErfOptions(Options):
    """Options of `derf`."""

    alpha: Positive = 0.5
    """where the learned slope starts; the learned shift starts at 0"""


class LeakyReluOptions(Options):
    """Options of `leaky_relu`."""

    slope: float = Field(0.01, ge=0, lt=1)
    """slope for negative inputs"""


class DropoutOptions(Options):
    """Options of `dropout`."""

    p: float = Field(0.5, ge=0, lt=1)
    """probability of setting a unit to zero"""


@dataclass(frozen=True)
class ItemKind:
    """The facts about an item that are known without building it: its role, its options, a line for people.

    Attributes:
        nonlinear: a norm that bends what it normalizes, as an activation does.
        draws: it draws random numbers in training.
        over: the values that share one mean or variance. batch: one feature of all examples, at all positions; example:
            all values of one example; position: all channels at one position; group: some channels of one example, at
            all positions (its options are `GroupedOptions`); channel: all positions of one channel of one example.
        subtracts_mean: it subtracts the mean of those values.
        divides_by: it divides by their standard deviation, or by their root mean square.
        corrects: in training it corrects toward its running statistics, which lag behind the batch.
        scale_invariant: in training its output stays when its input is multiplied by a positive number, up to eps.
        takes_lone_values: it has a form of its own for statistics of a single value.
        has_activation: it contains its activation; none belongs after it.
        activation: the activation that belongs right after it.
        channels_last: convolutions gain more by channels that lie last in memory than it loses (see models/build.py).
        learned_per_feature: gamma, beta and whatever else it learns one of for each feature or channel.
        learned_per_layer: what it learns one of for the whole layer.
        learned_per_value: `affine=true` means a gamma and beta for each value of an example, not each channel.
        synchronized: where several processes divide a batch, its batch statistics are still those of the whole.
        source: where the code of a registered one lies; None for those of bnexp.
        build: from shape and options to the module of a registered one.
    """

    role: Role
    summary: str
    options: type[Options] = Options
    nonlinear: bool = False
    draws: bool = False
    over: Over = "none"
    subtracts_mean: bool = False
    divides_by: Literal["standard deviation", "root mean square"] = "standard deviation"
    corrects: bool = False
    scale_invariant: bool = False
    takes_lone_values: bool = False
    has_activation: bool = False
    activation: ItemName | None = None
    channels_last: bool = False
    learned_per_feature: int = 2
    learned_per_layer: int = 0
    learned_per_value: bool = False
    synchronized: bool = False
    source: Source | None = None
    build: Callable[[tuple[int, ...], Any], Any] | None = None

    @property
    def with_frozen_statistics(self) -> "ItemKind":
        """The facts where the running statistics are constants: none is taken, and no mean of a batch is subtracted."""
        return replace(self, over="none", subtracts_mean=False, scale_invariant=False)

    @property
    def batch_statistics(self) -> bool:
        """Whether an example's output depends, in training, on the rest of its batch."""
        return self.over == "batch"

    @property
    def statistics_of_a_part(self) -> bool:
        """Whether, where several processes divide a batch, it takes the statistics of each part."""
        return self.batch_statistics and not self.synchronized

    @property
    def cancels_bias(self) -> bool:
        """Whether it subtracts a mean per feature, so that a bias right before it cancels exactly."""
        return self.subtracts_mean and self.over in ("batch", "channel") and not self.corrects

    @property
    def undoes_unit_scale(self) -> bool:
        """Whether a factor on the weights of a unit right before it has no effect in training, up to eps."""
        return self.scale_invariant and self.over in ("batch", "channel")

    @property
    def divided(self) -> str | None:
        """The values that it divides by a statistic of each example, which is not linear, as a part of a sentence."""
        return f"{_DIVIDED[self.over]} by its own {self.divides_by}" if self.over in _DIVIDED else None

    @property
    def lone_value(self) -> str | None:
        """The failure where a statistic of an example is of one value, as a part of a sentence; None if it works."""
        if self.over not in _DIVIDED or self.takes_lone_values:
            return None
        if self.subtracts_mean:
            return "give beta, whatever the input"
        by_deviation = self.divides_by == "standard deviation"
        return "divide by the root of eps alone" if by_deviation else "give gamma times its sign"


_DIVIDED: dict[Over, str] = {
    "example": "each example",
    "position": "each position of each example",
    "group": "each group of channels of each example",
    "channel": "each channel of each example",
}

_bn = partial(ItemKind, "norm", over="batch", subtracts_mean=True, scale_invariant=True, channels_last=True)
_ln = partial(ItemKind, "norm", options=ChannelLayerNormOptions, subtracts_mean=True, scale_invariant=True)
_rms = partial(ItemKind, "norm", over="example", divides_by="root mean square", scale_invariant=True)
_evonorm = partial(ItemKind, "norm", nonlinear=True, has_activation=True, learned_per_feature=3)

ITEMS: dict[ItemName, ItemKind] = {
    "linear": ItemKind("layer", "fully connected: x W^T + b", LayerOptions),
    "conv": ItemKind("layer", "convolution, 3 x 3 unless kernel says otherwise, the image's size kept", ConvOptions),
    "bn": _bn("batch normalization: each feature over the batch (Ioffe & Szegedy 2015)", FreezableBatchNormOptions),
    "ghost_bn": _bn(
        "ghost batch normalization: bn over parts of the batch (Hoffer et al. 2017)", GhostBatchNormOptions
    ),
    "batch_renorm": _bn(
        "batch renormalization: bn corrected toward the running statistics (Ioffe 2017)",
        BatchRenormOptions,
        corrects=True,
        scale_invariant=False,
        channels_last=False,
    ),
    "sync_bn": _bn(
        "bn over the whole batch where several processes divide it; in one it is bn (Peng et al. 2018)",
        BatchNormOptions,
        synchronized=True,
    ),
    "noisy_bn": _bn(
        "bn followed by random shift and scale in training, a control (Santurkar et al. 2018)",
        BatchNormOptions,
        draws=True,
        channels_last=False,
    ),
    "ln": _ln(
        "layer normalization: each example over its features, or C, H, W (Ba et al. 2016)",
        options=LayerNormOptions,
        over="example",
        learned_per_value=True,
    ),
    "ln_c": _ln(
        "layer normalization over the channels at each position (Liu et al. 2022)", over="position", channels_last=True
    ),
    "gn": _ln(
        "group normalization: each example over groups of channels (Wu & He 2018)",
        options=GroupNormOptions,
        over="group",
    ),
    "in": _ln(
        "instance normalization: each channel of each example (Ulyanov et al. 2016); images only", over="channel"
    ),
    "rms": _rms(
        "each example divided by its root mean square; no mean subtracted (Zhang & Sennrich 2019)",
        RmsNormOptions,
        learned_per_feature=1,
        learned_per_value=True,
    ),
    "frn": _rms(
        "filter response normalization: rms of each channel; tlu follows (Singh & Krishnan 2020)",
        FilterResponseNormOptions,
        over="channel",
        takes_lone_values=True,
        activation="tlu",
    ),
    "vn": ItemKind(
        "norm",
        "variance normalization: bn that subtracts no mean (Lubana et al. 2021)",
        BatchNormOptions,
        over="batch",
        scale_invariant=True,
    ),
    "evonorm_b0": _evonorm(
        "normalization and nonlinearity in one, over the batch (Liu et al. 2020)",
        EvoNormBatchOptions,
        over="batch",
        scale_invariant=True,
    ),
    "evonorm_s0": _evonorm(
        "normalization and nonlinearity in one, over groups of channels (Liu et al. 2020)",
        EvoNormSampleOptions,
        over="group",
    ),
    "dyt": ItemKind(
        "norm",
        "dynamic tanh: gamma tanh(alpha x) + beta, no statistics (Zhu et al. 2025), for transformers",
        DynamicTanhOptions,
        nonlinear=True,
        learned_per_layer=1,
    ),
    "derf": ItemKind(
        "norm",
        "dynamic erf: gamma erf(alpha x + s) + beta, no statistics (Chen et al. 2025)",
        DynamicErfOptions,
        nonlinear=True,
        learned_per_layer=2,
    ),
    "relu": ItemKind("activation", "max(0, x)"),
    "leaky_relu": ItemKind("activation", "x for x > 0, slope * x below", LeakyReluOptions),
    "tanh": ItemKind("activation", "hyperbolic tangent, saturates at -1 and 1"),
    "sigmoid": ItemKind("activation", "1 / (1 + exp(-x)), saturates at 0 and 1"),
    "gelu": ItemKind("activation", "x Phi(x), Phi the Gaussian distribution function"),
    "silu": ItemKind("activation", "x sigmoid(x), also called swish"),
    "tlu": ItemKind("activation", "max(x, tau) with a learned tau per feature, belongs to frn"),
    "identity": ItemKind("activation", "x, unchanged"),
    "add": ItemKind("shortcut", "where the shortcut of a residual block comes in"),
    "dropout": ItemKind(
        "dropout", "sets units to 0 with probability p in training, scales the rest", DropoutOptions, draws=True
    ),
}


def names_of(role: Role) -> tuple[ItemName, ...]:
    """Return the names of the items of a role."""
    return tuple(name for name, kind in ITEMS.items() if kind.role == role)


NORM_NAMES, ACTIVATION_NAMES = names_of("norm"), names_of("activation")
