"""Stacked seeds: a step of K networks of the MLP as one, beside a step of one, by itself and as a stack of one.

Each seed trains as under `bnexp sweep --stack K`, with batches, rows, looks and checkpoints of its own. Steps count
after the first few, on a GPU when the step of the stack is recorded as a CUDA graph. All batches are full.
"""

import contextlib
import statistics
import time
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.ours import NOWHERE, Session, session_of
from benchmarks.report import Report, Terms, table
from benchmarks.turns import is_ready, say, why
from benchmarks.workloads import WORKLOADS
from bnexp.blueprint import Blueprint, draw
from bnexp.data.load import keep_dataset
from bnexp.measure.machine import forget_peak, synchronize
from bnexp.session.lockstep import Outcome, train_together
from bnexp.session.signals import StopRequest
from bnexp.training.ahead import Stretch
from bnexp.training.build import build
from bnexp.training.clock import Clock
from bnexp.training.device import choose_device
from bnexp.training.loop import steps
from bnexp.training.stacked import Stack

SEEDS, SEEDS_ON_GPU = (4, 16), (4, 16, 64)
"""Sizes of the stacks beside one of one."""
STEPS, STEPS_ON_GPU = 210, 610
UNCOUNTED = 10
"""First steps, which do not count in any case."""
ROUNDS = 3


class Watch:
    """Notes when the steps of trainings begin to count, and what their times are then and at the last step.

    All trainings are as far as the last of them, whose steps are shown.
    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._sessions = sessions
        self._noted = list[dict[str, float]]()

    def show(self, step: int, clock: Clock) -> None:
        """Take note of a finished step."""
        run = self._sessions[-1].run
        uncounted = min(UNCOUNTED, run.plan.total_steps // 2)
        if step == run.plan.total_steps or (not self._noted and step >= uncounted and is_ready(run, 1)):
            synchronize(run.device)
            totals = [session.progress.clock.state_dict() for session in self._sessions]
            aside = sum(total[key] for total in totals for key in ("measuring_s", "evaluation_s", "checkpoint_s"))
            self._noted.append({"step": step, "now": time.perf_counter(), "aside": aside})

    def figures(self) -> tuple[float, float]:
        """Return milliseconds a step of all trainings, and those of the steps alone."""
        if len(self._noted) < 2:
            raise RuntimeError("no step counts: none was ready before the last")
        first, last = self._noted
        count, passed = last["step"] - first["step"], last["now"] - first["now"]
        return 1000 * passed / count, 1000 * (passed - (last["aside"] - first["aside"])) / count


def _life(session: Session, watch: Watch | None) -> Generator[Stretch, None, None]:
    show = watch.show if watch else lambda step, clock: None
    yield from steps(session.run, session.progress, show, session.checkpointer.save_if_due, ahead=True, alone=False)


def timed(blueprint: Blueprint, device: str, way: str) -> tuple[float, float]:
    """Return milliseconds a step of all, and of the steps alone: of one seed `alone`, or of a stack of so many."""
    seeds = 1 if way == "alone" else int(way)
    with contextlib.ExitStack() as stack:
        runs = [build(blueprint.with_seed(seed), data_dir=NOWHERE, device=device) for seed in range(seeds)]
        sessions = [stack.enter_context(session_of(run)) for run in runs]
        forget_peak(runs[0].device)
        watch = Watch(sessions)
        if way == "alone":
            sessions[0].train(watch.show, say)
        elif seeds == 1:
            take = Stack(runs, note=say)
            for stretch in _life(sessions[0], watch):
                take([stretch])
        else:
            _train_together(sessions, watch)
        for session in sessions:
            session.end()
    return watch.figures()


def _train_together(sessions: Sequence[Session], watch: Watch) -> None:
    def ended(number: int, outcome: Outcome) -> None:
        if isinstance(outcome, Exception):
            raise outcome

    lives: Any = [_life(session, watch if session is sessions[-1] else None) for session in sessions]
    train_together(lives, StopRequest(), ended, sessions[0].run.config.training, say)


def stacked(name: str, terms: Terms) -> Report:
    """Time one seed and stacks of several, in alternation; one that fails says so, and the others go on."""
    on_gpu = terms.device.startswith("cuda")
    length = terms.steps or (2 * UNCOUNTED if terms.small else STEPS_ON_GPU if on_gpu else STEPS)
    full = ("data.drop_last=true", *terms.overrides)
    blueprint = draw(WORKLOADS["mlp"].config_on(replace(terms, steps=length, overrides=full)), NOWHERE)
    config, batch = blueprint.config, blueprint.plan.batch_size
    keep_dataset(config.data, blueprint.info, blueprint.plan, NOWHERE, choose_device(terms.device))
    sizes = (2,) if terms.small else SEEDS_ON_GPU if on_gpu else SEEDS
    found, failed = defaultdict[str, list[tuple[float, float]]](list), dict[str, str]()
    for number in range(1 if terms.small else terms.rounds or ROUNDS):
        for way in ("alone", "1", *map(str, sizes)):
            if way in failed:
                continue
            try:
                found[way].append(timed(blueprint, terms.device, way))
            except Exception as error:
                failed[way] = why(error)
                say(f"{name}: {way} failed: {failed[way]}")
            else:
                say(f"{name}: round {number + 1}, {way}: {found[way][-1][0]:.4g} ms a step")
    figures = {way: _medians(each) for way, each in found.items() if each}
    title = f"Stacked seeds of the MLP 3 x 256, {config.training.precision}, batch {batch}"
    title += "".join(f", {change}" for change in terms.overrides)
    lines = [f"### {title}", _table(figures), *(f"{way} failed: {reason}" for way, reason in failed.items())]
    return Report(name, "\n\n".join(lines), {"title": title, "ways": figures, "failed": failed})


def _medians(rounds: Sequence[tuple[float, float]]) -> dict[str, Any]:
    whole, bare = zip(*rounds, strict=True)
    return {"step_ms": statistics.median(whole), "steps_alone_ms": statistics.median(bare), "rounds": rounds}


def _table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    ones = ("over alone", "over 1 stacked")
    columns = ("seeds", "ms a step of all", *ones, "steps alone", *ones)
    rows = []
    for way, figure in figures.items():
        cells = [way if way == "alone" else f"{way} stacked"]
        for key in ("step_ms", "steps_alone_ms"):
            singles = [figures[one][key] if one in figures else None for one in ("alone", "1")]
            cells += [f"{figure[key]:.4g}", *("" if one is None else f"{figure[key] / one:.2f}" for one in singles)]
        rows.append(cells)
    return table(columns, rows)
