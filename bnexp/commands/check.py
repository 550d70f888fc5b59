"""`bnexp check`: what a config means, without training."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bnexp.blueprint import Blueprint, Drawn, draw, draw_files, refuse_warnings
from bnexp.config.data_section import DatasetInfo, are_unequal
from bnexp.config.division import of_several_processes
from bnexp.config.packaged import file_name
from bnexp.config.plan import Plan
from bnexp.config.schema import Config
from bnexp.data.sources.place import data_folder
from bnexp.document.show import Output, show, show_document
from bnexp.document.table import Cell, Column, Table, facts, word
from bnexp.document.values import Heading, Part, Text
from bnexp.document.writing import counted
from bnexp.errors import BnexpError, ConfigError, Interrupted
from bnexp.processes import usable_cores
from bnexp.streams import encodable
from bnexp.sweep.checking import Checked, check_file, files_at, is_sweep_file

if TYPE_CHECKING:
    import torch

    from bnexp.inspection.outline import OutlineRow
    from bnexp.inspection.propagation import Growth, LayerPropagation, Theory

_NEAR, _FAR = 5.0, 100.0
"""Growth from the first hidden layer to the last: below the one it is called none, beyond the other an explosion."""
_STEP = 1.5
"""Growth from a layer to the next, on the geometric mean, from which on a few layers are too few to call it none."""
_FAR_FROM_A_GUESS = 1.2
"""A loss beyond this multiple of ln(classes) is not that of a network without an opinion."""
_MANY = 0.2
"""Fraction of saturated values or dead units that is worth a sentence."""
_ALIKE = 0.2
"""Below this part of the first layer's rank, the last layer tells the examples apart much worse."""
_LABELS = len("saturated")
"""Letters of the words at the beginning of lines."""


def check(
    configs: Path | Sequence[Path],
    *,
    overrides: Sequence[str] = (),
    data_dir: Path | None = None,
    device: str = "auto",
    signal: bool = False,
    speed: bool = False,
    strict: bool = False,
    output: Output = "table",
) -> None:
    """Validate a config and print the network as built, the batch arithmetic and the warnings; of several, a line each.

    The arguments are those of `bnexp check --help`.

    Raises:
        ConfigError: a config or sweep is wrong, or its speed cannot be measured where `train` refuses it; or with
            `strict` there is a warning, after all is printed.
        BnexpError: none is wrong, but the data of one are broken.
        Interrupted: by Ctrl-C amid the measurements of speed, after all is printed that was measured.
    """
    files = files_at([configs] if isinstance(configs, Path) else configs)
    if len(files) == 1 and output == "table" and not is_sweep_file(files[0]):
        [drawn] = draw_files(files, overrides, data_dir)
        warnings = _show_config(drawn, data_folder(data_dir), device, signal=signal, speed=speed)
    elif signal or speed:
        option, found = "--signal" if signal else "--speed", "a sweep" if is_sweep_file(files[0]) else "--json"
        found = counted(len(files), "file") if len(files) > 1 else found
        raise ConfigError(f"{option} shows one config; expected a single CONFIG without --json, found {found}")
    else:
        warnings = _list_files([check_file(path, overrides, data_dir, device) for path in files], output)
    if strict:
        refuse_warnings(warnings)


