"""Where datasets lie."""

import os
from pathlib import Path


def data_folder(chosen: Path | None) -> Path:
    """Return where datasets lie: what `--data-dir` says, else the variable BNEXP_DATA, else `data`."""
    return chosen or Path(os.environ.get("BNEXP_DATA") or "data")
