"""Where the figures of a step go: one writer, or several that are fed alike."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Protocol

import numpy as np

Values = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


class Writer(Protocol):
    """Takes the figures of a step. Names are `quantity/where`."""

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Take one number per name."""

    def histograms(self, step: int, values: dict[str, Values]) -> None:
        """Take many numbers per name, of any shape."""

    def close(self) -> None:
        """Write what is left and let go of the files."""


class Writers:
    """Feeds several writers alike."""

    def __init__(self, writers: Sequence[Writer]) -> None:
        self._writers = writers

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Hand one number per name to each writer."""
        for writer in self._writers:
            writer.scalars(step, values)

    def histograms(self, step: int, values: dict[str, Values]) -> None:
        """Hand many numbers per name to each writer."""
        for writer in self._writers:
            writer.histograms(step, values)

    def close(self) -> None:
        """Close each writer, in order; when one fails, the others are closed all the same."""
        with ExitStack() as stack:
            for writer in reversed(self._writers):
                stack.callback(writer.close)
