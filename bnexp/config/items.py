"""The items of the block notation: their names, their options and what must be known of them without torch.

A new norm is one entry here, and one file with one registry line in `bnexp/norms/`.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationInfo, field_validator

LayerName = Literal["linear", "conv"]
NormName = Literal[
    "bn",
    "ghost_bn",
    "batch_renorm",
    "sync_bn",
    "noisy_bn",
    "ln",
    "ln_c",
    "gn",
    "in",
    "rms",
    "frn",
    "vn",
    "evonorm_b0",
    "evonorm_s0",
    "dyt",
]
ActivationName = Literal["relu", "leaky_relu", "tanh", "sigmoid", "gelu", "silu", "tlu", "identity"]
ItemName = Literal[LayerName, NormName, ActivationName, "dropout", "add"]
Role = Literal["layer", "norm", "activation", "dropout", "shortcut"]


class Options(BaseModel):
    """Options in the parentheses of an item, such as `bn(momentum=0.01)`; most items have none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _switch(value: object) -> object:
    """Read `true` and `false`, and no other word, as every other key of the config does."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


Switch = Annotated[bool, Strict(), BeforeValidator(_switch)]


class LayerOptions(Options):
    """Options of the layers with weights."""

    weight_norm: Switch = Field(False, description="learn direction and length of each unit's weights apart")
    weight_std: Switch = Field(
        False,
        description="standardize each unit's weights, as NF-ResNets do; their gain starts where it makes up for the "
        "activation before the layer (1.71 after relu), times `init.gain`",
    )

    @field_validator("weight_std")
    @classmethod
    def _one_of_both(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("weight_norm"):
            raise ValueError("false beside weight_norm=true, since each sets the scale of the weights")
        return value


class ConvOptions(LayerOptions):
    """Options of `conv`."""

    kernel: int = Field(3, ge=1, le=31, description="side of the square kernel, odd; padding keeps the image's size")
    stride: int = Field(1, ge=1, le=16, description="steps of the kernel; in a cnn or resnet the stages add their own")

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(f"expected an odd kernel, which padding can center, found {kernel}")
        return kernel


class BatchNormOptions(Options):
    """Options of `bn` and its kin. The momentum is PyTorch's: the weight of the new batch (0.1 is 0.9 in Keras)."""

    momentum: float = Field(0.1, gt=0, le=1, description="weight of the new batch in the running statistics")
    eps: float = Field(1e-5, gt=0, allow_inf_nan=False, description="added to the variance")
    affine: Switch = Field(True, description="learn gamma and beta")


class GhostBatchNormOptions(BatchNormOptions):
    """Options of `ghost_bn`."""

    size: int = Field(32, ge=2, description="examples in a ghost batch; at most the batch")


class BatchRenormOptions(BatchNormOptions):
    """Options of `batch_renorm`."""

    rmax: float = Field(3.0, ge=1, allow_inf_nan=False, description="largest correction of the scale, and 1/smallest")
    dmax: float = Field(5.0, ge=0, allow_inf_nan=False, description="largest correction of the shift, in deviations")
    warmup_steps: int = Field(
        500,
        ge=0,
        le=1_000_000_000,
        description="steps as bn; then the bounds rise, to dmax at 5 times and to rmax at 8 times as many",
    )
    momentum: float = Field(0.01, gt=0, le=1, description="weight of the new batch in the running statistics")


class EvoNormBatchOptions(Options):
    """Options of `evonorm_b0`."""

    momentum: float = Field(0.1, gt=0, le=1, description="weight of the new batch in the running variance")
    eps: float = Field(1e-5, gt=0, allow_inf_nan=False, description="added to the variance")


class LayerNormOptions(Options):
    """Options of `ln`, `ln_c` and `in`."""

    eps: float = Field(1e-5, gt=0, allow_inf_nan=False, description="added to the variance")
    affine: Switch = Field(True, description="learn gamma and beta")


class GroupNormOptions(LayerNormOptions):
    """Options of `gn`."""

    groups: int = Field(8, ge=1, description="groups of channels; must divide them (Wu & He have 32)")


class EvoNormSampleOptions(Options):
    """Options of `evonorm_s0`."""

    groups: int = Field(8, ge=1, description="groups of channels; must divide them (Liu et al. have 32)")
    eps: float = Field(1e-5, gt=0, allow_inf_nan=False, description="added to the variance")


class RmsNormOptions(Options):
    """Options of `rms`."""

    eps: float = Field(1e-5, gt=0, allow_inf_nan=False, description="added to the mean square")
    affine: Switch = Field(True, description="learn gamma")


class FilterResponseNormOptions(Options):
    """Options of `frn`."""

    eps: float = Field(1e-6, gt=0, allow_inf_nan=False, description="added to the mean square")


class DynamicTanhOptions(Options):
    """Options of `dyt`."""

    alpha: float = Field(0.5, gt=0, allow_inf_nan=False, description="where the learned slope starts")


