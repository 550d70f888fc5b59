"""Report the outcome of a run in a few aligned lines, at the end of its training."""

from pathlib import Path
from typing import Any

from bnexp.analysis.lagging import average_in, lag_in
from bnexp.document.exports import to_plain
from bnexp.document.table import Cell, Column, Table, facts, word
from bnexp.document.values import Heading, Part
from bnexp.document.writing import clock_duration, counted, first_few
from bnexp.runs.folder import TRACE
from bnexp.session.display import loss_text
from bnexp.session.life import RunResult
from bnexp.training.profile import Profile

_LABELS = len("validation ")


def report(result: RunResult) -> str:
    """Return status, scores, time and folder of a run that has come to its end."""
    summary = result.summary
    took = clock_duration(summary["time"]["total_s"])
    lines = []
    if divergence := summary["divergence"]:
        place = f"{divergence['quantity']} of {divergence['layer']}"
        lines.append(("diverged", f"at step {divergence['step']:,}: not finite, first in the {place}"))
        if poisoned := divergence["poisoned"]:
            lines.append(("poisoned", f"by its forward pass: {first_few(poisoned, 3)}"))
    if summary["skipped_steps"]:
        skipped = f"{summary['skipped_steps']:,} steps, for a loss, a statistic or a gradient that was not finite"
        lines.append(("skipped", skipped))
    sizes = summary["batch_size"]
    if sizes["optimizer"] != sizes["statistics"]:
        lines.append(("batches", f"statistics of {sizes['statistics']} examples, gradients of {sizes['optimizer']}"))
    if train := summary["train"]:
        lines.append(("training", f"loss {loss_text(train['loss'])}   accuracy {train['accuracy']:.2%}"))
    if summary["final"] and summary["best"]:
        final, best = summary["final"], summary["best"]
        best_at = f"best {best['accuracy']:.2%} at epoch {best['epoch']:.4g}"
        lines.append(("validation", f"final {final['accuracy']:.2%}   {best_at}"))
    if test := summary["test"]:
        scores = f"final {test['final']['accuracy']:.2%}   of the best {test['best']['accuracy']:.2%}"
        lines.append(("test", scores))
    if former := summary.get("lengthened_from"):
        when = " and ".join(f"{steps:,}" for steps in former)
        lines.append(("lengthened", f"the test set was scored before, after {when} steps"))
    balanced = {part: place.get("balanced_accuracy") for part, place in _scored(summary).items()}
    if shown := [f"{part} {value:.2%}" for part, value in balanced.items() if value is not None]:
        lines.append(("balanced", f"{'   '.join(shown)}   mean recall of the classes, which are unequal"))
    if average := average_in(summary):
        lines.append(("averaged", average.figures))
    if lag := lag_in(summary):
        lines.append(("statistics", lag.figures))
    lines.append(("folder", str(result.folder)))
    epochs = f"{summary['epochs']:.4g} epoch{'s' * (summary['epochs'] != 1)}"
    title = f"{summary['status']} after {counted(summary['steps'], 'step')} ({epochs}) in {took}"
    return to_plain([facts(lines, title=title, least=_LABELS)]).rstrip("\n")


def profiled(profile: Profile, folder: Path) -> list[Part]:
    """Return a heading, a table of the costliest operations, and what all of them serve."""
    columns = (
        Column("operation", "operation"),
        Column("calls", "calls", "number", give_up=0),
        Column("ms", "ms a step", "number"),
        Column("share", "of all", "number"),
        *([] if profile.shares is None else [Column("in_norms", "in norms", "number")]),
    )
    rows = [
        {
            "operation": word(operation.name),
            "calls": Cell(f"{operation.calls:.4g}", operation.calls),
            "ms": Cell(f"{operation.ms:.3f}", operation.ms),
            "share": Cell(f"{operation.share:.1%}", operation.share),
            "in_norms": Cell("" if operation.in_norms is None else f"{operation.in_norms:.0%}", operation.in_norms),
        }
        for operation in profile.operations
    ]
    where = "on the GPU" if profile.device == "cuda" else "on the processor"
    lines = [("steps", f"{profile.first:,} to {profile.last:,}, in no time of the rows and the summary")]
    if profile.besides:
        lines.append(("with", f"{counted(profile.besides, 'evaluation or look')}: no steps without were found"))
    lines.append(("in all", f"{profile.ms:.2f} ms a step {where}, in operations alone"))
    shares = profile.shares or {}
    others = ", ".join(f"{kind} {share:.1%}" for kind, share in shares.items() if kind != "norms" and share >= 0.0005)
    of_norms = f"{shares['norms']:.1%} of that{'; ' * bool(others)}{others}" if shares else ""
    lines.append(("norms", of_norms or "their part is unknown: a compiled network fuses its items"))
    lines.append(("trace", f"{folder / TRACE}, for https://ui.perfetto.dev"))
    return [Heading("Profile"), Table(columns, tuple(rows)), facts(lines, least=_LABELS)]


def _scored(summary: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the scores of the final weights by part, as far as there are some."""
    return {"validation": summary["final"] or {}, "test": (summary["test"] or {}).get("final", {})}
