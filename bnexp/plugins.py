"""Register a norm or an activation of your own, which is then a name in the block notation like any other.

A file does so that `--plugin FILE.py` names, or a module that an installed package offers in the group of entry points
`bnexp.norms` or `bnexp.activations` by the name of the norm. docs/own_norm.md walks through it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from bnexp.config.items import Affine, GroupedOptions, ItemKind, Momentum, Options, Over, Positive
from bnexp.config.plugin_code import calling_source
from bnexp.config.plugins import load, register
from bnexp.config.section import Switch

__all__ = [
    "Affine",
    "GroupedOptions",
    "Momentum",
    "Options",
    "Positive",
    "Switch",
    "load_plugin",
    "register_activation",
    "register_norm",
]

Module = Callable[[tuple[int, ...], Any], Any]
"""A class or function that makes the `torch.nn.Module` for a shape without the batch, (F,) or (C, H, W), and options.

A function that imports torch inside lets a config be read without torch."""


def register_norm(
    name: str,
    module: Module,
    *,
    summary: str,
    over: Over,
    options: type[Options] = Options,
    subtracts_mean: bool = False,
    divides_by: Literal["standard deviation", "root mean square"] = "standard deviation",
    scale_invariant: bool = False,
    nonlinear: bool = False,
    learned_per_feature: int = 0,
    learned_per_layer: int = 0,
    learned_per_value: bool = False,
) -> None:
    """Register a norm. Warnings, the bias rule, probes and folding follow from its facts, which are tried when built.

    Args:
        name: in the block notation: small letters, digits and `_`.
        module: makes the module of (shape, options); it keeps the shape of its input.
        summary: a line for `bnexp catalog`.
        over: the values that share a statistic. batch: one feature of all examples and positions, with running
            statistics for inference, in buffers; example: all values of one example; position: all channels at one
            position; group: some channels of one example; channel: one channel of one example; none: no statistics.
        options: a class of options with defaults and bounds, each a pydantic field with a docstring.
        subtracts_mean: the mean of those values is subtracted: a bias right before it has no effect.
        divides_by: by their deviation, of whatever kind, or by their root mean square.
        scale_invariant: in training a positive factor on its input has no effect, up to eps.
        nonlinear: it bends what it normalizes, as an activation does.
        learned_per_feature: numbers that it learns for each feature or channel: 2 for gamma and beta.
        learned_per_layer: numbers that it learns for the whole layer.
        learned_per_value: with `affine=true`, the former are of each value of an example, as in `ln`.

    Raises:
        ConfigError: the name, the options or the facts cannot be; with file and line.
    """
    source = calling_source(1)
    kind = ItemKind(
        "norm",
        summary,
        options,
        nonlinear=nonlinear,
        over=over,
        subtracts_mean=subtracts_mean,
        divides_by=divides_by,
        scale_invariant=scale_invariant,
        learned_per_feature=learned_per_feature,
        learned_per_layer=learned_per_layer,
        learned_per_value=learned_per_value,
        source=source,
        build=module,
    )
    register(name, kind, source)


def register_activation(name: str, module: Module, *, summary: str, options: type[Options] = Options) -> None:
    """Register an activation: a function of each value, with or without learned numbers.

    Args:
        name: in the block notation: small letters, digits and `_`.
        module: makes the module of (shape, options); it keeps the shape of its input.
        summary: a line for `bnexp catalog`.
        options: a class of options with defaults and bounds, each a pydantic field with a docstring.

    Raises:
        ConfigError: the name or the options cannot be; with file and line.
    """
    source = calling_source(1)
    register(name, ItemKind("activation", summary, options, source=source, build=module), source)


def load_plugin(path: str | Path) -> None:
    """Run a file that registers norms or activations, as `--plugin` does.

    Raises:
        ConfigError: it cannot be read, or is wrong; with its line.
    """
    load(Path(path))