class LeakyReluOptions(Options):
    """Options of `leaky_relu`."""

    slope: float = Field(0.01, ge=0, lt=1, description="slope for negative inputs")


class DropoutOptions(Options):
    """Options of `dropout`."""

    p: float = Field(0.5, ge=0, lt=1, description="probability of setting a unit to zero")


@dataclass(frozen=True)
class ItemKind:
    """What is known of an item without building it.

    `cancels_bias`: it subtracts a mean per feature, so a bias right before it cancels exactly.
    `batch_statistics`: in training, an example's output depends on the rest of its batch.
    `nonlinear`: a norm that bends what it normalizes, as an activation does.
    `draws`: in training it draws random numbers.
    `scale_invariant`: in training its output stays when its input is multiplied by a positive number, up to eps.
    """

    role: Role
    summary: str
    options: type[Options] = Options
    cancels_bias: bool = False
    batch_statistics: bool = False
    nonlinear: bool = False
    scale_invariant: bool = False
    draws: bool = False


ITEMS: dict[ItemName, ItemKind] = {
    "linear": ItemKind("layer", "fully connected: x W^T + b", LayerOptions),
    "conv": ItemKind("layer", "convolution, 3 x 3 unless kernel says otherwise, the image's size kept", ConvOptions),
    "bn": ItemKind(
        "norm",
        "batch normalization: each feature over the batch (Ioffe & Szegedy 2015)",
        BatchNormOptions,
        cancels_bias=True,
        batch_statistics=True,
        scale_invariant=True,
    ),
    "ghost_bn": ItemKind(
        "norm",
        "ghost batch normalization: bn over parts of the batch (Hoffer et al. 2017)",
        GhostBatchNormOptions,
        cancels_bias=True,
        batch_statistics=True,
        scale_invariant=True,
    ),
    "batch_renorm": ItemKind(
        "norm",
        "batch renormalization: bn corrected toward the running statistics (Ioffe 2017)",
        BatchRenormOptions,
        batch_statistics=True,
    ),
    "sync_bn": ItemKind(
        "norm",
        "bn over the batches of all processes; in one process it is bn (Peng et al. 2018)",
        BatchNormOptions,
        cancels_bias=True,
        batch_statistics=True,
        scale_invariant=True,
    ),
    "noisy_bn": ItemKind(
        "norm",
        "bn followed by random shift and scale in training, a control (Santurkar et al. 2018)",
        BatchNormOptions,
        cancels_bias=True,
        batch_statistics=True,
        scale_invariant=True,
        draws=True,
    ),
    "ln": ItemKind(
        "norm",
        "layer normalization: each example over its features, or C, H, W (Ba et al. 2016)",
        LayerNormOptions,
        scale_invariant=True,
    ),
    "ln_c": ItemKind(
        "norm",
        "layer normalization over the channels at each position (Liu et al. 2022)",
        LayerNormOptions,
        scale_invariant=True,
    ),
    "gn": ItemKind(
        "norm",
        "group normalization: each example over groups of channels (Wu & He 2018)",
        GroupNormOptions,
        scale_invariant=True,
    ),
    "in": ItemKind(
        "norm",
        "instance normalization: each channel of each example (Ulyanov et al. 2016); images only",
        LayerNormOptions,
        cancels_bias=True,
        scale_invariant=True,
    ),
    "rms": ItemKind(
        "norm",
        "each example divided by its root mean square; no mean subtracted (Zhang & Sennrich 2019)",
        RmsNormOptions,
        scale_invariant=True,
    ),
    "frn": ItemKind(
        "norm",
        "filter response normalization: rms of each channel; tlu follows (Singh & Krishnan 2020)",
        FilterResponseNormOptions,
        scale_invariant=True,
    ),
    "vn": ItemKind(
        "norm",
        "variance normalization: bn that subtracts no mean (Daneshmand et al. 2020)",
        BatchNormOptions,
        batch_statistics=True,
        scale_invariant=True,
    ),
    "evonorm_b0": ItemKind(
        "norm",
        "normalization and nonlinearity in one, over the batch (Liu et al. 2020)",
        EvoNormBatchOptions,
        batch_statistics=True,
        nonlinear=True,
        scale_invariant=True,
    ),
    "evonorm_s0": ItemKind(
        "norm",
        "normalization and nonlinearity in one, over groups of channels (Liu et al. 2020)",
        EvoNormSampleOptions,
        nonlinear=True,
    ),
    "dyt": ItemKind(
        "norm",
        "dynamic tanh: gamma tanh(alpha x) + beta, no statistics (Zhu et al. 2025)",
        DynamicTanhOptions,
        nonlinear=True,
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

NORM_NAMES: tuple[NormName, ...] = get_args(NormName)
ACTIVATION_NAMES: tuple[ActivationName, ...] = get_args(ActivationName)
