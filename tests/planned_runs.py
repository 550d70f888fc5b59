"""Leaves the records of planned runs on the disk, without training them."""

from typing import Any

from bnexp.config.loading import dump_config
from bnexp.runs.folder import META, SUMMARY, write_json
from bnexp.runs.identity import network_of
from bnexp.runs.seal import write_config
from bnexp.sweep.plan import PlannedRun


def store(run: PlannedRun, status: str = "finished", accuracy: float = 0.9, **meta: Any) -> None:
    """Write config, meta.json and, where it came to its end, summary.json of a run, as training leaves them."""
    run.folder.mkdir(parents=True)
    config = run.blueprint.config
    write_config(run.folder, dump_config(config))
    network = network_of(run.blueprint.layout, config.data.batch_size)
    role = {"role": run.role} if run.role else {}
    write_json(
        run.folder / META,
        {"status": status, "name": config.name, "seed": config.seed, "network": network, **role, **meta},
    )
    if status in ("finished", "diverged"):
        final = {"accuracy": accuracy, "loss": 1.0, "step": 1} if status == "finished" else None
        write_json(run.folder / SUMMARY, {"status": status, "final": final})
