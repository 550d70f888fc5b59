"""`bnexp check`: what a config means, without training."""

import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bnexp.blueprint import Blueprint, draw
from bnexp.config.loading import load_config
from bnexp.config.plan import Plan
from bnexp.config.schema import Config
from bnexp.data.sources.place import data_folder
from bnexp.document.output import write_out
from bnexp.document.terminal import log_bars
from bnexp.errors import visible, visible_lines

if TYPE_CHECKING:
    from bnexp.inspection.outline import OutlineRow
    from bnexp.inspection.propagation import LayerPropagation

_NEAR, _FAR = 5.0, 100.0
"""From the first hidden layer to the last, a factor within the one is called none, beyond the other an explosion."""
_BARS = ("cyan", "magenta")
_LEAST_BAR = 4
"""Cells of a bar below which it shows nothing."""


def check(
    config_path: Path, *, overrides: Sequence[str] = (), data_dir: Path | None = None, signal: bool = False
) -> None:
    """Validate a config and print the network as built, the batch arithmetic and the warnings.

    Args:
        config_path: a YAML file.
        overrides: `key=value` pairs.
        data_dir: where datasets lie (default: BNEXP_DATA, else `data`); without `signal`, only a set of your own is
            looked for.
        signal: push a batch through the fresh network and print what becomes of signal and gradient, layer by layer.

    Raises:
        ConfigError: the config is wrong.
        BnexpError: the dataset is corrupt.
    """
    config = load_config(config_path, overrides)
    blueprint = draw(config, data_folder(data_dir))
    plan, warnings = blueprint.plan, blueprint.warnings

    from bnexp.inspection.outline import outline
    from bnexp.models.build import build_model

    network = build_model(blueprint.layout, config.init, config.seed)
    rows = outline(network, blueprint.info.shape, config.model.bias)
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(_table(config, rows))
        _print_plan(console, config, plan, warnings)
        if signal:
            _print_signal(console, blueprint, data_folder(data_dir))
        return
    text = io.StringIO()
    plain = Console(file=text, highlight=False)
    plain.out(_plain(rows), highlight=False)
    _print_plan(plain, config, plan, warnings)
    if signal:
        _print_signal(plain, blueprint, data_folder(data_dir))
    write_out(text.getvalue())


def _print_plan(console: Console, config: Config, plan: Plan, warnings: Sequence[str]) -> None:
    console.out(_arithmetic(config, plan), highlight=False)
    for warning in warnings:
        console.print(f"[yellow]warning:[/] {escape(visible_lines(warning))}", soft_wrap=not console.is_terminal)


_TITLES = ("item", "output", "parameters", "")


def _cells(rows: "Sequence[OutlineRow]") -> list[tuple[str, str, str, str]]:
    cells = [
        (row.name, " x ".join(map(str, row.shape)), f"{row.parameters:,}" if row.parameters else "", row.note)
        for row in rows
    ]
    return [*cells, ("total", "", f"{sum(row.parameters for row in rows):,}", "")]


def _table(config: Config, rows: "Sequence[OutlineRow]") -> Table:
    table = Table(
        title=f"{config.name}: {escape(visible(config.model.block))}", title_justify="left", box=None, pad_edge=False
    )
    for name, justify in zip(_TITLES, ("left", "right", "right", "left"), strict=True):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in _cells(rows):
        table.add_row(*row)
    return table


