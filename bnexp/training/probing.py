"""Probes on the stored weights of a run, after its training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from bnexp.config.loading import load_config
from bnexp.config.schema import Config
from bnexp.errors import BnexpError, ConfigError, did_you_mean
from bnexp.probes.probe import Look, Probe
from bnexp.probes.registry import PROBES
from bnexp.probes.undisturbed import undisturbed
from bnexp.store.checkpoint import CHECKPOINTS, load_checkpoint
from bnexp.store.run_folder import CONFIG
from bnexp.training.build import Experiment, build
from bnexp.training.device import reproducible
from bnexp.training.weights import put_weights

EXPENSIVE = ("evaluation_modes", "coupling", "landscape", "invariance", "cost")
"""What a stored network is asked when nothing else is said: what costs too much to be looked at on the way."""


@dataclass(frozen=True)
class Probed:
    """What the probes say of the weights after `step` steps, by `quantity/where`."""

    step: int
    figures: dict[str, float]


def probe_run(
    folder: Path,
    *,
    probes: Sequence[str] = (),
    weights: str = "final",
    overrides: Sequence[str] = (),
    data_dir: Path = Path("data"),
    device: str = "auto",
) -> Probed:
    """Look at the stored weights of a run with some probes, as at the step that would come next; nothing is written.

    Args:
        folder: of the run.
        probes: names; empty for the expensive ones.
        weights: final or best.
        overrides: `key=value` pairs over the run's own config, such as `probes.coupling.draws=32`.
        data_dir: where datasets lie.
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        ConfigError: an unknown probe, or one that measures a step; what the config asks for cannot be.
        BnexpError: the run has no such weights, or they are damaged, or do not fit the config.
    """
    chosen = [name for name in probes or EXPENSIVE if _probe_of(name)]
    config = load_config(folder / CONFIG, [*_switched_on(folder, chosen), *overrides])
    path = folder / CHECKPOINTS / f"{weights}.pt"
    if not path.exists():
        raise BnexpError(f"{folder}: no {weights} weights are stored there; a run stores them when it has finished")
    stored = load_checkpoint(path)
    run = build(config, data_dir=data_dir, device=device)
    _put(run, stored["weights"], folder)
    with reproducible():
        return Probed(stored["step"], _figures(run, config, chosen, stored["step"]))


def _switched_on(folder: Path, names: Sequence[str]) -> list[str]:
    """Return overrides that give each probe a time to look, and keep the options that it had in the run."""
    scheduled = load_config(folder / CONFIG).probes.schedules()
    return [f"probes.{name}.at=[1]" if name in scheduled else f"probes.{name}={{at: [1]}}" for name in names]


def _probe_of(name: str) -> type[Probe]:
    if name not in PROBES:
        raise ConfigError(f'unknown probe "{name}".{did_you_mean(name, PROBES)} Known: {", ".join(PROBES)}')
    if PROBES[name].needs_step:
        raise ConfigError(f"probe {name} measures what a step of the optimizer does, and stored weights take none")
    if name == "histograms":
        raise ConfigError("probe histograms gives pictures for TensorBoard and no figures")
    return PROBES[name]


def _put(run: Experiment, weights: dict[str, Tensor], folder: Path) -> None:
    try:
        put_weights(run.network, weights)
    except (KeyError, RuntimeError):
        raise BnexpError(f"{folder}: the stored weights do not fit the network of its {CONFIG}") from None


def _figures(run: Experiment, config: Config, names: list[str], step: int) -> dict[str, float]:
    """Go through the moments of a step without taking it."""
    chosen = [PROBES[name](getattr(config.probes, name)) for name in names]
    look = Look(run.subject, step + 1, config.optimizer.lr, *run.batches.at(step))
    run.network.train()
    with undisturbed(run.network):
        for probe in chosen:
            probe.before(look)
        with run.precision:
            logits = run.network(look.x)
        functional.cross_entropy(logits.float(), look.y).backward()
        readings = [probe.after_backward(look) for probe in chosen]
    run.optimizer.zero_grad()
    readings += [probe.after_step(look) for probe in chosen]
    scalars = {name: value for reading in readings for name, value in reading.scalars.items()}
    return dict(zip(scalars, torch.stack([value.float() for value in scalars.values()]).tolist(), strict=True))
