"""Find the data that a run learned from, and hold what is found against their fingerprint."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from bnexp.config.data_section import OWN_PATHS, OwnData
from bnexp.config.schema import Config
from bnexp.errors import BnexpError
from bnexp.runs.data import DIGITS, data_of
from bnexp.runs.folder import META, read_json
from bnexp.runs.seal import read_config
from bnexp.training.build import TrainingRun


def with_data_found(config: Config, data_dir: Path) -> Config:
    """Return a config whose own data, where they lie no more at their absolute path, are those of this name here."""
    data, found = config.data, dict[str, str]()
    if not isinstance(data, OwnData):
        return config
    for key in OWN_PATHS:
        written = getattr(data, key)
        if written and os.path.isabs(written) and not os.path.lexists(written):
            here = data_dir / os.path.basename(written)
            found |= {key: os.path.abspath(here)} if here.exists() else {}
    return config.model_copy(update={"data": data.model_copy(update=found)}) if found else config


def where_they_were(folder: Path) -> str:
    """Say where the data of a run lay, and how to name another place; nothing for data that bnexp finds itself."""
    path = data_of(None, read_json(folder / META) or {}).path
    return "" if path is None else f"\nThe run read {path}; --data-dir FOLDER names where that lies now"


def refuse_other_data(folder: Path, run: TrainingRun, expected: object, overrides: Sequence[str]) -> None:
    """Refuse data whose fingerprint is not the `expected` one, unless a key of `data` was set on purpose.

    Raises:
        BnexpError: figures of such data would be taken for those of the run.
    """
    if not isinstance(expected, str) or expected == run.dataset.fingerprint or _on_purpose(overrides):
        return
    name, then, now = run.config.data.dataset, _recorded(folder, expected), _found(run)
    data = run.config.data
    purpose = f"data.path={data.path}" if isinstance(data, OwnData) else f"data.dataset={name}"
    command = f"bnexp probe {shlex.quote(str(folder))} --set {shlex.quote(purpose)}"
    raise BnexpError(
        f"{folder}: the data are not those that the run learned from: {now}; expected {then}.\nPut those back, or name "
        f"their place with --data-dir FOLDER; to measure on other data on purpose: {command}"
    )


def on_other_data(folder: Path, run: TrainingRun) -> str:
    """Say that a run is measured on other data than it learned from; nothing where it is not."""
    then = data_of(read_config(folder)[0], read_json(folder / META) or {})
    if then.fingerprint is None or then.fingerprint == run.dataset.fingerprint:
        return ""
    return f"measured on other data than the run learned from: {_found(run)}; it learned from {then}"


def _on_purpose(overrides: Sequence[str]) -> bool:
    return any(override.strip().startswith(("data.", "data=")) for override in overrides)


def _recorded(folder: Path, fingerprint: str) -> str:
    then = data_of(read_config(folder)[0], read_json(folder / META) or {})
    return str(then) if then.fingerprint == fingerprint else f"fingerprint {fingerprint[:DIGITS]}"


def _found(run: TrainingRun) -> str:
    data = run.config.data
    place = data.path if isinstance(data, OwnData) else data.dataset
    examples = " + ".join(f"{len(part):,}" for part in run.dataset.parts.values())
    return f"{place}, {examples} examples, fingerprint {run.dataset.fingerprint[:DIGITS]}"
