"""Group runs into arms: the runs of one strategy, which differ in their seed and in nothing else that moves a figure.

Which keys of a config make an arm is decided in `runs/identity.py`: a run with more probes than the others, or with
other checkpoints, is still a run of the same arm.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bnexp.runs.identity import identity_of
from bnexp.runs.run import COMPLETE, Run

_STATUS_ORDER = ("finished", "diverged", "running", "interrupted", "failed", "dead", "damaged", "unknown")


@dataclass(frozen=True)
class Arm:
    """One strategy and its runs.

    Attributes:
        name: the config's name.
        config: the dotted keys that its runs share; None where the config of its only run cannot be read.
        finished: the runs that enter means, one per seed.
        diverged: runs that ended by divergence, one per seed.
        unfinished: all other runs.
        repeats: complete runs left out, because a newer one has the same seed.
    """

    name: str
    config: dict[str, Any] | None
    finished: tuple[Run, ...]
    diverged: tuple[Run, ...]
    unfinished: tuple[Run, ...]
    repeats: int

    @property
    def shown(self) -> tuple[Run, ...]:
        """The runs to show: the finished, else the diverged, else the one most likely to finish."""
        return self.finished or self.diverged or tuple(sorted(self.unfinished, key=_finishing_order)[:1])

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs but the repeats left out."""
        return (*self.finished, *self.diverged, *self.unfinished)

    @property
    def status(self) -> str:
        """The states of its runs, such as `2 finished, 1 running`, or `diverged at step 12 in block1.linear`."""
        counts = Counter(run.status for run in self.runs)
        parts = [
            (status if len(self.runs) == 1 else f"{counts[status]} {status}") + self._where(status)
            for status in _STATUS_ORDER
            if counts[status]
        ]
        return ", ".join(parts)

    def _where(self, status: str) -> str:
        if status != "diverged":
            return ""
        first, *others = sorted(self.diverged, key=_step_of_divergence)
        return f"{', first' if others else ''} at {first.divergence}"


def _finishing_order(run: Run) -> tuple[int, float]:
    """Order a run in progress before interrupted and failed ones, the newest first."""
    return _STATUS_ORDER.index(run.status), -run.recency[0]


def _step_of_divergence(run: Run) -> float:
    step = run.divergence.step if run.divergence else None
    return float("inf") if step is None else step


def gather_arms(runs: Iterable[Run]) -> list[Arm]:
    """Group runs into arms, in the order of their first runs."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_arm_key(run), []).append(run)
    return [_arm_of(group) for group in groups.values()]


def _arm_key(run: Run) -> str:
    """Return the identity that the runs of an arm share; a run without a readable config is an arm of its own."""
    if run.config is None:
        return f"folder {run.folder.resolve()}"
    return json.dumps(identity_of(run.config, "arm"), sort_keys=True)


def _arm_of(runs: Sequence[Run]) -> Arm:
    complete = [run for run in runs if run.status in COMPLETE]
    # Two runs of one seed start from the same weights and see the same batches: they are not two samples.
    newest = {_sample_key(run): run for run in sorted(complete, key=lambda run: run.recency)}
    samples = [run for run in complete if newest[_sample_key(run)] is run]
    return Arm(
        name=runs[0].name,
        config=None if runs[0].config is None else identity_of(runs[0].config, "arm"),
        finished=tuple(run for run in samples if run.status == "finished"),
        diverged=tuple(run for run in samples if run.status == "diverged"),
        unfinished=tuple(run for run in runs if run.status not in COMPLETE),
        repeats=len(complete) - len(samples),
    )


def _sample_key(run: Run) -> object:
    return run.folder if run.seed is None else run.seed


def differing_keys(arms: Sequence[Arm]) -> list[str]:
    """Return the config keys in which arms differ, except `name`, in the order of the configs.

    A key that only some arms have differs too. Arms without a readable config do not count.
    """
    configs = [arm.config for arm in arms if arm.config is not None]
    keys = dict.fromkeys(key for config in configs for key in config if key != "name")
    return [key for key in keys if len({_value_as_text(config, key) for config in configs}) > 1]


def _value_as_text(config: dict[str, Any], key: str) -> str | None:
    return json.dumps(config[key]) if key in config else None
