"""What a training writes: a writer of rows that keeps them, and rows and weights from the folder of a run."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from bnexp.runs.checkpoints import load_newest
from bnexp.runs.rows import Counts

CLOCKED = (
    *("step_ms/train", "examples_per_s/train", "measuring_share/train"),
    *("cost_ms/", "cost_share/", "peak_memory_mib/"),
)
"""How the names begin of figures that differ from run to run: of time and of memory."""


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a run without what the clock says."""
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in row.items() if not name.startswith(CLOCKED)} for row in rows]


def final_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights in the last checkpoint of a run."""
    loaded = load_newest(folder)
    assert loaded is not None
    return dict(loaded.values["weights"])


class Rows:
    """Keeps the rows that a training writes."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.histograms_of: dict[int, dict[str, Counts]] = {}

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self.rows.append({"step": step, **values})

    def histograms(self, step: int, values: dict[str, Counts]) -> None:
        self.histograms_of[step] = values

    def close(self) -> None:
        pass