def _plain(rows: "Sequence[OutlineRow]") -> str:
    cells = [_TITLES, *_cells(rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    lines = (f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}" for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def _arithmetic(config: Config, plan: Plan) -> str:
    """Return the counts of examples, batches and steps in words."""
    short = plan.last_batch if plan.last_batch < plan.batch_size else 0
    full = plan.steps_per_epoch - bool(short)
    left_out = plan.train_examples - (full * plan.batch_size + short)
    batches = f"{full:,} x {plan.batch_size}" + (f" + 1 x {short}" if short else "")
    dropped = f", {left_out} examples left out of each epoch (data.drop_last)" if left_out else ""
    evaluations = plan.evaluations_until(plan.total_steps)
    epochs = f"{plan.epoch_at(plan.total_steps):.4g}"
    return "\n".join(
        (
            f"data      {config.data.dataset}: {plan.train_examples:,} to train on, {plan.val_examples:,} to validate "
            f"on, {plan.test_examples:,} to test on",
            f"batches   {batches} = {_counted(plan.steps_per_epoch, 'step')} per epoch{dropped}",
            f"training  {_counted(plan.total_steps, 'step')} in {epochs} epochs, {_counted(evaluations, 'evaluation')}",
        )
    )


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def _print_signal(console: Console, blueprint: Blueprint, data_dir: Path) -> None:
    """Print a row per layer with bars for signal and gradient, and what both come to over the depth."""
    from bnexp.inspection.propagation import measure_propagation
    from bnexp.training.build import build

    # On the CPU and as it stands: what an initialization does needs neither a lower precision nor a compiler.
    config = blueprint.config
    training = config.training.model_copy(update={"precision": "fp32", "compile": False})
    plain = dataclasses.replace(blueprint, config=config.model_copy(update={"training": training}))
    rows = measure_propagation(build(plain, data_dir=data_dir, device="cpu"))
    console.out(
        f"\nsignal    the first batch of {config.data.batch_size}, forward and backward, before any training",
        highlight=False,
    )
    if console.is_terminal:
        console.print(_signal_table(rows, console.width))
    else:
        console.out(_plain_signal(rows), highlight=False)
    for line in _growth_in_words(rows):
        console.print(line, soft_wrap=not console.is_terminal, markup=False)


_SIGNAL_TITLES = ("layer", "std", "rank", "dead", "gradient norm")


def _signal_cells(rows: "Sequence[LayerPropagation]") -> list[tuple[str, str, str, str, str]]:
    return [
        (
            row.layer,
            f"{row.std:.3g}",
            f"{row.effective_rank:.1f}",
            "" if row.dead_fraction is None else f"{row.dead_fraction:.0%}",
            f"{row.gradient_norm:.3g}",
        )
        for row in rows
    ]


def _plain_signal(rows: "Sequence[LayerPropagation]") -> str:
    cells = [_SIGNAL_TITLES, *_signal_cells(rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_SIGNAL_TITLES))]
    return "\n".join(
        "  ".join(f"{cell:{'<' if column == 0 else '>'}{widths[column]}}" for column, cell in enumerate(row)).rstrip()
        for row in cells
    )


def _signal_table(rows: "Sequence[LayerPropagation]", width: int) -> Table:
    """Return the rows with bars on a logarithmic scale, as long as the terminal's width allows."""
    cells = _signal_cells(rows)
    taken = sum(max(len(row[column]) for row in (_SIGNAL_TITLES, *cells)) + 2 for column in range(5))
    room = min((width - taken) // 2 - 2, 24)
    room = room if room >= _LEAST_BAR else 0
    stds = log_bars([row.std for row in rows], room)
    gradients = log_bars([row.gradient_norm for row in rows], room)
    table = Table(box=None, pad_edge=False)
    bar = [""] if room else []
    for title in ("layer", "std", *bar, "rank", "dead", "gradient norm", *bar):
        table.add_column(title, justify="left" if title in ("layer", "") else "right", overflow="fold")
    for (layer, std, rank, dead, gradient), *lengths in zip(cells, stds, gradients, strict=True):
        signal, back = (
            [Text(length, style=style)] if room else [] for length, style in zip(lengths, _BARS, strict=True)
        )
        table.add_row(layer, std, *signal, rank, dead, gradient, *back)
    return table


def _growth_in_words(rows: "Sequence[LayerPropagation]") -> list[str]:
    """Say what becomes of the signal on its way up and of the gradient on its way down, over the hidden layers."""
    from bnexp.inspection.propagation import growth

    hidden = rows[:-1]
    lines = []
    ways = {
        "signal": ("up from the first hidden layer to the last", [row.std for row in hidden]),
        "gradient": ("down from the last hidden layer to the first", [row.gradient_norm for row in reversed(hidden)]),
    }
    for name, (way, values) in ways.items():
        if not all(0 < value < math.inf for value in values):
            fate = "vanishes: it is 0 somewhere" if all(map(math.isfinite, values)) else "explodes: it is not finite"
            lines.append(f"{name:<9} {way} it {fate}")
            continue
        if len(values) < 2:
            continue
        grown = growth(values)
        lines.append(
            f"{name:<9} x {grown.per_layer:.3f} a layer {way}, x {grown.total:.3g} in all: it {_fate(grown.total)}"
        )
    return lines


def _fate(factor: float) -> str:
    """Say in a word what a factor from the first hidden layer to the last means."""
    if max(factor, 1 / factor) < _NEAR:
        return "keeps its size, roughly"
    if max(factor, 1 / factor) < _FAR:
        return "grows" if factor > 1 else "shrinks"
    return "explodes" if factor > 1 else "vanishes"
