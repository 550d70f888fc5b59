"""TensorBoard's view of a run: scalars, histograms and hyperparameters in one event file.

All scalars of a step go into one event, which costs a tenth of one event per scalar.
"""

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[attr-defined]
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary  # type: ignore[attr-defined]
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from torch.utils.tensorboard.summary import hparams

from bnexp.store.writers import Values

FLUSH_SECS = 5
"""A running experiment shows up in TensorBoard after this time."""
BINS = 64


class TensorBoardWriter:
    """Writes one event file into the run's folder."""

    def __init__(self, folder: Path) -> None:
        self._events: Any = EventFileWriter(str(folder), flush_secs=FLUSH_SECS)  # type: ignore[no-untyped-call]

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Add a point to each chart; a value that is not finite is shown as TensorBoard shows nan."""
        self._add(step, [Summary.Value(tag=name, simple_value=value) for name, value in values.items()])

    def histograms(self, step: int, values: dict[str, Values]) -> None:
        """Add a histogram per name. Values that are not finite are left out and counted in `non_finite/<name>`."""
        summaries = []
        for name, array in values.items():
            is_finite = np.isfinite(array)
            finite = array if is_finite.all() else array[is_finite]
            if finite.size:
                summaries.append(Summary.Value(tag=name, histo=histogram(finite)))
            if finite.size < array.size:
                summaries.append(Summary.Value(tag=f"non_finite/{name}", simple_value=float(array.size - finite.size)))
        self._add(step, summaries)

    def hyperparameters(self, values: dict[str, Any], metrics: list[str]) -> None:
        """Announce the config's values and which metrics the HParams page sets beside them.

        Args:
            values: flat, `section.key` to a number, boolean or text.
            metrics: tags of scalars that this writer gets.
        """
        for summary in hparams(values, dict.fromkeys(metrics, 0.0)):
            self._events.add_event(Event(wall_time=time.time(), summary=summary))

    def close(self) -> None:
        """Write what is left and close the file."""
        self._events.close()

    def _add(self, step: int, values: list[Summary.Value]) -> None:
        if values:
            self._events.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))


def histogram(values: Values) -> HistogramProto:
    """Count finite values in equal bins from the smallest to the largest."""
    doubles = values.astype(np.float64)  # in float32, numpy finds no room for the bins between values that are close
    low, high = float(doubles.min()), float(doubles.max())
    if not math.isfinite(high - low) or high - low <= 1e-12 * max(abs(low), abs(high), 1e-30):
        counts, edges = np.array([values.size]), np.array([low, np.nextafter(high, np.inf)])
    else:
        counts, edges = np.histogram(doubles, bins=BINS, range=(low, high))
    return HistogramProto(
        min=low,
        max=high,
        num=values.size,
        sum=float(doubles.sum()),
        sum_squares=float(np.square(doubles).sum()),
        # TensorBoard reads bucket_limit as right edges, so an empty first bucket marks the left end.
        bucket_limit=edges.tolist(),
        bucket=[0, *counts.tolist()],
    )