def _show_config(drawn: Drawn, data_dir: Path, device: str, *, signal: bool, speed: bool) -> int:
    """Print what a config comes to, and return how many warnings there are. Raises as `check` does."""
    from bnexp.inspection.outline import outline
    from bnexp.models.build import without_numbers
    from bnexp.training.device import choose_device, refusals_on
    from bnexp.training.room import doubts_about_memory, memory_line

    blueprint = drawn.blueprints[0]
    config = blueprint.config
    rows = outline(without_numbers(blueprint.layout), blueprint.layout, config.model.bias)
    chosen = choose_device(device)
    refused = refusals_on(chosen, config)
    if speed and refused:
        raise ConfigError(f"--speed trains for a moment, which is refused on this machine: {'; '.join(refused)}")
    warnings = [*blueprint.warnings, *doubts_about_memory(blueprint, chosen)]
    document: list[Part] = [
        Heading(f"{config.name}: {config.model.block}"),
        _outline_table(rows),
        facts(
            [*_arithmetic(config, blueprint.plan, blueprint.info), *_needs(blueprint, memory_line(blueprint, chosen))]
        ),
        *(Text(note, lead="note") for note in drawn.notes),
        *(Text(f"on this machine, refused by train: {why}", lead="note") for why in refused),
        *(Text(warning, lead="warning") for warning in warnings),
    ]
    if signal:
        document += _signal(blueprint, data_dir)
    measured, cut = _speed(blueprint, data_dir, chosen) if speed else ([], False)
    show_document([*document, *measured])
    if cut:
        raise Interrupted("interrupted" + ("; the table has what was measured until then" if measured else ""))
    return len(warnings)


def _list_files(checked: Sequence[Checked], output: Output) -> int:
    """Print a line for each file, and return how many warnings there are.

    Raises:
        ConfigError: a file is wrong.
        BnexpError: none is wrong, but the data of one are broken.
    """
    table = _file_table(checked)
    if output == "table":
        show_document([table, *(remark for file in checked for remark in _remarks(file))])
    else:
        show(table, output)
    if errors := [file.error for file in checked if file.error]:
        kind = ConfigError if any(isinstance(error, ConfigError) for error in errors) else BnexpError
        raise kind(f"{len(errors)} of {counted(len(checked), 'file')} cannot be trained")
    return sum(len(file.warnings) for file in checked)


def _remarks(checked: Checked) -> list[Text]:
    """Return the warnings and the error of a file, each with its name."""
    file, error = file_name(checked.path), str(checked.error)
    if checked.error is None:
        return [Text(f"{file}: {warning}", lead="warning") for warning in checked.warnings]
    return [Text(error if error.startswith(f"{file}:") else f"{file}: {error}", lead="error")]


def _file_table(checked: Sequence[Checked]) -> Table:
    columns = (
        Column("file", "file"),
        Column("status", "status"),
        Column("kind", "kind", give_up=0),
        Column("name", "name", audience="machines"),
        Column("arms", "arms", "number", audience="machines"),
        Column("runs", "runs", "number", give_up=1),
        Column("parameters", "parameters", "number", give_up=3),
        Column("steps", "steps", "number", give_up=2),
        *(Column(key, key, audience="machines") for key in ("warnings", "notes", "error")),
    )
    rows = []
    for file in checked:
        counts = {key: getattr(file, key) for key in ("arms", "runs", "parameters", "steps")}
        texts = {"file": file_name(file.path), "status": file.status, "kind": file.kind}
        rows.append(
            {
                **{key: word(text) for key, text in texts.items()},
                "name": Cell(value=file.name),
                **{key: Cell() if count is None else Cell(f"{count:,}", count) for key, count in counts.items()},
                "warnings": Cell(value=list(file.warnings)),
                "notes": Cell(value=list(file.notes)),
                "error": Cell(value=str(file.error) if file.error else None),
            }
        )
    by_status = {status: sum(file.status == status for file in checked) for status in ("ok", "warnings", "wrong")}
    summary = f"{by_status['ok']} ok, {by_status['warnings']} with warnings, {by_status['wrong']} wrong"
    return Table(columns, tuple(rows), (f"{counted(len(checked), 'file')}: {summary}",))


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


def _needs(blueprint: Blueprint, memory: str | None) -> list[tuple[str, str]]:
    """Return the facts on several processes and on memory, where there are any."""
    several = [("processes", f"where several train one run, {said}") for said in of_several_processes(blueprint.layout)]
    return [*several, *([("memory", memory)] if memory else [])]


