"""Holds what was read against the form that it must have, place by place."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bnexp.config.loading import dump_config
from bnexp.config.randomness import derive_seed
from bnexp.measure.evaluation import Score
from bnexp.measure.weights import put_weights, weights_of
from bnexp.norms.random_stream import RandomStream
from bnexp.runs.checkpoints import CheckpointFolder
from bnexp.runs.rows import MetricsWriter, Rows, Writers
from bnexp.training.build import Experiment
from bnexp.training.device import DEVICE_WORDS
from bnexp.training.divergence import Divergence
from bnexp.training.optimizer import optimizer_state_like
from bnexp.training.progress import Best, Evaluated, Progress

_MOST = 2**63


@dataclass(frozen=True)
class Maybe:
    """None, or what has this form."""

    form: Any


@dataclass(frozen=True)
class Each:
    """A sequence of any length, whose every value has this form."""

    form: Any


class Tensors:
    """A mapping of any keys to tensors of any kind."""


def refuse_other_form(found: Any, form: Any, place: str = "") -> None:
    """Refuse what has not the form of an example.

    Mappings must have its keys, sequences its length, tensors its dtype and shape, and all else its type; a whole
    number is 0 or more. `Maybe`, `Each` and `Tensors` leave it open.

    Raises:
        ValueError: the first place that differs, what is there and what was expected.
    """
    if isinstance(form, Maybe):
        if found is not None:
            refuse_other_form(found, form.form, place)
    elif isinstance(form, Each):
        _expect(isinstance(found, list | tuple), found, "several values", place)
        for number, value in enumerate(found):
            refuse_other_form(value, form.form, _below(place, number))
    elif isinstance(form, Tensors):
        tensors = isinstance(found, dict) and all(isinstance(value, Tensor) for value in found.values())
        _expect(tensors, found, "tensors", place)
    elif isinstance(form, dict):
        _expect(isinstance(found, dict), found, "keys and values", place)
        for key in [*form, *found]:
            _expect(key in found, "nothing", "a value", _below(place, key))
            _expect(key in form, found[key], "nothing", _below(place, key))
            refuse_other_form(found[key], form[key], _below(place, key))
    elif isinstance(form, list | tuple):
        alike = isinstance(found, list | tuple) and len(found) == len(form)
        _expect(alike, found, f"{len(form)} values", place)
        for number, value in enumerate(found):
            refuse_other_form(value, form[number], _below(place, number))
    else:
        _expect(_words(found) == _words(form), found, _words(form), place)
        _expect(not isinstance(found, int) or 0 <= found < _MOST, found, "a whole number from 0", place)


def _below(place: str, key: object) -> str:
    return f"{place}.{key}" if place else str(key)


def _expect(held: bool, found: Any, expected: str, place: str) -> None:
    if not held:
        shown = _words(found) if isinstance(found, Tensor) else str(found)[:40]
        raise ValueError(f"{place}: found {shown}, expected {expected}")


def _words(value: Any) -> str:
    """Return the kind of a value: of a tensor its dtype and shape, of anything else its type."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return type(value).__name__


def random_states(device: torch.device) -> dict[str, Any]:
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


