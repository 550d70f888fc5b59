"""metrics.jsonl: one row per logged step, strict JSON, append-only; the truth that comparison reads."""

import errno
import json
import os
from pathlib import Path
from typing import Any

from bnexp.store.run_folder import finite_or_null


class MetricsWriter:
    """Appends rows to metrics.jsonl; each row goes to the system whole, in one write."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Append the row of `step`. A value that is not finite is written as null.

        Raises:
            OSError: the disk is full; no part of the row is left in the file.
        """
        row = json.dumps({"step": step, **finite_or_null(values)}, allow_nan=False, separators=(",", ":")).encode()
        line = row + b"\n"
        written = self._file.write(line)
        if written < len(line):  # the system took what still fitted, without an error
            self._file.truncate(self._file.tell() - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def histograms(self, step: int, values: dict[str, Any]) -> None:
        """Nothing: histograms are for TensorBoard."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()
