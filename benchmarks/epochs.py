"""An epoch of bnexp against its rivals: its own training, with probes, rows, TensorBoard, evaluation, checkpoint."""

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.report import Report, Round, Terms, alternate, figures_of, table
from benchmarks.rivals import Rival, rivals_on
from benchmarks.roofline import roofline
from benchmarks.workloads import WORKLOADS
from bnexp.blueprint import Blueprint, draw
from bnexp.runs.checkpoints import CheckpointFolder
from bnexp.runs.folder import METRICS
from bnexp.runs.rows import MetricsWriter, Writers
from bnexp.session.board import TensorBoardWriter
from bnexp.session.checkpoint import Checkpointer
from bnexp.training.build import build
from bnexp.training.compiling import warm_up
from bnexp.training.device import computing_as
from bnexp.training.loop import train
from bnexp.training.progress import Progress

ROUNDS, SLOW_ROUNDS = 7, 3
SLOW = ("tutorial", "lightning")
"""What is many times slower than the others is timed less often."""
NOWHERE = Path("unused")
"""Generated images come from no folder."""


def bnexp_epoch(blueprint: Blueprint, device: str) -> Round:
    """Return an epoch of bnexp's own training, the mean of its config's, with the files that a run writes."""

    def epoch() -> float:
        run = build(blueprint, data_dir=NOWHERE, device=device)
        with tempfile.TemporaryDirectory() as name, computing_as():
            if run.train_step.compiled:
                warm_up(run.train_step, run.batches, run.plan)
            folder = Path(name)
            rows, board = MetricsWriter(folder / METRICS), TensorBoardWriter(folder)
            writer = Writers([rows, board])
            progress = Progress.start(run, writer)
            checkpointer = Checkpointer(run, CheckpointFolder(folder), rows)
            checkpointer.save(progress)  # that of the start, which takes the fingerprint of the data
            start = time.perf_counter()
            train(run, progress, save_if_due=checkpointer.save_if_due)
            checkpointer.save(progress)
            writer.close()
            return (time.perf_counter() - start) / (run.plan.total_steps / run.plan.steps_per_epoch)

    return epoch


def epochs(name: str, terms: Terms) -> Report:
    """Time a workload by all ways in alternation, beside its roofline."""
    workload = WORKLOADS[name]
    config = workload.config_on(terms)
    blueprint = draw(config, NOWHERE)
    run = build(blueprint, data_dir=NOWHERE, device=terms.device)
    rival = Rival(workload, config, run.dataset, run.device)
    limit = roofline(rival, small=terms.small)
    ways = {"bnexp": bnexp_epoch(blueprint, terms.device), **rivals_on(rival)}
    most = 1 if terms.small else terms.rounds or ROUNDS
    rounds = {way: min(most, SLOW_ROUNDS) if way in SLOW else most for way in ways}
    seconds = alternate(ways, rounds)
    steps, examples = run.plan.steps_per_epoch, run.plan.train_examples
    medians = {way: statistics.median(values) for way, values in seconds.items()}
    figures = figures_of(seconds)
    for way, figure in figures.items():
        figure["step_ms"] = 1000 * medians[way] / steps
        figure["examples_per_s"] = examples / medians[way]
        figure["over_bnexp"] = medians[way] / medians["bnexp"]
        figure["of_roofline"] = figure["examples_per_s"] / limit["examples_per_s"]
    text = _table(figures)
    title = f"{workload.title}, {config.training.precision}: {steps} steps of {rival.batch}"
    return Report(
        name,
        f"### {title} and {run.plan.val_examples:,} to validate\n\n{text}\n\n{_told(limit)}",
        {"title": title, "unit": "s an epoch", "ways": figures, "roofline": limit},
    )


def _table(figures: dict[str, dict[str, float]]) -> str:
    columns = ("way", "ms a step", "examples/s", "time / bnexp's", "of the roofline", "spread", "rounds")
    rows = [
        (
            way,
            f"{figure['step_ms']:.4g}",
            f"{figure['examples_per_s']:,.0f}",
            f"{figure['over_bnexp']:.3f}",
            f"{figure['of_roofline']:.0%}",
            f"{figure['spread']:.1%}",
            str(figure["rounds"]),
        )
        for way, figure in figures.items()
    ]
    return table(columns, rows)


def _told(limit: dict[str, float]) -> str:
    """Return the roofline as a sentence."""
    step, rate = f"{limit['step_ms']:.3g} ms a step", f"{limit['examples_per_s']:,.0f} examples/s"
    work, moved = f"{limit['gflop_per_step']:.3g} GFLOP", f"{limit['mb_per_step']:.3g} MB"
    product, convolution = (f"{limit[f'{kind}_gflop_per_s']:,.0f}" for kind in ("matmul", "convolution"))
    peaks = (
        f"a large product has {product} GFLOP/s, a convolution {convolution}, a copy {limit['copy_gb_per_s']:.3g} GB/s"
    )
    return f"Roofline {step}, {rate}: {work} and {moved} a step; {peaks}."
