"""`bnexp check`: what a config means, without training."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bnexp.blueprint import Blueprint, draw
from bnexp.config.loading import load_config
from bnexp.config.plan import Plan
from bnexp.config.schema import Config
from bnexp.data.sources.place import data_folder
from bnexp.document.show import show_document
from bnexp.document.table import Cell, Column, Table, facts, word
from bnexp.document.values import Heading, Part, Text
from bnexp.document.writing import counted

if TYPE_CHECKING:
    from bnexp.inspection.outline import OutlineRow
    from bnexp.inspection.propagation import LayerPropagation

_NEAR, _FAR = 5.0, 100.0
"""Growth from the first hidden layer to the last: below the one it is called none, beyond the other an explosion."""
_LABELS = len("gradient")
"""Letters of the words at the beginning of lines."""


def check(
    config_path: Path, *, overrides: Sequence[str] = (), data_dir: Path | None = None, signal: bool = False
) -> None:
    """Validate a config and print the network as built, the batch arithmetic and the warnings.

    The arguments are those of `bnexp check --help`.
    """
    config = load_config(config_path, overrides)
    blueprint = draw(config, data_folder(data_dir))

    from bnexp.inspection.outline import outline
    from bnexp.models.build import build_model

    network = build_model(blueprint.layout, config.init, config.seed)
    rows = outline(network, blueprint.info.shape, config.model.bias)
    document: list[Part] = [
        Heading(f"{config.name}: {config.model.block}"),
        _outline_table(rows),
        facts(_arithmetic(config, blueprint.plan)),
        *(Text(warning, lead="warning") for warning in blueprint.warnings),
    ]
    show_document([*document, *(_propagation(blueprint, data_folder(data_dir)) if signal else [])])


def _outline_table(rows: "Sequence[OutlineRow]") -> Table:
    columns = (
        Column("item", "item"),
        Column("output", "output", "number"),
        Column("parameters", "parameters", "number"),
        Column("note", ""),
    )
    cells = [
        (row.name, " x ".join(map(str, row.shape)), f"{row.parameters:,}" if row.parameters else "", row.note)
        for row in rows
    ]
    cells.append(("total", "", f"{sum(row.parameters for row in rows):,}", ""))
    keys = [column.key for column in columns]
    return Table(columns, tuple(dict(zip(keys, map(word, row), strict=True)) for row in cells))


def _arithmetic(config: Config, plan: Plan) -> list[tuple[str, str]]:
    """Return the counts of examples, batches and steps."""
    short = plan.last_batch if plan.last_batch < plan.batch_size else 0
    full = plan.steps_per_epoch - bool(short)
    left_out = plan.train_examples - (full * plan.batch_size + short)
    batches = f"{full:,} x {plan.batch_size}" + (f" + 1 x {short}" if short else "")
    dropped = f", {left_out} examples left out of each epoch (data.drop_last)" if left_out else ""
    evaluations = plan.evaluations_until(plan.total_steps)
    epochs = f"{plan.epoch_at(plan.total_steps):.4g}"
    parts = (
        f"{plan.train_examples:,} to train on, {plan.val_examples:,} to validate on, {plan.test_examples:,} to test on"
    )
    return [
        ("data", f"{config.data.dataset}: {parts}"),
        ("batches", f"{batches} = {counted(plan.steps_per_epoch, 'step')} per epoch{dropped}"),
        ("training", f"{counted(plan.total_steps, 'step')} in {epochs} epochs, {counted(evaluations, 'evaluation')}"),
    ]


def _propagation(blueprint: Blueprint, data_dir: Path) -> list[Part]:
    """Return a row per layer with bars for signal and gradient, and what both come to over the depth."""
    from bnexp.inspection.propagation import measure_propagation
    from bnexp.training.build import build

    config = blueprint.config
    # On the CPU and as it stands: what an initialization does needs neither a lower precision nor a compiler.
    training = config.training.model_copy(update={"precision": "fp32", "compile": False})
    plain = dataclasses.replace(blueprint, config=config.model_copy(update={"training": training}))
    layers = measure_propagation(build(plain, data_dir=data_dir, device="cpu"))
    batch = f"the first batch of {config.data.batch_size}, forward and backward, before any training"
    return [
        Heading("The fresh network"),
        facts([("signal", batch)], least=_LABELS),
        _propagation_table(layers),
        *([facts(growth, least=_LABELS)] if (growth := _growth_facts(layers)) else []),
    ]


def _propagation_table(layers: "Sequence[LayerPropagation]") -> Table:
    columns = (
        Column("layer", "layer"),
        Column("std", "std", "number"),
        Column("std_bar", "", "bar"),
        Column("rank", "rank", "number"),
        Column("dead", "dead", "number"),
        Column("gradient_norm", "gradient norm", "number"),
        Column("gradient_norm_bar", "", "bar"),
    )
    rows = [
        {
            "layer": word(layer.layer),
            "std": Cell(f"{layer.std:.3g}", layer.std),
            "std_bar": Cell("", layer.std),
            "rank": Cell(f"{layer.effective_rank:.1f}", layer.effective_rank),
            "dead": Cell("" if layer.dead_fraction is None else f"{layer.dead_fraction:.0%}", layer.dead_fraction),
            "gradient_norm": Cell(f"{layer.gradient_norm:.3g}", layer.gradient_norm),
            "gradient_norm_bar": Cell("", layer.gradient_norm),
        }
        for layer in layers
    ]
    return Table(columns, tuple(rows))


def _growth_facts(rows: "Sequence[LayerPropagation]") -> list[tuple[str, str]]:
    """Describe how the signal grows on its way up and the gradient on its way down, over the hidden layers."""
    from bnexp.inspection.propagation import growth

    hidden, lines = rows[:-1], []
    ways = {
        "signal": ("up from the first hidden layer to the last", [row.std for row in hidden]),
        "gradient": ("down from the last hidden layer to the first", [row.gradient_norm for row in reversed(hidden)]),
    }
    for name, (way, values) in ways.items():
        if not all(0 < value < math.inf for value in values):
            fate = "vanishes: it is 0 somewhere" if all(map(math.isfinite, values)) else "explodes: it is not finite"
            lines.append((name, f"{way} it {fate}"))
        elif len(values) > 1:
            grown = growth(values)
            both = f"x {grown.per_layer:.3f} a layer {way}, x {grown.total:.3g} in all"
            lines.append((name, f"{both}: it {_fate(grown.total)}"))
    return lines


def _fate(factor: float) -> str:
    """Name what a factor from the first hidden layer to the last means."""
    if 1 / _NEAR < factor < _NEAR:
        return "keeps its size, roughly"
    if 1 / _FAR < factor < _FAR:
        return "grows" if factor > 1 else "shrinks"
    return "explodes" if factor > 1 else "vanishes"
