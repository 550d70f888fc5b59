"""How fast a training runs on this machine, and how fast it would run computed in other ways, measured for a moment."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bnexp.blueprint import Blueprint
from bnexp.config.schema import Config, TrainingConfig
from bnexp.errors import BnexpError
from bnexp.measure.machine import forget_peak, peak_mib, synchronize
from bnexp.models.build import memory_format_of
from bnexp.runs.rows import Writers
from bnexp.training.build import TrainingRun, build
from bnexp.training.compiling import warm_up
from bnexp.training.device import check_precision, computing_as
from bnexp.training.evaluation import score_of
from bnexp.training.graph import way_of
from bnexp.training.loop import steps
from bnexp.training.progress import Progress

_MEASURED_S, _WARMING_STEPS = 0.5, 3
_SCORES_AT_END = 2
"""Passes over the test set at the end of a run, each about as long as one over the validation part."""


@dataclass(frozen=True)
class Moment:
    """What a few steps of a training and one pass over its validation part took, in seconds."""

    step_s: float
    evaluation_s: float


@dataclass(frozen=True)
class Way:
    """A way of computing: the keys of `training` that differ from the config's, and threads of the CPU if others."""

    changes: Mapping[str, Any]
    threads: int | None = None

    @property
    def label(self) -> str:
        """What a person types for it; nothing for the config as it stands."""
        typed = [f"training.{key}={str(value).lower()}" for key, value in self.changes.items()]
        return " ".join([*typed, *([f"OMP_NUM_THREADS={self.threads}"] if self.threads else [])])


@dataclass(frozen=True)
class Speed:
    """How fast a training is in one way of computing.

    Attributes:
        way: what differs from the config.
        moment: what was measured; None where this machine or network refuses that way.
        examples_per_s: of the training.
        run_s: estimated for the whole training, compilation, evaluations and the scores at its end included.
        compile_s: that compilation took; None without any.
        device_mib: largest memory on a GPU; None on the CPU.
        refusal: why there is no measurement.
    """

    way: Way
    moment: Moment | None = None
    examples_per_s: float | None = None
    run_s: float | None = None
    compile_s: float | None = None
    device_mib: float | None = None
    refusal: str = ""


def moment_of(run: TrainingRun, seconds: float = _MEASURED_S) -> Moment:
    """Take steps of a training for so many seconds, the first few uncounted, and score its validation part once."""
    progress, take = Progress.start(run, Writers([])), way_of(run)  # recorded once, among the steps that do not count
    clock = progress.clock

    def steps_for(least_s: float, least: int) -> float:
        """Return the mean time of a step; evaluations between the steps are left out of it."""
        first, since, trained_s = progress.steps, time.perf_counter(), clock.training_s
        enough = lambda: time.perf_counter() - since >= least_s and progress.steps - first >= least  # noqa: E731
        for stretch in steps(run, progress, stop=enough, ahead=take is not None):
            stretch.seen = take(stretch) if take else None
        synchronize(run.device)
        return (clock.training_s - trained_s) / max(progress.steps - first, 1)

    warming_s = steps_for(0, _WARMING_STEPS)
    step_s = steps_for(seconds, 1) if progress.steps < run.plan.total_steps else warming_s
    since = time.perf_counter()
    score_of(run, run.dataset.val)
    return Moment(step_s, time.perf_counter() - since)


def ways_of(config: Config, device: torch.device, cores: int) -> list[Way]:
    """Return the ways of computing that are worth a measurement on a device: first the config as it stands.

    On the CPU each changes one thing: the precision, the compiler, the memory format, half as many threads and so on
    down to one; and both precision and compiler. On CUDA every precision comes with and without the compiler, and the
    step with and without a recorded graph.
    """
    training, ways = config.training, [Way({})]
    compilers: list[dict[str, Any]] = [{}]
    if not any(item.kind.draws for item in config.model.items):  # which no compiled graph can hold
        compilers.append({"compile": not training.compile})
    precisions: list[dict[str, Any]] = [{}]
    for precision in ("fp32", "tf32", "bf16", "fp16"):
        asked = training.model_copy(update={"precision": precision})
        if precision != training.precision and not _is_refused(asked, device):
            precisions.append({"precision": precision})
    ways += [Way(precision | compiler) for precision in precisions for compiler in compilers][1:]
    if config.model.arch != "mlp":
        last = memory_format_of(config.model, training, device) is torch.channels_last
        ways.append(Way({"memory_format": "contiguous" if last else "channels_last"}))
    if device.type == "cuda":
        other = Way({"graph": "off" if training.graph != "off" else "auto"})
        return [*ways, other, Way({"deterministic": not training.deterministic})]
    threads = torch.get_num_threads()
    return [*ways, *(Way({}, count) for count in _halves(cores) if count != threads)]


def speeds_of(blueprint: Blueprint, data_dir: Path, device: torch.device, ways: list[Way]) -> Iterator[Speed]:
    """Measure a training in some ways of computing, one after the other; nothing is written."""
    for way in ways:
        training = TrainingConfig.model_validate(blueprint.config.training.model_dump() | dict(way.changes))
        config = blueprint.config.model_copy(update={"training": training})
        try:
            with _threads(way.threads), computing_as(training):
                speed = _speed_of(replace(blueprint, config=config), data_dir, device, way)
        except (BnexpError, RuntimeError) as error:  # the latter: a kernel that is not there, or too little memory
            speed = Speed(way, refusal=str(error).partition("\n")[0])
        yield speed


def _speed_of(blueprint: Blueprint, data_dir: Path, device: torch.device, way: Way) -> Speed:
    forget_peak(device)
    run, plan = build(blueprint, data_dir=data_dir, device=str(device)), blueprint.plan
    compile_s = warm_up(run.train_step, run.batches, plan) if run.train_step.compiled else None
    moment = moment_of(run)
    evaluations = plan.evaluations_until(plan.total_steps) + _SCORES_AT_END
    return Speed(
        way,
        moment,
        examples_per_s=plan.train_examples / plan.steps_per_epoch / moment.step_s,
        run_s=(compile_s or 0.0) + plan.total_steps * moment.step_s + evaluations * moment.evaluation_s,
        compile_s=compile_s,
        device_mib=peak_mib(device)["device"],
    )


def _is_refused(training: TrainingConfig, device: torch.device) -> bool:
    try:
        check_precision(training, device)
    except BnexpError:
        return True
    return False


def _halves(cores: int) -> Iterator[int]:
    """Yield the number of cores, half of it, and so on to 1."""
    while cores:
        yield cores
        cores //= 2


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
