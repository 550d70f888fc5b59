"""The section `model`: the families of networks, and the block they repeat."""

from abc import abstractmethod
from itertools import takewhile
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from bnexp.config.aliases import block_line, filling
from bnexp.config.block import Item, check_filling, names_in, parse_block
from bnexp.config.section import Bool, Int, Section
from bnexp.config.wording import brief, shown

ARCHITECTURES = {
    "mlp": "one block per hidden layer, then a linear head",
    "cnn": "stages of convolution blocks with pooling between them, then a linear head (VGG is one)",
    "resnet": "stages of residual blocks, global average pooling, then a linear head (He et al. 2015, 2016)",
}

Width = Annotated[Int, Field(ge=1, le=100_000)]
MAX_ITEMS = 50_000
"""Items of a whole network: a resnet of 10,000 layers has 35,000, and laying out this many takes a second."""


class _Model(Section):
    arch: str
    """the family"""
    block: str = Field(max_length=2000)
    """what one block is made of, in order, such as `linear -> bn -> relu` or `conv -> bn -> add -> relu`"""
    norm: str | None = None
    """what `norm` in the block stands for: none, or a norm such as `bn` or `bn(momentum=0.01)`"""
    activation: str | None = None
    """what `act` in the block stands for, such as `relu`"""
    bias: bool | Literal["auto"] = "auto"
    """bias of the layers in the blocks; `auto` leaves it out exactly where the next item cancels it"""

    @field_validator("block", mode="before")
    @classmethod
    def _our_names(cls, value: object) -> object:
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            raise ValueError(f'expected one text, such as "{brief(" -> ".join(value), 200)}", found {shown(value)}')
        return block_line(value)

    @field_validator("norm", "activation", mode="before")
    @classmethod
    def _our_name(cls, value: object, info: ValidationInfo) -> object:
        return filling(str(info.field_name), value)

    @field_validator("norm", "activation")
    @classmethod
    def _known(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None or info.field_name is None:
            return None
        check_filling(info.field_name, value)
        return value.strip()

    @field_validator("bias", mode="before")
    @classmethod
    def _bias_word(cls, value: object) -> object:
        if value != "auto" and not isinstance(value, bool):
            raise ValueError(f"expected auto, true or false, found {shown(value)}")
        return value

    @model_validator(mode="after")
    def _block_reads(self) -> Self:
        names, written = [item.name for item in self.items], names_in(self.block)
        for placeholder, key, value in (("norm", "norm", self.norm), ("act", "activation", self.activation)):
            if value is not None and placeholder not in written:
                problem = f"but model.block has no item `{placeholder}` that it could fill: {self._written}"
                raise ValueError(f"model.{key} is {brief(value)}, {problem}; model.{key}: null takes it back")
        layer, other = ("linear", "conv") if self.arch == "mlp" else ("conv", "linear")
        adds, residual = names.count("add"), self.arch == "resnet"
        for wrong, problem in (
            (layer not in names, f"of arch {self.arch} needs a layer with weights, {layer}"),
            (other in names, f"of arch {self.arch} is made of {layer}, not {other}"),
            (residual and adds != 1, "of a resnet needs one `add`, where the shortcut comes in"),
            (adds and not residual, f"has `add`, which belongs to arch resnet, and this is {self.arch}"),
        ):
            if wrong:
                raise ValueError(f"model.block {problem}; found: {self._written}")
        return self

    @property
    def items(self) -> tuple[Item, ...]:
        """The block as items, placeholders filled."""
        return parse_block(self.block, self.norm, self.activation)

    @property
    def _written(self) -> str:
        """The block line, shortened for messages."""
        return brief(self.block, 120)

    @property
    @abstractmethod
    def block_count(self) -> int:
        """Number of repetitions of the block."""

    @model_validator(mode="after")
    def _can_be_laid_out(self) -> Self:
        blocks, items = self.block_count, len(self.items)
        if blocks * items > MAX_ITEMS:
            found = f"{blocks:,} blocks of {items} items are a network of {blocks * items:,}"
            raise ValueError(f"{found}; expected at most {MAX_ITEMS:,} items")
        return self


class MlpConfig(_Model):
    """A multilayer perceptron."""

    arch: Literal["mlp"]
    hidden: tuple[Width, ...] = Field(min_length=1)
    """width of each hidden layer"""

    @property
    def block_count(self) -> int:
        """One block for each hidden layer."""
        return len(self.hidden)


class CnnConfig(_Model):
    """A convolutional network; VGG-16 is `stages: [[64, 64], [128, 128], [256, 256, 256], ...]`."""

    arch: Literal["cnn"]
    stages: tuple[Width | tuple[Width, ...], ...] = Field(min_length=1)
    """channels of the blocks of each stage, such as `[[64, 64], [128]]`; a number alone is repeated `blocks` times"""
    blocks: Int = Field(1, ge=1, le=1000)
    """blocks of a stage that names its channels once"""
    pool: Literal["max", "avg", "stride"] = "max"
    """how a stage ends with half the size: pooling of 2 x 2, or the next stage begins with a stride of 2"""
    head: Literal["gap", "flatten"] = "gap"
    """what the linear head sees: the mean over all positions, or every position"""

    @model_validator(mode="after")
    def _no_empty_stage(self) -> Self:
        if any(not widths for widths in self.widths):
            raise ValueError("model.stages has a stage without any block; expected channels, such as [[64, 64], [128]]")
        return self

    @property
    def block_count(self) -> int:
        """The blocks of all stages."""
        return sum(len(stage) if isinstance(stage, tuple) else self.blocks for stage in self.stages)

    @property
    def widths(self) -> list[tuple[int, ...]]:
        """Channels of every block, stage by stage."""
        return [stage if isinstance(stage, tuple) else (stage,) * self.blocks for stage in self.stages]


IMAGENET_STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Blocks a stage of the depths that He et al. 2015 use on ImageNet, with two convolutions a block."""


class ResnetConfig(_Model):
    """A residual network for small images: a 3 x 3 stem, stages that double the channels and halve the size."""

    arch: Literal["resnet"]
    depth: Int | None = Field(None, ge=8, le=10_000)
    """6n + 2 for three stages of n blocks (20, 32, 44, 56, 110), or 18 or 34 for the four stages of those networks"""
    stages: Annotated[tuple[Annotated[Int, Field(ge=0, le=1000)], ...], Field(min_length=1)] | None = None
    """blocks of each stage, in place of depth; with `pool` a stage may have none"""
    pool: Literal["max", "avg"] | None = None
    """each stage but the first begins with a convolution of its own, with the norm and activation that the block has
    beside its first one, and a pooling of 2 x 2; its blocks keep the shape (default: the first block of a stage halves
    the size by a stride of 2). ResNet-9 is `stages: [0, 1, 0, 1]`"""
    width: Width | None = None
    """channels of the first stage (default: 16 with three stages, 64 with any other number)"""
    shortcut: Literal["pad", "projection"] = "pad"
    """where shape changes: pad with zero channels and take every second pixel, or a 1 x 1 convolution with the norm"""
    zero_gamma: Bool = False
    """start the gamma of the branch's last norm at 0, so that every block starts as its shortcut (Goyal et al. 2017)"""
    skip_gain: Bool = False
    """multiply the branch by a learned scalar that starts at 0 (De & Smith 2020)"""

    @model_validator(mode="before")
    @classmethod
    def _one_depth(cls, values: Any) -> Any:
        if isinstance(values, dict) and (values.get("depth") is None) == (values.get("stages") is None):
            raise ValueError("a resnet needs model.depth or model.stages, one of them")
        return values

    @model_validator(mode="after")
    def _has_blocks(self) -> Self:
        if self.pool is not None and self.depth is not None:
            own = "whose stages have a convolution of their own, which depth does not count"
            raise ValueError(f"model.depth beside model.pool, {own}; expected model.stages, such as [0, 1, 0, 1]")
        if self.pool is None and 0 in self.stage_blocks:
            raise ValueError("model.stages has a stage without any block; expected 1 or more, or model.pool: max")
        if not any(self.stage_blocks):
            raise ValueError("model.stages has no block in any stage; expected one, or model.arch: cnn")
        return self

    @field_validator("depth")
    @classmethod
    def _known_depth(cls, depth: int | None) -> int | None:
        if depth is not None and depth not in IMAGENET_STAGES and (depth - 2) % 6:
            nearest = 6 * round((depth - 2) / 6) + 2
            raise ValueError(f"expected 6n + 2, such as {nearest}, or 18 or 34, found {depth}")
        return depth

    @model_validator(mode="after")
    def _branch_has_a_layer(self) -> Self:
        if not any(item.kind.role == "layer" for item in self.branch):
            where = "before `add`, in the branch that the shortcut leads past"
            raise ValueError(f"model.block of a resnet needs a conv {where}; found: {self._written}")
        return self

    @model_validator(mode="after")
    def _gains_can_grow(self) -> Self:
        if self.zero_gamma and self.skip_gain:
            both = "the gradient of each is a multiple of the other, so neither could leave 0"
            raise ValueError(f"model.zero_gamma beside model.skip_gain: {both}; expected one of them")
        if self.zero_gamma:
            self._expect_gamma_at_add()
        return self

    def _expect_gamma_at_add(self) -> None:
        """Refuse a gamma of 0 that is not there, or that could not grow: relu, for one, has no gradient at 0."""
        last = next(item for item in reversed(self.branch) if item.kind.role != "dropout")
        instead = f"found: {self._written}; model.skip_gain starts any branch at 0"
        if last.kind.role != "norm":
            raise ValueError(
                "model.zero_gamma needs a norm right before `add` (but for dropout), whose gamma it starts at 0, not "
                f"{last.name}: a gamma farther back may stay 0, since relu has no gradient there; {instead}"
            )
        if not getattr(last.options, "affine", True):
            gamma = f"the gamma of the {last.name} before `add`"
            raise ValueError(f"model.zero_gamma starts {gamma} at 0, and {last.name}(affine=false) has none; {instead}")
        if last.options.freezes_affine:
            raise ValueError(
                f"model.zero_gamma starts the gamma of the {last.name} before `add` at 0, and there it is frozen: the "
                f"branch would never give anything; {instead}"
            )

    @property
    def branch(self) -> tuple[Item, ...]:
        """The items before `add`."""
        return tuple(takewhile(lambda item: item.name != "add", self.items))

    @property
    def block_count(self) -> int:
        """The blocks of all stages, without the stem."""
        return sum(self.stage_blocks)

    @property
    def stage_blocks(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        depth = self.depth or 0
        return self.stages or IMAGENET_STAGES.get(depth) or ((depth - 2) // 6,) * 3

    def stage_width(self, stage: int) -> int:
        """Return the channels of a stage, counted from 0: doubled from each to the next."""
        first = self.width or (16 if len(self.stage_blocks) == 3 else 64)
        return int(first * 2**stage)


ModelConfig = MlpConfig | CnnConfig | ResnetConfig