def _arithmetic(config: Config, plan: Plan, info: DatasetInfo) -> list[tuple[str, str]]:
    """Return the counts of examples, batches and steps."""
    short = plan.last_batch if plan.last_batch < plan.batch_size else 0
    full = plan.batches_per_epoch - bool(short)
    left_out = plan.train_examples - (full * plan.batch_size + short)
    batches = f"{full:,} x {plan.batch_size}" + (f" + 1 x {short}" if short else "")
    dropped = f", {left_out} examples left out of each epoch (data.drop_last)" if left_out else ""
    evaluations = plan.evaluations_until(plan.total_steps)
    number = f"{plan.epoch_at(plan.total_steps):.4g}"
    epochs = f"{number} epoch{'' if number == '1' else 's'}"
    parts = (
        f"{plan.train_examples:,} to train on, {plan.val_examples:,} to validate on, {plan.test_examples:,} to test on"
    )
    count = plan.batches_per_epoch
    what = counted(count, "step") if plan.accumulate == 1 else f"{count:,} batch{'es' if count > 1 else ''}"
    return [
        ("data", f"{config.data.dataset}: {parts}"),
        *(("files", line) for line in (info.account.lines() if info.account else ())),
        *(("note", note) for note in info.notes),
        ("classes", _classes(info)),
        ("batches", f"{batches} = {what} per epoch{dropped}"),
        *([("steps", _accumulated(plan))] if plan.accumulate > 1 else []),
        (
            "training",
            f"{counted(plan.total_steps, 'step')} in {epochs}, {counted(evaluations, 'evaluation')}",
        ),
    ]


def _accumulated(plan: Plan) -> str:
    """Return how batches add up to steps of the optimizer, and over how many examples each takes its means."""
    full, left = divmod(plan.batches_per_epoch, plan.accumulate)
    steps = " + ".join([*([f"{full:,} x {plan.accumulate}"] if full else []), *([f"1 x {left}"] if left else [])])
    sizes = f"statistics of {plan.batch_size} examples, gradients of {plan.step_size}"
    return f"{steps} batches = {counted(plan.steps_per_epoch, 'step')} of the optimizer per epoch; {sizes}"


def _classes(info: DatasetInfo) -> str:
    """Return how the classes share the examples, and how often the best guess without looking is right."""
    guess = f"guessing the most frequent is right for {info.guess:.1%}"
    if not info.class_counts:
        return f"{info.classes}, with equally many examples; a guess is right for {info.guess:.1%}"
    kind = "unequal, where balanced accuracy tells more" if are_unequal(info.class_counts) else "about equal"
    return f"{info.classes}, of {min(info.class_counts):,} to {max(info.class_counts):,} examples, {kind}; {guess}"


def _speed(blueprint: Blueprint, data_dir: Path, device: "torch.device") -> tuple[list[Part], bool]:
    """Train for a moment in each way of computing, and say on standard error which.

    Returns:
        The table of what was measured, and whether Ctrl-C ended that early.
    """
    from bnexp.data.load import load_dataset
    from bnexp.inspection.speed import Speed, speeds_of, ways_of
    from bnexp.inspection.speed_table import AS_IT_STANDS, speed_table
    from bnexp.training.device import device_name

    load_dataset(blueprint.config.data, blueprint.info, blueprint.plan, data_dir, device)  # refused once, not each time
    ways, speeds, cut = ways_of(blueprint.config, device, usable_cores()), list[Speed](), False
    try:
        for number, way in enumerate(ways, start=1):
            compiles = way.changes.get("compile", blueprint.config.training.compile)
            what = f"{way.label or AS_IT_STANDS}{', which takes a minute' if compiles else ''}"
            sys.stderr.write(encodable(f"measuring {number} of {len(ways)}: {what}\n", sys.stderr.encoding))
            speeds += speeds_of(blueprint, data_dir, device, [way])
    except KeyboardInterrupt:
        cut = True
    return [Heading(f"Speed on {device_name(device)}"), speed_table(blueprint, speeds)] if speeds else [], cut


