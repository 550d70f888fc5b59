"""Probes on a network at rest: on any run as it stands, and on the stored weights of a run after its training."""

import operator
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from bnexp.blueprint import Blueprint, draw
from bnexp.config.loading import check_stored
from bnexp.config.wording import one_of
from bnexp.config.yaml_text import read_yaml
from bnexp.data.sources.place import moved
from bnexp.errors import BnexpError, ConfigError, did_you_mean
from bnexp.inspection.learned_from import on_other_data, refuse_other_data
from bnexp.measure.evaluation import inference_mode_of
from bnexp.measure.machine import numbers_of
from bnexp.measure.restore import put_weights, restored, undisturbed, weights_of
from bnexp.measure.subject import Look
from bnexp.models.build import build_model
from bnexp.probes.probe import Probe, scalars_of
from bnexp.probes.registry import PROBES, Due
from bnexp.runs.checkpoints import BEST, DamagedCheckpoint, load_checkpoint
from bnexp.runs.data import where_data_lay
from bnexp.runs.folder import CHECKPOINTS, newest_checkpoints, unreadable_checkpoints
from bnexp.runs.identity import first_difference
from bnexp.runs.seal import load_stored
from bnexp.training.build import TrainingRun, build
from bnexp.training.device import computing_as
from bnexp.training.divergence import FINITE, first_non_finite

EXPENSIVE = ("evaluation_modes", "coupling", "landscape", "invariance", "cost")
"""The probes asked by default: those that cost too much to run often while a network trains."""
EXAMPLES = 256
"""Of the validation part, on which values are looked through for what is not finite."""
HISTOGRAMS = "histograms"
CLASSES = "classes"
"""Asked like a probe: the test set class by class."""


def probe_once(run: TrainingRun, probes: Sequence[Probe], taken: int) -> dict[str, float]:
    """Return the figures of probes at the step that would come after `taken` steps; the network stays as it is.

    The batch and the learning rate are those of that step; after the last step of the plan, the rate of the last one.
    """
    lr, due = run.learning_rate(min(taken + 1, run.plan.total_steps)), Due(probes)
    run.network.train()
    with undisturbed(run.network):
        look = Look(run.subject, taken + 1, lr, *run.last_batch(taken + 1))
        due.before(look)
        run.train_step.gradients(look.x, look.y)
        readings = due.after_backward(look)
    run.train_step.optimizer.zero_grad()
    scalars = scalars_of([*readings, *due.after_step(look)])
    return dict(zip(scalars, numbers_of([*scalars.values()]), strict=True))


@dataclass(frozen=True)
class Figures:
    """The figures of probes for the weights after `step` steps, by `quantity/where`, and what is not finite of them."""

    step: int
    figures: dict[str, float]
    strange: str = ""
    """which values are not finite, and which stored weights are"""
    on_data: str = ""
    """that they are of other data than the run learned from, where they are"""


def probe_run(
    folder: Path,
    *,
    probes: Sequence[str] = (),
    weights: str = "final",
    overrides: Sequence[str] = (),
    data_dir: Path = Path("data"),
    device: str = "auto",
) -> Figures:
    """Measure the stored weights of a run with some probes, as at the step that would come next; nothing is written.

    No names of probes stand for the expensive ones; weights are final, best, ema (averaged) or step0, step1 and so on,
    those of a stored checkpoint; overrides are pairs
    `key=value` over the run's own config, such as `probes.coupling.draws=32`; the device is auto, cpu, cuda, cuda:N or
    mps.

    Raises:
        ConfigError: an unknown probe, or one that measures a step; what the config asks for cannot be.
        BnexpError: the run has no such weights, or they are damaged, or do not fit the config.
    """
    for name in probes:
        _refuse_what_needs_more(name)
    chosen = list(probes or EXPENSIVE)
    options = [*_switched_on(folder, chosen), *overrides]
    run, step = open_stored(folder, weights=weights, overrides=options, data_dir=data_dir, device=device)
    asked = [PROBES[name](getattr(run.config.probes, name)) for name in chosen]
    with computing_as(run.config.training):
        figures = probe_once(run, asked, step)
        return Figures(step, figures, strange_values(folder, run), on_other_data(folder, run.config, run.dataset))


def strange_values(folder: Path, run: TrainingRun) -> str:
    """Say which values of a network are not finite, and which stored weights of its run are; nothing where all are."""
    place = _not_finite(run)
    if not place:
        return ""
    paths = [*newest_checkpoints(folder), folder / CHECKPOINTS / BEST]
    others = (path.stem for path in paths if path.exists() and _is_finite(path, run))
    found, last = f"what these weights give is not finite, first in the {place}", next(others, None)
    if last is None:
        return f"{found}, and no finite weights are stored there"
    return f"{found}. The last that are finite: --weights {last}"


def _is_finite(path: Path, run: TrainingRun) -> bool:
    with restored(weights_of(run.network).values()):
        try:
            put_weights(run.network, load_checkpoint(path)["weights"])
        except (DamagedCheckpoint, ValueError):
            return False
        return not _not_finite(run)


def _not_finite(run: TrainingRun) -> str:
    """Name the first values of a network that are not finite, in inference, then in training; none where all are."""
    inference, training = run.dataset.val_inputs(EXAMPLES), run.batches.at(0)[0]
    for mode, x in ((inference_mode_of(run.network), inference), (nullcontext(), training)):
        with run.precision, mode:
            found = first_non_finite(run.network, run.items, x)
        if found != FINITE:
            return f"{found[1]} of {found[0]}"
    return ""


