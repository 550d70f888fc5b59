"""Where datasets lie."""

import os
from pathlib import Path

from bnexp.config.data_section import DataConfig


def data_folder(chosen: Path | None) -> Path:
    """Return where datasets lie: what `--data-dir` says, else the variable BNEXP_DATA, else `data`."""
    return chosen or Path(os.environ.get("BNEXP_DATA") or "data")


def own_path(data: DataConfig, data_dir: Path) -> Path:
    """Return where a set of your own lies: `data.path`, relative to the data folder unless it is absolute."""
    return data_dir / Path(data.path or "").expanduser()