def _signal(blueprint: Blueprint, data_dir: Path) -> list[Part]:
    """Return a row per layer with bars for signal and gradient, and what all of it comes to."""
    import torch

    from bnexp.config.memory import memory_of
    from bnexp.inspection.propagation import measure_propagation, theory_of
    from bnexp.training.build import build
    from bnexp.training.room import free_bytes, refuse_beyond

    config, cpu = blueprint.config, torch.device("cpu")
    needed = memory_of(config, blueprint.plan, blueprint.layout)
    of_one_batch = 2 * needed.weights + needed.batch  # the weights, their gradients and the activations
    expected = "expected a smaller network or batch, or check without --signal"
    refuse_beyond(free_bytes(cpu), of_one_batch, "--signal builds the network, which", expected)
    # On the CPU and as it stands: what an initialization does needs neither a lower precision nor a compiler.
    training = config.training.model_copy(
        update={"precision": "fp32", "compile": False, "graph": "off", "accumulate": 1}
    )
    plain = draw(config.model_copy(update={"training": training}), data_dir)  # one batch a step
    measured = measure_propagation(build(plain, data_dir=data_dir, device="cpu"))
    batch = f"the first batch of {config.data.batch_size}, forward and backward, before any training"
    if config.training.precision != "fp32":
        batch += f", in fp32: what {config.training.precision} rounds or overflows is not in these figures"
    closed = any(block.zero_gamma or block.skip_gain for block in blueprint.layout.blocks)
    lines = [
        ("loss", _loss(measured.loss, blueprint.info.classes)),
        *_growth_facts(measured.layers, theory_of(blueprint), closed=closed),
        *_unit_facts(measured.layers, config.data.batch_size),
    ]
    return [
        Heading("The fresh network"),
        facts([("signal", batch)], least=_LABELS),
        _signal_table(measured.layers),
        facts(lines, least=_LABELS),
    ]


def _signal_table(layers: "Sequence[LayerPropagation]") -> Table:
    """Return a row per layer: what it and the items after it give out, and the gradient of its weight."""
    saturated = any(layer.saturated_fraction is not None for layer in layers)
    dead = any(layer.dead_fraction is not None for layer in layers)
    columns = (
        Column("output", "output of"),
        Column("std", "std", "number"),
        Column("std_bar", "log scale", "bar"),
        Column("rank", "rank", "number", give_up=1),
        *([Column("saturated", "saturated", "number")] if saturated else []),
        *([Column("dead", "dead", "number")] if dead else []),
        Column("layer", "gradient of", give_up=0),
        Column("gradient_norm", "norm", "number"),
        Column("gradient_norm_bar", "log scale", "bar"),
    )
    rows = [
        {
            "output": word(layer.output),
            "std": Cell(f"{layer.std:.3g}", layer.std),
            "std_bar": Cell("", layer.std),
            "rank": Cell(f"{layer.effective_rank:.1f}", layer.effective_rank),
            "saturated": _fraction_cell(layer.saturated_fraction),
            "dead": _fraction_cell(layer.dead_fraction),
            "layer": word(layer.layer.rpartition(".")[2]),
            "gradient_norm": Cell(f"{layer.gradient_norm:.3g}", layer.gradient_norm),
            "gradient_norm_bar": Cell("", layer.gradient_norm),
        }
        for layer in layers
    ]
    return Table(columns, tuple(rows))


def _fraction_cell(fraction: float | None) -> Cell:
    return Cell("" if fraction is None else f"{fraction:.0%}", fraction)


def _loss(loss: float, classes: int) -> str:
    """Compare the loss before any training with that of a guess among all classes."""
    guess = math.log(classes)
    both = f"{loss:.3f} before any training; a guess among {classes} classes has ln({classes}) = {guess:.3f}"
    if not math.isfinite(loss):
        return f"{loss} before any training: the logits are too large for a loss"
    if loss > guess * _FAR_FROM_A_GUESS:
        return f"{both}: the network is sure of wrong answers, its logits are too large; a smaller init.gain helps"
    return f"{both}: it starts as it should, without an opinion"


