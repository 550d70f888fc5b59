"""The state of a run between two steps: gathered for a checkpoint, and put into a freshly built run."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bnexp.config.loading import dump_config
from bnexp.config.randomness import derive_seed
from bnexp.measure.restore import put_weights, streams_of, weights_of
from bnexp.probes.registry import Probes
from bnexp.runs.checkpoints import CheckpointFolder
from bnexp.runs.rows import MetricsWriter, Rows, Writers
from bnexp.training.build import TrainingRun
from bnexp.training.device import DEVICE_WORDS
from bnexp.training.optimizer import optimizer_state_like
from bnexp.training.progress import Progress
from bnexp.training.state import Anything, Maybe, OrEmpty, Stateful, Tensors, form_of, refuse_other_form

State = dict[str, Any]


def state_of(run: TrainingRun, progress: Progress, rows: Rows) -> State:
    """Return the state of a run between two steps.

    The learning rate, the order of the data and its augmentation are functions of the seed and the step alone: the step
    is their whole state.

    Args:
        run: its network, optimizer, loss scaling, random streams and probes.
        progress: how far it has come.
        rows: what metrics.jsonl holds until here.
    """
    return {
        "step": progress.steps,
        **{name: part.state_dict() for name, part in _parts(run).items()},
        "progress": progress.state_dict(),
        "rows": asdict(rows),
        "config": dump_config(run.config),
        "dataset": run.dataset.fingerprint,
        "device": run.device.type,
    }


def restore_run(run: TrainingRun, state: State) -> None:
    """Put a freshly built run in a state, all but its progress, which is only checked here.

    Random states are those of one kind of device: on another, dropout and noise continue with streams that begin here.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: the state is not of this run.
    """
    if state["device"] == run.device.type:
        parts = _parts(run)
    else:
        parts = _parts(run) | {"streams": _NewStreams(run.network, state["step"]), "random": _RandomStates(None)}
    progress = Progress.start(run, Writers([]))
    form = state_of(run, progress, Rows(0, 0, "")) | {name: form_of(part) for name, part in parts.items()}
    form["progress"] = progress.state_form()
    form["progress"]["best"].form["weights"] = form["weights"]
    refuse_other_form(state, form)
    if state["device"] not in DEVICE_WORDS:
        raise ValueError(f"device: found {state['device']}, expected one of {', '.join(DEVICE_WORDS)}")
    if state["step"] > run.plan.total_steps:
        raise ValueError(f"step: found {state['step']}, expected at most {run.plan.total_steps}")
    for name, part in parts.items():
        part.load_state_dict(state[name])


def _parts(run: TrainingRun) -> dict[str, Stateful]:
    """Return what a checkpoint keeps of a run beside its progress, by the names in the file."""
    return {
        "weights": _Weights(run.network),
        "optimizer": _OptimizerState(run.train_step.optimizer),
        "scaler": run.train_step.scaler,
        "streams": _Streams(run.network, run.device),
        "random": _RandomStates(run.device),
        "probes": _ProbeStates(run.probes, run.device),
    }


@dataclass(frozen=True)
class _Weights:
    """Parameters and buffers."""

    network: nn.Module

    def state_dict(self) -> State:
        return weights_of(self.network)

    def load_state_dict(self, state: State) -> None:
        put_weights(self.network, state)


@dataclass(frozen=True)
class _OptimizerState:
    """What the optimizer keeps of each parameter, such as its momentum."""

    optimizer: Optimizer

    def state_dict(self) -> State:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: State) -> None:
        # What else a group holds is the config's, and the learning rate is set before each step.
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state["state"]})

    def state_form(self) -> State:
        # There is none before the first step, nor for SGD without momentum.
        return {**self.optimizer.state_dict(), "state": OrEmpty(optimizer_state_like(self.optimizer))}


@dataclass(frozen=True)
class _Streams:
    """Where the random streams of dropout and noise stand, by the module's name."""

    network: nn.Module
    device: torch.device

    def state_dict(self) -> State:
        return {name: stream.get_state() for name, stream in streams_of(self.network).items()}

    def load_state_dict(self, state: State) -> None:
        for name, stream in streams_of(self.network).items():
            stream.set_state(state[name])

    def state_form(self) -> State:
        return dict.fromkeys(streams_of(self.network), Maybe(torch.Generator(self.device).get_state()))


