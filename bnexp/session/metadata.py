"""The records of a run: its circumstances in meta.json, its figures in summary.json."""

import contextlib
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import bnexp
from bnexp.config.data_section import OwnData
from bnexp.config.division import parts_of_batch
from bnexp.data.sources.place import own_path
from bnexp.files import read_file
from bnexp.measure.machine import peak_mib
from bnexp.runs.folder import FORMAT, META, Status, write_json
from bnexp.runs.identity import network_of
from bnexp.runs.plugins import PLUGINS, code_record
from bnexp.runs.process import this_process
from bnexp.runs.run import CHOSEN
from bnexp.runs.seal import SEAL, seal_of
from bnexp.session.terms import Terms
from bnexp.training.build import TrainingRun
from bnexp.training.device import Graphing, device_name
from bnexp.training.distributed import record_of
from bnexp.training.evaluation import EndScores
from bnexp.training.progress import Evaluated, Progress

ROLE = "role"
"""The key of meta.json that says what a run of a sweep is for, where it only serves to choose."""
_MAX_REFS_BYTES = 50_000_000
_HIDDEN = "***"
_NAMED = r"(?:token|secret|passw(?:or)?d|api[_-]?key|credentials?)"
_SECRETS = (
    (re.compile(rf"(?i)((?:^|[^a-z])(?:[a-z_-]*[_-])?{_NAMED}\s*[=:]\s*)[^\s,}}]+"), r"\1"),
    (re.compile(r"(://)[^/\s@]+(?=@)"), r"\1"),
    (re.compile(r"\b(?:hf|gh[pousr]|github_pat|sk|xox[abp]|glpat)[_-][A-Za-z0-9_-]{12,}"), ""),
)
"""What looks like a secret by its name, as the user in an address or by its form, and how much of that is kept."""


def without_secrets(argv: Sequence[str]) -> list[str]:
    """Return a command line for the records, which others may read: `***` stands for what looks like a secret."""
    words = []
    for word in argv:
        for pattern, kept in _SECRETS:
            word = pattern.sub(kept + _HIDDEN, word)
        words.append(word)
    return words


