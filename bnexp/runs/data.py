"""Tell the data of runs apart, by what meta.json recorded of them.

A run records a fingerprint of all its examples and one of each part. Runs of earlier versions have none; what they did
record stands in: the options of their dataset and how many examples of each class each part had.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bnexp.runs.folder import META, read_json

if TYPE_CHECKING:
    from bnexp.runs.run import Run

PARTS = ("train", "val", "test")
DIGITS = 8
"""First digits of a fingerprint that people see."""
_OWN = ("image_folder", "npz")
_NOT_OF_THE_EXAMPLES = {
    *("path", "val_path", "batch_size", "eval_batch_size", "drop_last"),
    *("preprocess", "whiten_eps", "augment", "download"),
}
"""Keys of `data` that do not decide which examples there are; a path may be written in several ways."""


@dataclass(frozen=True)
class RunData:
    """What a run recorded of its data.

    Attributes:
        options: the keys of `data` that decide which examples there are.
        path: where a set of the user's own lay, absolute where that is recorded.
        fingerprint: SHA-256 of all examples; None in runs of earlier versions.
        parts: SHA-256 of each part.
        examples: of each class in each part.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    path: str | None = None
    fingerprint: str | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    examples: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the file or folder, or of the dataset."""
        return os.path.basename(self.path or "") or str(self.options.get("data.dataset", "unknown data"))

    @property
    def is_own(self) -> bool:
        """Whether it is a set of the user's own, which may change between two runs."""
        return self.options.get("data.dataset") in _OWN

    def __str__(self) -> str:
        counts = [f"{sum(self.examples[part]):,}" for part in PARTS if part in self.examples]
        examples = f"{' + '.join(counts)} examples" if counts else ""
        print_of = f"fingerprint {self.fingerprint[:DIGITS]}" if self.fingerprint else "no fingerprint recorded"
        return ", ".join(filter(None, [self.path or self.name, examples, print_of]))


def recorded_data_dir(folder: Path) -> Path | None:
    """Return the data folder that a run recorded, where it is still there."""
    recorded = (read_json(folder / META) or {}).get("data_dir")
    return Path(recorded) if isinstance(recorded, str) and os.path.isdir(recorded) else None


def where_data_lay(folder: Path) -> str:
    """Say where data of a run lay that are there no more, and how to name another place; else nothing."""
    path = data_of(None, read_json(folder / META) or {}).path
    if path is None or os.path.lexists(path):
        return ""
    return f"\nThe run read {path}; --data-dir FOLDER names where {os.path.basename(path)} lies now"


def data_of(config: Mapping[str, Any] | None, meta: Mapping[str, Any]) -> RunData:
    """Return what a run recorded of its data, from its config with dotted keys and its meta.json; never raises."""
    keys = {key: value for key, value in (config or {}).items() if key.startswith("data.")}
    options = {key: value for key, value in keys.items() if key.split(".")[1] not in _NOT_OF_THE_EXAMPLES}
    path = meta.get("data_path") or keys.get("data.path")
    fingerprint, parts, counts = (meta.get(key) for key in ("data_fingerprint", "data_parts", "class_counts"))
    return RunData(
        options,
        path if isinstance(path, str) else None,
        fingerprint if isinstance(fingerprint, str) else None,
        {name: one for name, one in parts.items() if isinstance(one, str)} if isinstance(parts, dict) else {},
        {name: tuple(one) for name, one in counts.items() if _are_counts(one)} if isinstance(counts, dict) else {},
    )


def _are_counts(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)


def keys_of_data(runs: "Sequence[Run]", which: Literal["all", "scored"] = "all") -> dict[str, str]:
    """Return for each run, by its folder, a key that runs share whose examples are the same.

    `scored` asks for the validation part and the test set alone. A run without a fingerprint is taken to have the data
    of those that lie where its config says and agree in all that it recorded, if these are of one kind.
    """
    keys, known = dict[str, str](), dict[str, dict[str, set[str]]]()
    # Those that recorded most come first: whoever recorded less may join them.
    for run in sorted(runs, key=lambda run: (_exact(run.data, which) is None, not run.data.examples)):
        key = keys[str(run.folder)] = _exact(run.data, which) or _likely(run.data, known)
        for rough in (_rough(run.data, run.data.examples), _rough(run.data, {})):
            known.setdefault(rough, {}).setdefault(_place(run.data), set()).add(key)
    return keys


def _exact(data: RunData, which: Literal["all", "scored"]) -> str | None:
    if which == "all":
        return data.fingerprint
    return data.parts["val"] + data.parts["test"] if {"val", "test"} <= data.parts.keys() else None


def _rough(data: RunData, examples: Mapping[str, tuple[int, ...]]) -> str:
    return json.dumps([data.options, examples], sort_keys=True)


def _place(data: RunData) -> str:
    return os.path.normpath(data.path or "")


def _likely(data: RunData, known: Mapping[str, Mapping[str, set[str]]]) -> str:
    """Return the key of data without a fingerprint; a relative path may be the end of a recorded absolute one."""
    rough, path = _rough(data, data.examples), _place(data)
    places = known.get(rough, {})
    alike = [places[at] for at in places if at == path or (os.path.isabs(at) and at.endswith(f"{os.sep}{path}"))]
    merged = set[str]().union(*alike)
    return merged.pop() if len(merged) == 1 else json.dumps([rough, path])
