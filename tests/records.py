"""Writes run folders as `bnexp train` leaves them, for the tests of what reads them."""

import copy
import json
from pathlib import Path
from typing import Any

from bnexp.config.yaml_text import dump_yaml

CONFIG: dict[str, Any] = {
    "name": "mlp",
    "seed": 0,
    "data": {"dataset": "mnist5k", "batch_size": 128},
    "model": {"arch": "mlp", "hidden": [256, 256], "block": "linear -> relu"},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "training": {"epochs": 4},
}
META: dict[str, Any] = {
    "format": 1,
    "status": "finished",
    "argv": ["train"],
    "bnexp": "0.1.0",
    "bnexp_commit": "a" * 40,
    "git_commit": None,
    "versions": {"python": "3.11.7", "torch": "2.9.0", "numpy": "2.4.6"},
    "device": "cpu",
    "device_name": "a processor",
    "precision": "fp32",
    "threads": 2,
    "deterministic": True,
    "started": "2026-03-01T12:00:00+00:00",
    "ended": "2026-03-01T12:02:05+00:00",
    "pid": 1,
    "error": None,
    "plan": {"batch_size": 128, "steps_per_epoch": 10, "total_steps": 40},
}


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with dotted keys replaced, such as {"model.block": "linear -> bn"}; `...` takes one out."""
    values = copy.deepcopy(base)
    for dotted, value in change.items():
        *above, last = dotted.split(".")
        place = values
        for key in above:
            place = place.setdefault(key, {})
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return values


def summary_of(accuracies: list[float | None], test: float, steps_per_epoch: int = 10) -> dict[str, Any]:
    """Return the summary of a run with one evaluation an epoch."""
    known = [(value, -epoch) for epoch, value in enumerate(accuracies, 1) if value is not None]
    best, minus_epoch = max(known, default=(None, 0))
    last = len(accuracies)
    return {
        "status": "finished",
        "steps": last * steps_per_epoch,
        "epochs": float(last),
        "parameters": 335114,
        "train": {"loss": 0.05, "accuracy": 0.99},
        "final": {"step": last * steps_per_epoch, "epoch": float(last), "loss": 0.1, "accuracy": accuracies[-1]},
        "best": {"step": -minus_epoch * steps_per_epoch, "epoch": float(-minus_epoch), "loss": 0.1, "accuracy": best},
        "test": {"final": {"loss": 0.1, "accuracy": test}, "best": {"loss": 0.1, "accuracy": test}},
        "divergence": None,
        "time": {"total_s": 125.0, "training_s": 100.0, "evaluation_s": 5.0, "measuring_share": 0.02, "step_ms": 1.5},
        "peak_mib": {"process": 300.0, "device": None},
    }


def metrics_of(accuracies: list[float | None], steps_per_epoch: int = 10) -> list[dict[str, Any]]:
    """Return rows with a plain row half an epoch before each evaluation."""
    rows: list[dict[str, Any]] = []
    for epoch, accuracy in enumerate(accuracies, 1):
        step = epoch * steps_per_epoch
        half = step - steps_per_epoch // 2
        rows.append({"step": half, "epoch": half / steps_per_epoch, "loss/train": 0.5, "time/step_ms": 1.5})
        rows.append({"step": step, "epoch": float(epoch), "loss/train": 0.4, "loss/val": 0.3, "accuracy/val": accuracy})
    return rows


def write_run(
    folder: Path,
    *,
    config: dict[str, Any] | None = None,
    meta: dict[str, Any] | None = None,
    summary: dict[str, Any] | None = None,
    accuracies: tuple[float | None, ...] = (0.5, 0.8, 0.9, 0.88),
    test: float = 0.9,
) -> Path:
    """Write a run folder; config, meta and summary are changes by dotted keys. An unfinished run has no summary."""
    folder.mkdir(parents=True)
    meta_values = merged(META, meta or {})
    (folder / "config.yaml").write_text(dump_yaml(merged(CONFIG, config or {})))
    (folder / "meta.json").write_text(json.dumps(meta_values))
    rows = (json.dumps(row, separators=(",", ":")) + "\n" for row in metrics_of(list(accuracies)))
    (folder / "metrics.jsonl").write_text("".join(rows))
    if meta_values["status"] in ("finished", "diverged"):
        values = merged(summary_of(list(accuracies), test), {"status": meta_values["status"], **(summary or {})})
        (folder / "summary.json").write_text(json.dumps(values))
    return folder
