"""The items of the block notation: their names, their options and what must be known of them without torch.

A new norm is one entry here, and one file with one registry line in `bnexp/norms/`.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

LayerName = Literal["linear"]
NormName = Literal["bn", "ln"]
ActivationName = Literal["relu", "leaky_relu", "tanh", "sigmoid", "gelu", "silu", "identity"]
ItemName = Literal[LayerName, NormName, ActivationName, "dropout"]
Role = Literal["layer", "norm", "activation", "dropout"]


class Options(BaseModel):
    """Options in the parentheses of an item, such as `bn(momentum=0.01)`; most items have none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BatchNormOptions(Options):
    """Options of `bn`. The momentum is PyTorch's: the weight of the new batch (0.1 here is 0.9 in Keras)."""

    momentum: float = Field(0.1, gt=0, le=1, description="weight of the new batch in the running statistics")
    eps: float = Field(1e-5, gt=0, allow_inf_nan=False, description="added to the variance")
    affine: bool = Field(True, description="learn gamma and beta")


class LayerNormOptions(Options):
    """Options of `ln`."""

    eps: float = Field(1e-5, gt=0, allow_inf_nan=False, description="added to the variance")
    affine: bool = Field(True, description="learn gamma and beta")


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
    """

    role: Role
    summary: str
    options: type[Options] = Options
    cancels_bias: bool = False
    batch_statistics: bool = False


ITEMS: dict[ItemName, ItemKind] = {
    "linear": ItemKind("layer", "fully connected: x W^T + b"),
    "bn": ItemKind(
        "norm",
        "batch normalization: each feature over the batch (Ioffe & Szegedy 2015)",
        BatchNormOptions,
        cancels_bias=True,
        batch_statistics=True,
    ),
    "ln": ItemKind("norm", "layer normalization: each example over its features (Ba et al. 2016)", LayerNormOptions),
    "relu": ItemKind("activation", "max(0, x)"),
    "leaky_relu": ItemKind("activation", "x for x > 0, slope * x below", LeakyReluOptions),
    "tanh": ItemKind("activation", "hyperbolic tangent, saturates at -1 and 1"),
    "sigmoid": ItemKind("activation", "1 / (1 + exp(-x)), saturates at 0 and 1"),
    "gelu": ItemKind("activation", "x Phi(x), Phi the Gaussian distribution function"),
    "silu": ItemKind("activation", "x sigmoid(x), also called swish"),
    "identity": ItemKind("activation", "x, unchanged"),
    "dropout": ItemKind("dropout", "sets units to 0 with probability p in training, scales the rest", DropoutOptions),
}

NORM_NAMES: tuple[NormName, ...] = get_args(NormName)
ACTIVATION_NAMES: tuple[ActivationName, ...] = get_args(ActivationName)