def put_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Let the generators go on where `random_states` found them."""
    torch.set_rng_state(states["torch"])
    if states["device"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(states["device"], device)
    elif states["device"] is not None and device.type == "mps":
        torch.mps.set_rng_state(states["device"])
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    numpy = states["numpy"]
    keys = numpy["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": keys}})


def _state_on(device: torch.device) -> torch.Tensor | None:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None


State = dict[str, Any]


def state_of(run: Experiment, progress: Progress, rows: Rows) -> State:
    """Return the state of a run between two steps.

    The learning rate, the order of the data and its augmentation are functions of the seed and the step alone: the step
    is their whole state.

    Args:
        run: the experiment.
        progress: how far it has come.
        rows: what metrics.jsonl holds until here.
    """
    return {
        "step": progress.steps,
        "weights": weights_of(run.network),
        "optimizer": run.optimizer.state_dict(),
        "scaler": run.scaler.state(),
        "streams": {name: stream.state() for name, stream in _streams(run.network).items()},
        "random": random_states(run.device),
        "probes": {name: probe.state() for name, probe in run.probes.by_name.items()},
        "progress": _of_progress(progress),
        "rows": asdict(rows),
        "config": dump_config(run.config),
        "dataset": run.dataset.fingerprint,
        "device": run.device.type,
    }


def restore_run(run: Experiment, state: Mapping[str, Any]) -> None:
    """Put network, optimizer, loss scaling, probes and random streams of a freshly built run where they were.

    Random states are those of one kind of device: on another, dropout and noise go on with streams that begin here.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: the state is not of this run.
    """
    refuse_other_form(state, _form_for(run, state))
    if state["device"] not in DEVICE_WORDS:
        raise ValueError(f"device: found {state['device']}, expected one of {', '.join(DEVICE_WORDS)}")
    if state["step"] > run.plan.total_steps:
        raise ValueError(f"step: found {state['step']}, expected at most {run.plan.total_steps}")
    put_weights(run.network, state["weights"])
    # What else a group holds is the config's, and the learning rate is set before each step.
    run.optimizer.load_state_dict({**run.optimizer.state_dict(), "state": state["optimizer"]["state"]})
    run.scaler.go_on_at(state["scaler"])
    same_device = state["device"] == run.device.type
    for name, stream in _streams(run.network).items():
        if same_device:
            stream.go_on_at(state["streams"][name])
        else:
            stream.begin_anew(derive_seed(stream.seed, "after", state["step"]))
    put_random_states(state["random"], run.device if same_device else torch.device("cpu"))
    for name, probe in run.probes.by_name.items():
        probe.go_on_at({key: kept.to(run.device) for key, kept in state["probes"][name].items()})


def _form_for(run: Experiment, state: Mapping[str, Any]) -> State:
    """Return an example of what `state_of` gives for a run, open where that depends on how far the run has come."""
    form = state_of(run, Progress.start(run, Writers([])), Rows(0, 0, ""))
    evaluated, steps = asdict(Evaluated(0, Score(0.0, 0.0))), Each((0.0, 0.0, 0))
    form["progress"] |= {
        "log": {"since_row": steps, "recent": steps},
        "last": Maybe(evaluated),
        "best": Maybe({"evaluated": evaluated, "weights": form["weights"]}),
        "divergence": Maybe(asdict(Divergence(0, 0.0, "", "")) | {"poisoned": Each("")}),
    }
    form["probes"] = dict.fromkeys(form["probes"], Tensors())
    form["random"]["python"][2] = Maybe(0.0)  # kept by `random.gauss` for its next call
    if state["optimizer"]["state"]:  # there is none before the first step, nor for SGD without momentum
        form["optimizer"]["state"] = optimizer_state_like(run.optimizer)
    if state["device"] == run.device.type:
        form["streams"] = dict.fromkeys(form["streams"], Maybe(torch.Generator(run.device).get_state()))
    else:  # they are not taken up
        form["streams"], form["random"]["device"] = state["streams"], state["random"]["device"]
    return form


def restore_progress(progress: Progress, whole: Mapping[str, Any], device: torch.device) -> None:
    """Put the progress of a run where it was; copies of weights go to the device."""
    progress.steps, state = whole["step"], whole["progress"]
    progress.log.go_on_at(state["log"])
    progress.clock.go_on_at(state["clock"])
    progress.skipped, progress.skipped_in_a_row = state["skipped"], state["skipped_in_a_row"]
    progress.last = _evaluated(state["last"]) if state["last"] else None
    if best := state["best"]:
        weights = {name: tensor.to(device) for name, tensor in best["weights"].items()}
        progress.best = Best(_evaluated(best["evaluated"]), weights)
    progress.divergence = Divergence(**state["divergence"]) if state["divergence"] else None
    progress.sound, progress.ended = state["sound"], state["ended"]


def _of_progress(progress: Progress) -> State:
    best = progress.best
    return {
        "log": progress.log.state(),
        "clock": progress.clock.state(),
        "skipped": progress.skipped,
        "skipped_in_a_row": progress.skipped_in_a_row,
        "last": asdict(progress.last) if progress.last else None,
        "best": {"evaluated": asdict(best.evaluated), "weights": best.weights} if best else None,
        "divergence": asdict(progress.divergence) if progress.divergence else None,
        "sound": progress.sound,
        "ended": progress.ended,
    }


def _evaluated(values: Mapping[str, Any]) -> Evaluated:
    return Evaluated(values["step"], Score(**values["score"]))


def _streams(network: nn.Module) -> dict[str, RandomStream]:
    """Return the random streams of the modules (dropout, noise) by the module's name."""
    found = {name: getattr(module, "stream", None) for name, module in network.named_modules()}
    return {name: stream for name, stream in found.items() if isinstance(stream, RandomStream)}


class Checkpointer:
    """Writes a checkpoint every so many epochs, and every so many minutes where epochs are long.

    Args:
        run: the experiment.
        folder: takes the checkpoints.
        rows: what a checkpoint counts on is flushed to the disk before it.
        now: the time in seconds; an argument so that tests need not wait.
    """

    def __init__(
        self,
        run: Experiment,
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