def open_stored(
    folder: Path, *, weights: str, overrides: Sequence[str], data_dir: Path, device: str
) -> tuple[TrainingRun, int]:
    """Return a run with its stored weights, and how many steps made them; arguments and errors as of `probe_run`."""
    blueprint, stored = _drawn(folder, weights, overrides, data_dir)
    run = build(blueprint, data_dir=data_dir, device=device)
    refuse_other_data(folder, run, stored.get("dataset"), overrides)
    return run, _put(folder, run.network, stored)


@dataclass(frozen=True)
class StoredNetwork:
    """The network of a run with stored weights, on the CPU and in inference mode, and how many steps made them."""

    network: nn.Module
    step: int
    blueprint: Blueprint


def network_of(folder: Path, *, weights: str, data_dir: Path) -> StoredNetwork:
    """Return the network of a run with its stored weights; arguments and errors as of `probe_run`.

    A published dataset need not be there.
    """
    blueprint, stored = _drawn(folder, weights, (), data_dir)
    network = build_model(blueprint.layout, blueprint.config.init, blueprint.config.seed)
    step = _put(folder, network, stored)
    return StoredNetwork(network.eval(), step, blueprint)


def _drawn(folder: Path, weights: str, overrides: Sequence[str], data_dir: Path) -> tuple[Blueprint, dict[str, Any]]:
    """Return the blueprint of a run, and what is stored with the weights that were asked for."""
    config, _ = load_stored(folder, [*overrides, "training.compile=false", "training.graph=off"])
    config = config.model_copy(update={"data": moved(config.data, data_dir)})
    stored = _stored(folder, weights)
    _refuse_another_run(folder, stored.get("config"))
    try:
        return draw(config, data_dir), stored
    except ConfigError as error:
        raise ConfigError(f"{error}{where_data_lay(folder)}") from None


def _put(folder: Path, network: nn.Module, stored: dict[str, Any]) -> int:
    """Give a network the stored weights, and return how many steps made them."""
    try:
        put_weights(network, stored["weights"])
        return operator.index(stored["step"])
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:  # a file may hold anything
        raise BnexpError(f"{folder}: the stored weights are not of this network: {error}") from None


def _refuse_another_run(folder: Path, config: object) -> None:
    """Refuse weights that were stored under another config, a text; best weights of earlier versions have none."""
    if not isinstance(config, str):
        return
    own, (values, _) = load_stored(folder)[0], read_yaml(config, "the config in the checkpoint")
    try:
        theirs = check_stored(values, (), "the config in the checkpoint")
    except ConfigError:
        return  # of another version of bnexp
    if other := first_difference(own, theirs.model_copy(update={"probes": own.probes})):
        key, here, there = other
        raise BnexpError(f"{folder}: the stored weights are of another run: {key} is {here}, and was {there} in theirs")


def _stored(folder: Path, which: str) -> dict[str, Any]:
    """Return step and weights; averaged ones (ema) are those of the last step, with its running statistics."""
    stored = load_checkpoint(_path_of(folder, "final" if which == "ema" else which), needs=("step", "weights"))
    if which != "ema":
        return stored
    if "ema" not in stored:
        raise BnexpError(f"{folder}: no averaged weights are stored there; training.ema averages them")
    return {**stored, "weights": {**stored["weights"], **stored["ema"]["weights"]}}


def _path_of(folder: Path, weights: str) -> Path:
    """Return the file of the stored weights: the final ones are in the last checkpoint."""
    try:
        newest = newest_checkpoints(folder)
    except OSError as error:
        raise BnexpError(unreadable_checkpoints(folder, error)) from None
    paths = {"final": next(iter(newest), None), "best": folder / CHECKPOINTS / BEST}
    paths |= {path.stem: path for path in newest}
    stored = {name: path for name, path in paths.items() if path is not None and path.exists()}
    if weights in stored:
        return stored[weights]
    if stored:
        raise BnexpError(f"{folder}: no {weights} weights are stored there, but --weights {one_of(list(stored))}")
    raise BnexpError(f"{folder}: no weights are stored there; a run stores them with each checkpoint")


def _switched_on(folder: Path, names: Sequence[str]) -> list[str]:
    """Return overrides that give each probe a time to look, and keep the options that it had in the run."""
    scheduled = load_stored(folder)[0].probes.schedules()
    return [f"probes.{name}.at=[1]" if name in scheduled else f"probes.{name}={{at: [1]}}" for name in names]


def _refuse_what_needs_more(name: str) -> None:
    if name not in (*PROBES, CLASSES):
        known = [*(other for other, kind in PROBES.items() if not kind.needs_step and other != HISTOGRAMS), CLASSES]
        raise ConfigError(f'unknown probe "{name}".{did_you_mean(name, known)} Known: {", ".join(known)}')
    if name == CLASSES:
        raise ConfigError(f"--probe {CLASSES} gives a table of its own; expected it alone, without another --probe")
    if PROBES[name].needs_step:
        raise ConfigError(f"probe {name} measures what a step of the optimizer does, and stored weights take none")
    if name == HISTOGRAMS:
        raise ConfigError("probe histograms gives pictures for TensorBoard and no figures")
