"""Small bar charts in text."""

import math
from collections.abc import Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉"
_LEAST_SPAN = 10.0
"""Values that differ by less than this factor get bars that differ in proportion to a whole decade."""


def log_bars(values: Sequence[float], width: int) -> list[str]:
    """Return a bar per value whose length follows its logarithm: one cell for the least, `width` for the largest.

    A value that is not positive and finite gets none, and none gets any where there is no room.
    """
    logs = [math.log10(value) if 0 < value < math.inf else None for value in values]
    found = [log for log in logs if log is not None]
    if not found or width < 1:
        return [""] * len(logs)
    high = max(found)
    span = max(high - min(found), math.log10(_LEAST_SPAN))
    return ["" if log is None else _bar(1 + (width - 1) * (1 - (high - log) / span)) for log in logs]


def _bar(cells: float) -> str:
    whole, eighths = divmod(round(8 * cells), 8)
    return "█" * whole + _EIGHTHS[eighths].strip()
