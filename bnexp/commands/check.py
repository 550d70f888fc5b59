"""`bnexp check`: what a config means, without training."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bnexp.config.degenerate import refuse_degenerate
from bnexp.config.lint import warnings_of
from bnexp.config.loading import load_config
from bnexp.config.plan import Plan, make_plan
from bnexp.config.schema import Config
from bnexp.sources.info import dataset_info
from bnexp.sources.place import data_folder

if TYPE_CHECKING:
    from bnexp.training.outline import OutlineRow


def check(config_path: Path, *, overrides: Sequence[str] = (), data_dir: Path | None = None) -> None:
    """Validate a config and print the network as built, the batch arithmetic and the warnings.

    Args:
        config_path: a YAML file.
        overrides: `key=value` pairs.
        data_dir: where datasets lie (default: BNEXP_DATA, else `data`); only a set of your own is looked for.

    Raises:
        ConfigError: the config is wrong.
    """
    config = load_config(config_path, overrides)
    info = dataset_info(config.data, data_folder(data_dir))
    plan = make_plan(config, info)
    refuse_degenerate(config, info)

    from bnexp.models.build import build_model
    from bnexp.training.outline import outline

    network = build_model(config.model, config.init, info.shape, info.classes, config.seed)
    rows = outline(network, info.shape, config.model.bias)
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(_table(config, rows))
    else:
        print(_plain(rows))
    print(_arithmetic(config, plan))
    for warning in [*info.notes, *warnings_of(config, plan)]:
        console.print(f"[yellow]warning:[/] {escape(warning)}", soft_wrap=not console.is_terminal)


_TITLES = ("item", "output", "parameters", "")


def _cells(rows: "Sequence[OutlineRow]") -> list[tuple[str, str, str, str]]:
    cells = [
        (row.name, " x ".join(map(str, row.shape)), f"{row.parameters:,}" if row.parameters else "", row.note)
        for row in rows
    ]
    return [*cells, ("total", "", f"{sum(row.parameters for row in rows):,}", "")]


def _table(config: Config, rows: "Sequence[OutlineRow]") -> Table:
    table = Table(title=f"{config.name}: {escape(config.model.block)}", title_justify="left", box=None, pad_edge=False)
    for title, justify in zip(_TITLES, ("left", "right", "right", "left"), strict=True):
        table.add_column(title, justify=justify, overflow="fold")  # type: ignore[arg-type]
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
