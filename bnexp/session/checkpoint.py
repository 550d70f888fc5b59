"""The state of a run between two steps: gathered for a checkpoint, and put into a freshly built run."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NamedTuple

import torch

from bnexp.config.randomness import derive_seed
from bnexp.config.section import is_due
from bnexp.measure.restore import put_random_states, put_weights, random_states, streams_of, weights_of
from bnexp.runs.checkpoints import CheckpointFolder
from bnexp.runs.rows import MetricsWriter, Rows, Writers
from bnexp.training.build import TrainingRun
from bnexp.training.device import DEVICE_WORDS
from bnexp.training.optimizer import load_optimizer_state, optimizer_state, optimizer_state_like
from bnexp.training.progress import Progress
from bnexp.training.state import Anything, Maybe, OrAbsent, Tensors, refuse_other_form

State = dict[str, Any]


def state_of(run: TrainingRun, progress: Progress, rows: Rows) -> State:
    """Return the state of a run between two steps, with what metrics.jsonl holds until there.

    The learning rate, the order of the data and its augmentation are functions of the seed and the step alone: the step
    is their whole state.
    """
    return {
        "step": progress.steps,
        **{name: part.state for name, part in _parts(run).items()},
        "progress": progress.state_dict(),
        "rows": asdict(rows),
        "config": run.config_text,
        "dataset": run.dataset.fingerprint,
        "device": run.device.type,
    }


def restore_run(run: TrainingRun, state: State) -> None:
    """Put a freshly built run in a state, all but its progress, which is only checked here.

    Random states are those of one kind of device: on another, dropout and noise continue with streams that begin here.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: the state is not of this run.
    """
    parts = _parts(run)
    if state["device"] != run.device.type:
        parts |= _parts_on_another_device(run, state["step"])
    progress = Progress.start(run, Writers([]))
    form = state_of(run, progress, Rows(0, 0, "")) | {name: part.form for name, part in parts.items()}
    form["progress"] = progress.state_form()
    form["progress"]["best"].form["weights"] = form["weights"]
    refuse_other_form(state, form)
    if state["device"] not in DEVICE_WORDS:
        raise ValueError(f"device: found {state['device']}, expected one of {', '.join(DEVICE_WORDS)}")
    if state["step"] > run.plan.total_steps:
        raise ValueError(f"step: found {state['step']}, expected at most {run.plan.total_steps}")
    for name, part in parts.items():
        part.load(state[name])


class _Part(NamedTuple):
    """A part of a run's state: what it is now, what a stored one must look like, and how that is loaded."""

    state: Any
    form: Any
    load: Callable[[Any], object]


def _parts(run: TrainingRun) -> dict[str, _Part]:
    """Return the parts of a run's state beside its progress, by their names in the file."""
    network, optimizer, scaler = run.network, run.train_step.optimizer, run.train_step.scaler
    weights, groups, generators = weights_of(network), optimizer_state(optimizer), random_states(run.device)
    streams, unused_stream = streams_of(network), torch.Generator(run.device).get_state()
    probes = run.probes.state_dict()

    def set_streams(states: State) -> None:
        for name, stream in streams.items():
            stream.set_state(states[name])

    parts = {
        "weights": _Part(weights, weights, lambda state: put_weights(network, state)),
        "optimizer": _Part(
            groups,
            # There is none before the first step, for SGD without momentum, and of what no loss depends on.
            {
                "param_groups": Anything(),
                "state": {n: OrAbsent(kept) for n, kept in optimizer_state_like(optimizer).items()},
            },
            lambda state: load_optimizer_state(optimizer, state),
        ),
        "scaler": _Part(scaler.state_dict(), scaler.state_dict(), scaler.load_state_dict),
        "streams": _Part(
            {name: stream.get_state() for name, stream in streams.items()},
            dict.fromkeys(streams, Maybe(unused_stream)),
            set_streams,
        ),
        "random": _Part(
            generators,
            {**generators, "python": [*generators["python"][:2], Maybe(0.0)]},  # `random.gauss` keeps a second value
            lambda state: put_random_states(state, run.device),
        ),
        "probes": _Part(
            probes,
            dict.fromkeys(probes, Tensors()),
            lambda state: run.probes.load_state_dict(state, run.device),
        ),
    }
    if (average := run.train_step.average) is not None:
        parts["ema"] = _Part(average.state_dict(), average.state_dict(), average.load_state_dict)
    return parts


def _parts_on_another_device(run: TrainingRun, step: int) -> dict[str, _Part]:
    """Return the parts that differ where a run moved to another kind of device after a step."""

    def reseed(state: object) -> None:
        for stream in streams_of(run.network).values():
            stream.reseed(derive_seed(stream.seed, "after", step))

    generators = _parts(run)["random"]
    return {
        "streams": _Part({}, Anything(), reseed),
        "random": generators._replace(
            form={**generators.form, "device": Anything()},
            load=lambda state: put_random_states(state, torch.device("cpu")),
        ),
    }


MOST_SHARE = 0.05
"""Part of the time of a training on a GPU that regular checkpoints may take."""


class Checkpointer:
    """Writes a checkpoint every so many epochs, and every so many minutes where epochs are long.

    Rows are flushed to the disk before a checkpoint that follows them. On a GPU an epoch can be over sooner than its
    checkpoint: there, one is left out where they would take more than `MOST_SHARE` of the time.
    """

    def __init__(self, run: TrainingRun, folder: CheckpointFolder, rows: MetricsWriter) -> None:
        self._run, self._folder, self._rows = run, folder, rows
        when = run.config.checkpoints
        self._every_epochs, self._every_s = when.every_epochs, 60 * when.every_minutes
        self._saved_at = time.monotonic()
        self._least_s = 0.0  # until the next regular one
        self._stored_best: int | None = None

    def save_if_due(self, progress: Progress) -> None:
        """Save where the config asks for it after this step; after the last one of the plan it does not."""
        plan, step, since = self._run.plan, progress.steps, time.monotonic() - self._saved_at
        regularly = since >= self._least_s and is_due(step, self._every_epochs, plan.steps_per_epoch)
        if (since >= self._every_s or regularly) and step < plan.total_steps:
            self.save(progress)

    def save(self, progress: Progress) -> None:
        """Write a checkpoint of where the run stands, and the best weights where they are new.

        Raises:
            OSError: the disk is full, the folder is gone, ...; the checkpoints before are whole.
        """
        progress.log.catch_up()
        begun = time.monotonic()
        with progress.clock.saving():
            self._folder.save(progress.steps, state_of(self._run, progress, self._rows.flushed()))
            best = progress.best
            if best is not None and best.evaluated.step != self._stored_best:
                self._folder.save_best(best.evaluated.step, best.weights, self._run.config_text)
                self._stored_best = best.evaluated.step
        self._saved_at = time.monotonic()
        self._least_s = (self._saved_at - begun) / MOST_SHARE if self._run.device.type != "cpu" else 0.0
