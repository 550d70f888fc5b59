"""Hold the data that a probe finds against the fingerprint of those that the run learned from."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from bnexp.config.data_section import OwnData
from bnexp.config.schema import Config
from bnexp.data.load import Dataset
from bnexp.errors import BnexpError
from bnexp.runs.data import DIGITS, data_of
from bnexp.runs.folder import META, read_json
from bnexp.runs.seal import read_config
from bnexp.training.build import TrainingRun


def refuse_other_data(folder: Path, run: TrainingRun, expected: object, overrides: Sequence[str]) -> None:
    """Refuse data whose fingerprint is not the `expected` one, unless a key of `data` was set on purpose.

    Raises:
        BnexpError: figures of such data would be taken for those of the run.
    """
    if not isinstance(expected, str) or expected == run.dataset.fingerprint or _on_purpose(overrides):
        return
    name, then, now = run.config.data.dataset, _recorded(folder, expected), _found(run.config, run.dataset)
    data = run.config.data
    purpose = f"data.path={data.path}" if isinstance(data, OwnData) else f"data.dataset={name}"
    command = f"bnexp probe {shlex.quote(str(folder))} --set {shlex.quote(purpose)}"
    raise BnexpError(
        f"{folder}: the data are not those that the run learned from: {now}; expected {then}.\nPut those back, or name "
        f"their place with --data-dir FOLDER; to measure on other data on purpose: {command}"
    )


def on_other_data(folder: Path, config: Config, dataset: Dataset) -> str:
    """Say that a run is measured on other data than it learned from; nothing where it is not."""
    then = data_of(read_config(folder)[0], read_json(folder / META) or {})
    if then.fingerprint is None or then.fingerprint == dataset.fingerprint:
        return ""
    return f"measured on other data than the run learned from: {_found(config, dataset)}; it learned from {then}"


def _on_purpose(overrides: Sequence[str]) -> bool:
    return any(override.strip().startswith(("data.", "data=")) for override in overrides)


def _recorded(folder: Path, fingerprint: str) -> str:
    then = data_of(read_config(folder)[0], read_json(folder / META) or {})
    return str(then) if then.fingerprint == fingerprint else f"fingerprint {fingerprint[:DIGITS]}"


def _found(config: Config, dataset: Dataset) -> str:
    data = config.data
    place = data.path if isinstance(data, OwnData) else data.dataset
    examples = " + ".join(f"{len(part):,}" for part in dataset.parts.values())
    return f"{place}, {examples} examples, fingerprint {dataset.fingerprint[:DIGITS]}"
