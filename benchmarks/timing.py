"""What the benchmarks of an epoch share: bnexp's own way, alternation, and the figures at the end."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.data.preprocess import channel_statistics
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

Epoch = Callable[[], float]
"""Trains an epoch and returns the seconds that it took, without getting ready."""


def standardized(images: Tensor) -> Callable[[Tensor], Tensor]:
    """Return what makes float32 inputs of bytes (B, C, H, W), with the statistics of the channels of `images`."""
    mean, std = channel_statistics(images)
    factor, offset = 1 / (255 * std), -mean / std
    return lambda part: part.float().mul_(factor).add_(offset)


def bnexp_epoch(config: Config, data_dir: Path) -> Epoch:
    """Return an epoch of bnexp's own training, with the files that a run writes."""

    def epoch() -> float:
        run = build(draw(config, data_dir), data_dir=data_dir, device="cpu")
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
            return time.perf_counter() - start

    return epoch


def alternate(ways: dict[str, Epoch], rounds: dict[str, int]) -> dict[str, list[float]]:
    """Time the ways in turn, so that a busy moment meets all of them; a round before the first does not count.

    A way with fewer rounds than another has them spread evenly over those of the other.
    """
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for epoch in ways.values():
        epoch()
    most = max(rounds.values())
    timed = {way: {(2 * number + 1) * most // (2 * count) for number in range(count)} for way, count in rounds.items()}
    for number in range(most):
        for way, epoch in ways.items():
            if number in timed[way]:
                seconds[way].append(epoch())
    return seconds


def report(seconds: dict[str, list[float]], usual: str) -> None:
    """Print medians, and bnexp's ratios to the bare loop and to the usual way."""
    medians = {way: statistics.median(values) for way, values in seconds.items()}
    for way, values in seconds.items():
        print(f"{way:<9} median {medians[way]:.3f} s, fastest {min(values):.3f} s, of {len(values)} epochs")
    ratio, at_best = (fold(seconds["bnexp"]) / fold(seconds["bare"]) for fold in (statistics.median, min))
    print(f"bnexp / bare      {ratio:.3f}  (fastest {at_best:.3f})")
    print(f"{usual} / bnexp  {medians[usual] / medians['bnexp']:.2f}")