def _growth_facts(
    layers: "Sequence[LayerPropagation]", theory: "Theory | None", *, closed: bool
) -> list[tuple[str, str]]:
    """Describe how the signal grows on its way up and the gradient on its way down, over the hidden layers.

    Where branches start `closed`, at 0 by their gamma or gain, what is 0 there is left out.
    """
    from bnexp.inspection.propagation import growth

    hidden = layers[:-1]
    lines = []
    ways = (
        ("signal", "up from the first hidden layer to the last", [row.std for row in hidden], theory and theory.signal),
        (
            "gradient",
            "down from the last hidden layer to the first",
            [row.gradient_norm for row in reversed(hidden)],
            theory and theory.gradient,
        ),
    )
    for name, way, all_values, known in ways:
        values = [value for value in all_values if value or not closed]
        way += ", past the branches that start at 0" if len(values) < len(all_values) else ""
        if not all(0 < value < math.inf for value in values):
            fate = "vanishes: it is 0 somewhere" if all(map(math.isfinite, values)) else "explodes: it is not finite"
            lines.append((name, f"{way} it {fate}"))
        elif len(values) > 1:
            grown = growth(values)
            expected = f" ({_beside(theory, name, known, values)})" if theory and known else ""
            both = f"x {grown.per_layer:.3f} a layer{expected} {way}, x {grown.total:.3g} in all"
            saturated = sum(row.saturated_fraction or 0 for row in hidden) / len(hidden)
            clipped = name == "signal" and saturated >= _MANY
            lines.append((name, f"{both}: it {_fate(grown, values, clipped=clipped)}"))
    return lines


def _beside(theory: "Theory", name: str, known: float, values: Sequence[float]) -> str:
    """Write what theory says; of a gradient with what is measured without the first layer, of which it says nothing."""
    from bnexp.inspection.propagation import growth

    said = f"theory: x {known:.3f}, {theory.source}"
    if name == "signal":
        return said
    inner = f"x {growth(list(values[:-1])).per_layer:.3f} to the second; " if len(values) > 2 else ""
    return f"{inner}{said}, but for the first, whose input is the image"


def _fate(grown: "Growth", values: Sequence[float], *, clipped: bool) -> str:
    """Name what becomes of a figure from the first of the hidden layers to the last, over its values at all of them."""
    factor, step = grown.total, grown.per_layer
    if max(factor, 1 / factor) < _NEAR and max(step, 1 / step) < _STEP:
        least, most = min(values) / values[0], max(values) / values[0]
        if most / least >= _NEAR:
            return f"ends about as it began, and lies between x {least:.3g} and x {most:.3g} of that on its way"
        return "keeps its size only by being clipped" if clipped else "keeps its size, roughly"
    if max(factor, 1 / factor) < _FAR:
        return "grows" if factor > 1 else "shrinks"
    return "explodes" if factor > 1 else "vanishes"


def _unit_facts(layers: "Sequence[LayerPropagation]", batch_size: int) -> list[tuple[str, str]]:
    """Say where most units are saturated or dead, and how well the last hidden layer tells the examples apart."""
    hidden, lines = layers[:-1], []
    clipped = (
        "of the values lie where the slope has nearly vanished: clipped, they stay in range and pass no gradient on"
    )
    silent = "of the units are 0 for every example of the batch, and learn nothing from it"
    for name, key, meaning in (("saturated", "saturated_fraction", clipped), ("dead", "dead_fraction", silent)):
        worst = max(hidden, key=lambda layer: getattr(layer, key) or 0.0, default=None)
        if worst is not None and (most := getattr(worst, key) or 0.0) >= _MANY:
            lines.append((name, f"up to {most:.0%}, at {worst.output}, {meaning}"))
    if not hidden or not math.isfinite(hidden[-1].std):
        return lines
    if math.isnan(hidden[-1].effective_rank):
        lines.append(("rank", f"no difference between the {batch_size} examples is left behind the last hidden layer"))
    elif math.isfinite(hidden[0].effective_rank):
        first, last = hidden[0].effective_rank, hidden[-1].effective_rank
        alike = ": the examples have come to look alike" if last < _ALIKE * first else ""
        lines.append(
            (
                "rank",
                f"the {batch_size} examples differ in {last:.1f} directions behind the last hidden layer, in "
                f"{first:.1f} behind the first{alike}",
            )
        )
    return lines
