"""TensorBoard's view of a run: scalars, histograms and hyperparameters in one event file.

All scalars of a step go into one event, which costs a tenth of one event per scalar.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[attr-defined]
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary  # type: ignore[attr-defined]
from torch.utils.tensorboard.summary import custom_scalars

from bnexp.store.board_layout import Layout, layout_of
from bnexp.store.event_file import EventFile
from bnexp.store.hyperparameters import Hyperparameter, hyperparameter_summary
from bnexp.store.writers import Values

BINS = 64


class TensorBoardWriter:
    """Writes one event file into the run's folder.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._events = EventFile(folder)
        self._tags: set[str] = set()
        self._layout: Layout = {}

    def go_on_after(self, step: int, tags: Collection[str]) -> None:
        """Let TensorBoard forget what older files hold of later steps, and keep their charts.

        Args:
            step: the one that a continued run goes on after.
            tags: of the scalars in the older files.
        """
        self._events.add(Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)))
        self._lay_out(step + 1, tags)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Add a point to each chart; a value that is not finite is shown as TensorBoard shows nan."""
        self._lay_out(step, values)
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

    def hyperparameters(
        self, values: Mapping[str, Hyperparameter], metrics: Collection[str], ahead: Collection[str] = ()
    ) -> None:
        """Announce the config's values and which metrics the HParams page sets beside them.

        Args:
            values: flat, `section.key` to a number, boolean or text.
            metrics: tags of scalars that this writer gets.
            ahead: the values that are shown unasked, at most five.
        """
        self._add(0, hyperparameter_summary(values, metrics, ahead).value)

    def close(self) -> None:
        """Close the file."""
        self._events.close()

    def _lay_out(self, step: int, tags: Iterable[str]) -> None:
        """Write the page of custom charts, anew when a tag comes up that needs another chart; the last one counts."""
        if self._tags.issuperset(tags):
            return
        self._tags.update(tags)
        layout = layout_of(self._tags)
        if layout != self._layout:
            self._layout = layout
            charts = {
                category: {title: ("Multiline", [tag]) for title, tag in charts.items()}
                for category, charts in layout.items()
            }
            self._add(step, custom_scalars(charts).value)

    def _add(self, step: int, values: list[Summary.Value]) -> None:
        if values:
            self._events.add(Event(step=step, summary=Summary(value=values)))


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
