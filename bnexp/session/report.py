"""What came out of a run, in a few aligned lines for the end of its training."""

from bnexp.errors import visible
from bnexp.session.display import duration, loss_in_words
from bnexp.session.life import RunResult


def report(result: RunResult) -> str:
    """Return status, scores, time and folder of a run that has come to its end."""
    summary = result.summary
    took = duration(summary["time"]["total_s"])
    lines = [f"{summary['status']} after {summary['steps']:,} steps ({summary['epochs']:.4g} epochs) in {took}"]
    if divergence := summary["divergence"]:
        place = f"{divergence['quantity']} of {divergence['layer']}"
        lines.append(f"diverged     at step {divergence['step']:,}: the first that is not finite is the {place}")
        if poisoned := divergence["poisoned"]:
            more = f" and {len(poisoned) - 3} more" if len(poisoned) > 3 else ""
            lines.append(f"poisoned     by its forward pass: {', '.join(poisoned[:3])}{more}")
    if summary["skipped_steps"]:
        lines.append(f"skipped      {summary['skipped_steps']:,} steps, for a loss or a gradient that was not finite")
    if summary["train"]:
        train = summary["train"]
        lines.append(f"training     loss {loss_in_words(train['loss'])}   accuracy {train['accuracy']:.2%}")
    if summary["final"] and summary["best"]:
        final, best = summary["final"], summary["best"]
        lines.append(
            f"validation   final {final['accuracy']:.2%}   best {best['accuracy']:.2%} at epoch {best['epoch']:.4g}"
        )
    if test := summary["test"]:
        lines.append(f"test         final {test['final']['accuracy']:.2%}   of the best {test['best']['accuracy']:.2%}")
    lines.append(f"folder       {visible(str(result.folder))}")
    return "\n  ".join(lines)