@dataclass(frozen=True)
class _NewStreams:
    """The random streams of a run that moved to another kind of device, where stored states mean nothing."""

    network: nn.Module
    step: int

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State) -> None:
        for stream in streams_of(self.network).values():
            stream.reseed(derive_seed(stream.seed, "after", self.step))

    def state_form(self) -> Anything:
        return Anything()


@dataclass(frozen=True)
class _RandomStates:
    """The generators of the process; without a device, all but that of the device."""

    device: torch.device | None

    def state_dict(self) -> State:
        return random_states(self.device)

    def load_state_dict(self, state: State) -> None:
        put_random_states(state, self.device)

    def state_form(self) -> State:
        form = random_states(self.device)
        form["python"][2] = Maybe(0.0)  # kept by `random.gauss` for its next call
        return form if self.device is not None else form | {"device": Anything()}


@dataclass(frozen=True)
class _ProbeStates:
    """What each probe keeps from one look to the next."""

    probes: Probes
    device: torch.device

    def state_dict(self) -> State:
        return self.probes.state_dict()

    def load_state_dict(self, state: State) -> None:
        self.probes.load_state_dict(state, self.device)

    def state_form(self) -> State:
        return dict.fromkeys(self.probes.state_dict(), Tensors())


def random_states(device: torch.device | None) -> State:
    """Return the states of torch's generators (CPU and device), Python's and NumPy's, as tensors and plain values."""
    version, words, gauss = random.getstate()
    numpy: Any = np.random.get_state(legacy=False)
    keys = torch.from_numpy(numpy["state"]["key"].astype(np.int64))
    return {
        "torch": torch.get_rng_state(),
        "device": _state_on(device),
        "python": [version, list(words), gauss],
        "numpy": {**numpy, "state": {**numpy["state"], "key": keys}},
    }


def put_random_states(states: Mapping[str, Any], device: torch.device | None) -> None:
    """Let the generators continue where `random_states` found them."""
    torch.set_rng_state(states["torch"])
    if device is not None and states["device"] is not None:
        if device.type == "cuda":
            torch.cuda.set_rng_state(states["device"], device)
        elif device.type == "mps":
            torch.mps.set_rng_state(states["device"])
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    numpy = states["numpy"]
    keys = numpy["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": keys}})


def _state_on(device: torch.device | None) -> Tensor | None:
    if device is not None and device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device is not None and device.type == "mps" else None


class Checkpointer:
    """Writes a checkpoint every so many epochs, and every so many minutes where epochs are long.

    Args:
        run: whose state is kept.
        folder: takes the checkpoints.
        rows: are flushed to the disk before a checkpoint that follows them.
        now: the time in seconds; an argument so that tests need not wait.
    """

    def __init__(
        self,
        run: TrainingRun,
        folder: CheckpointFolder,
        rows: MetricsWriter,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run, self._folder, self._rows, self._now = run, folder, rows, now
        self._saved_at = now()
        self._stored_best: int | None = None

    def is_due(self, step: int) -> bool:
        """Tell whether a checkpoint is due after this step, counted from 1; the last one of the plan is not."""
        when, plan = self._run.config.checkpoints, self._run.plan
        waited = self._now() - self._saved_at >= 60 * when.every_minutes
        return step < plan.total_steps and (waited or plan.regularly_at(step, when.every_epochs))

    def save(self, progress: Progress) -> None:
        """Write a checkpoint of where the run stands, and the best weights where they are new.

        Raises:
            OSError: the disk is full, the folder is gone, ...; the checkpoints before are whole.
        """
        with progress.clock.saving():
            self._folder.save(progress.steps, state_of(self._run, progress, self._rows.flushed()))
            best = progress.best
            if best is not None and best.evaluated.step != self._stored_best:
                self._folder.save_best(best.evaluated.step, best.weights)
                self._stored_best = best.evaluated.step
        self._saved_at = self._now()
