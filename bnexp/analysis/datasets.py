"""Write notes on runs and arms that were trained or scored on different data: such accuracies do not compare."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from bnexp.analysis.arms import Arm, shared_by_arm
from bnexp.document.writing import at_most, counted, first_few
from bnexp.runs.data import DIGITS, RunData, keys_of_data
from bnexp.runs.run import Run

_SHOWN = 4


def labels_of(arms: Sequence[Arm]) -> dict[str, str]:
    """Return a name for the data of each arm, by their key; data of one name get the fingerprint behind it."""
    data = {arm.data: arm.runs[0].data for arm in arms}
    names = Counter(run_data.name for run_data in data.values())
    return {key: _label(run_data, alone=names[run_data.name] == 1) for key, run_data in data.items()}


def _label(data: RunData, *, alone: bool) -> str:
    return data.name if alone else f"{data.name} {(data.fingerprint or 'unknown')[:DIGITS]}"


def on_data(arms: Sequence[Arm]) -> Iterator[str]:
    """Yield notes on arms scored on different data, on arms of one config trained on other data, and unknown data."""
    scored = _groups(arms, [arm.scored_on for arm in arms])
    if len(scored) > 1:
        named = at_most([f"{_who(group)} on {group[0].runs[0].data}" for group in scored], _SHOWN, "data sets")
        yield (
            f"{len(scored)} data sets in one table: accuracies on different examples do not compare, and arms are "
            f"ordered within each. {'; '.join(named)}"
        )
    for group in scored:
        for alike in _groups(group, [str(arm.config) for arm in group]):
            if len({arm.data for arm in alike}) > 1 and alike[0].config is not None:
                each = "; ".join(f"{arm.runs[0].data}: {_seeds(arm)}" for arm in alike[:_SHOWN])
                yield f"{alike[0].name} learned from different examples, which makes {len(alike)} arms: {each}"
    if unknown := [run.folder for arm in arms for run in arm.runs if run.data.is_own and not run.data.fingerprint]:
        runs = f"{counted(len(unknown), 'run')} of an earlier version recorded no fingerprint of the data"
        yield f"{runs}, which may have changed between them: {first_few(list(map(str, unknown)), 2)}"


def on_changed_data(runs: Sequence[Run]) -> Iterator[str]:
    """Yield a note for each config whose runs have different data, with the runs of each."""
    keys, groups = keys_of_data(runs), dict[str, dict[str, list[Run]]]()
    for run in runs:
        if run.config is not None:
            by_data = groups.setdefault(json.dumps(shared_by_arm(run), sort_keys=True), {})
            by_data.setdefault(keys[str(run.folder)], []).append(run)
    for by_data in groups.values():
        if len(by_data) > 1:
            each = [f"{first_few([str(run.folder) for run in own], 2)} ({own[0].data})" for own in by_data.values()]
            yield f"runs of one config on {len(by_data)} data sets: {'; '.join(each[:_SHOWN])}"


def _groups(arms: Sequence[Arm], keys: Sequence[str]) -> list[list[Arm]]:
    groups: dict[str, list[Arm]] = {}
    for arm, key in zip(arms, keys, strict=True):
        groups.setdefault(key, []).append(arm)
    return list(groups.values())


def _who(arms: Sequence[Arm]) -> str:
    return first_few([f"{arm.name} {_seeds(arm)}".strip() for arm in arms], 3)


def _seeds(arm: Arm) -> str:
    seeds = sorted({run.seed for run in arm.runs if run.seed is not None})
    return f"({'seed' if len(seeds) == 1 else 'seeds'} {first_few(list(map(str, seeds)), 3)})" if seeds else ""