def circumstances(
    run: TrainingRun, terms: Terms, data_dir: Path, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return where, when and with what a run is made: all of meta.json but its status.

    What it is in its sweep the `terms` say, or, as it is resumed by hand, the meta.json of `before`.
    """
    given = {ROLE: terms.role, CHOSEN: terms.chosen}
    in_sweep = {key: value or (before or {}).get(key) for key, value in given.items()}
    plan, layout = asdict(run.plan), run.subject.layout
    del plan["eval_every_epochs"]
    return {
        "format": FORMAT,
        "status": "running",
        "name": run.config.name,
        "seed": run.config.seed,
        **{key: value for key, value in in_sweep.items() if value},
        "argv": without_secrets(terms.argv),
        "bnexp": bnexp.__version__,
        "bnexp_commit": checked_out_commit(Path(bnexp.__file__).parent.parent),
        "versions": _versions(),
        **this_process(),
        "data_dir": os.path.abspath(data_dir),
        "device": str(run.device),
        "device_name": device_name(run.device),
        "precision": run.config.training.precision,
        "compiled": run.train_step.compiled,
        "graph": run.graph.tried,
        "memory_format": str(run.memory_format).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "stacked": terms.stacked,
        "deterministic": run.config.training.deterministic,
        "parameters": run.parameters,
        "network": network_of(layout, run.config.data.batch_size, _parts_of(run)),
        **code_record(run.config),
        "processes": record_of(layout, run.world, run.device),
        "started": _now(),
        "ended": None,
        "continued": None,
        "earlier_s": 0.0,
        "sessions": [],
        "error": None,
        "plan": plan,
        SEAL: seal_of(run.config.model_dump(mode="json", exclude_none=True)),
        **_data(run, data_dir),
    }


def _parts_of(run: TrainingRun) -> int:
    """Return in how many parts of a batch the norms of a run take its statistics."""
    return parts_of_batch(run.subject.layout, 1 if run.world is None else run.world.size)


def _data(run: TrainingRun, data_dir: Path) -> dict[str, Any]:
    """Return what tells the data of a run from others: its fingerprints, where it lay, the examples of each class."""
    dataset, classes, data = run.dataset, run.subject.layout.classes, run.config.data
    return {
        "data_fingerprint": dataset.fingerprint,
        "data_parts": dataset.part_fingerprints,
        "data_account": dataset.account.record() if dataset.account else None,
        "data_path": os.path.abspath(own_path(data, data_dir)) if isinstance(data, OwnData) else None,
        "class_counts": {
            name: [*part.class_counts, *[0] * (classes - len(part.class_counts))]
            for name, part in dataset.parts.items()
        },
    }


def continued(meta: Mapping[str, Any], before: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the circumstances of a run resumed from `state`: those of now, and those that meta.json told before."""
    keys = ("argv", "ended", "bnexp", "versions", "host", "device", "device_name", "threads", "processes", "continued")
    sessions = before.get("sessions")
    session = {key: before.get(key) for key in keys} | {
        key: before[key] for key in ("stacked", PLUGINS) if key in before
    }
    earlier = [*(sessions if isinstance(sessions, list) else []), session]
    return {
        **meta,
        "started": before.get("started"),
        "continued": meta["started"],
        "continued_after_step": state["step"],
        "earlier_s": state["progress"]["clock"]["total_s"],
        "sessions": earlier,
    }


def machine_changes(before: Mapping[str, Any], meta: Mapping[str, Any]) -> list[str]:
    """Describe in at most one sentence what changed on the machine since the last session."""
    now, then = _environment_of(meta), _environment_of(before)
    changed = [f"{what} {then[what]} -> {now[what]}" for what in now if what in then and then[what] != now[what]]
    if not changed:
        return []
    return [f"not the machine of before ({', '.join(changed)}): the last bits may differ from an uninterrupted run"]


def _environment_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the circumstances that the last bits of figures depend on, those that are known."""
    versions = meta.get("versions")
    named = {"device": meta.get("device_name"), **{key: meta.get(key) for key in ("threads", "stacked", "bnexp")}}
    processes = meta.get("processes")
    named["processes"] = processes.get("count") if isinstance(processes, dict) else None
    named["torch"] = versions.get("torch") if isinstance(versions, dict) else None
    return {what: value for what, value in named.items() if value is not None}


def note_status(folder: Path, meta: Mapping[str, Any], status: Status, error: str | None = None) -> None:
    """Rewrite meta.json with this status."""
    ended = None if status == "running" else _now()
    write_json(folder / META, {**meta, "status": status, "ended": ended, "error": error})


def summary_of(
    run: TrainingRun, outcome: Progress, scores: EndScores | None, compile_s: float | None = None
) -> dict[str, Any]:
    """Return the figures of a run that came to its end, or to its divergence, for summary.json.

    `divergence` is the first step that was not finite, also where the run recovered from it.
    """
    clock = outcome.clock
    steps, untimed = max(outcome.steps - clock.untimed_steps, 1), clock.untimed_steps
    return {
        "status": "diverged" if outcome.diverged else "finished",
        "steps": outcome.steps,
        "skipped_steps": run.train_step.scaler.skipped + outcome.skipped,
        "epochs": run.plan.epoch_at(outcome.steps),
        "parameters": run.parameters,
        "batch_size": {
            "statistics": run.plan.batch_size // _parts_of(run),
            "optimizer": run.plan.step_size,
        },
        "train": outcome.train.figures(),
        "final": _evaluated(run, outcome.last),
        "best": _evaluated(run, outcome.best.evaluated if outcome.best else None),
        "test": scores.test if scores else None,
        "recomputed": scores.recomputed if scores else None,
        "ema": scores.averaged if scores else None,
        "divergence": asdict(outcome.divergence) if outcome.divergence else None,
        "time": {
            "compile_s": compile_s,
            "total_s": clock.total_s,
            "training_s": clock.training_s,
            "evaluation_s": clock.evaluation_s,
            "checkpoint_s": clock.checkpoint_s,
            "measuring_share": clock.measuring_s / clock.training_s,
            "step_ms": 1e3 * (clock.training_s - clock.measuring_s) / steps,
            "examples_per_s": clock.examples / clock.training_s,
            **({"profiled_steps": untimed} if untimed else {}),
        },
        "graph": None if run.graph == Graphing() else {"recorded": run.graph.recorded, "reason": run.graph.reason},
        "peak_mib": peak_mib(run.device),
    }


def _evaluated(run: TrainingRun, evaluated: Evaluated | None) -> dict[str, Any] | None:
    if evaluated is None:
        return None
    return {"step": evaluated.step, "epoch": run.plan.epoch_at(evaluated.step), **evaluated.score.figures()}


def checked_out_commit(checkout: Path) -> str | None:
    """Return the commit that is checked out in a folder, from its `.git`; None where there is none, or none is found.

    git itself is not asked: it runs what a config in the folder names. Changed files are therefore not seen.
    """
    git = checkout / ".git"
    with contextlib.suppress(OSError, ValueError):
        if git.is_file():  # a further worktree
            git = checkout / _line(git).removeprefix("gitdir: ")
        head = _line(git / "HEAD")
        common = git / _line(git / "commondir") if (git / "commondir").is_file() else git
        name = head.removeprefix("ref: ")
        if name != head:
            loose = common / name
            head = _line(loose) if loose.is_file() else _packed(common / "packed-refs", name)
        return head if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", head) else None
    return None


def _line(path: Path) -> str:
    return read_file(path, _MAX_REFS_BYTES).decode().strip()


def _packed(path: Path, name: str) -> str:
    """Return the commit of a branch in a file of `<commit> <name>` lines, or an empty text."""
    pairs = (line.split(" ", 1) for line in _line(path).splitlines() if " " in line)
    return next((commit for commit, known in pairs if known == name), "")


def _versions() -> dict[str, str | None]:
    cudnn = torch.backends.cudnn.version() if torch.cuda.is_available() else None
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "cuda": torch.version.cuda,
        "cudnn": str(cudnn) if cudnn else None,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
