"""All that a run needs to go on as if it had never stopped, as tensors and plain values, and its way back."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from bnexp.config.loading import dump_config
from bnexp.config.randomness import derive_seed
from bnexp.norms.random_stream import RandomStream
from bnexp.probes.evaluation import Score
from bnexp.store.form import Each, Maybe, Tensors, refuse_other_form
from bnexp.store.metrics import Rows
from bnexp.store.writers import Writers
from bnexp.training.build import Experiment
from bnexp.training.device import DEVICE_WORDS
from bnexp.training.divergence import Divergence
from bnexp.training.optimizer import optimizer_state_like
from bnexp.training.progress import Best, Evaluated, Progress
from bnexp.training.random_states import put_random_states, random_states
from bnexp.training.weights import put_weights, weights_of

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
