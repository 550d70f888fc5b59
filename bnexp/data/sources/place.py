"""Find the folder where datasets lie."""

import os
from pathlib import Path

from bnexp.config.data_section import OwnData
from bnexp.errors import ConfigError


def data_folder(chosen: Path | None) -> Path:
    """Return where datasets lie: what `--data-dir` says, else the variable BNEXP_DATA, else `data`."""
    return chosen or Path(os.environ.get("BNEXP_DATA") or "data")


def own_path(data: OwnData, data_dir: Path) -> Path:
    """Return where a set of your own lies: `data.path`, relative to the data folder unless it is absolute.

    Raises:
        ConfigError: it begins with the home of a user whom nobody knows.
    """
    try:
        return data_dir / Path(data.path).expanduser()
    except RuntimeError:
        raise ConfigError(f"data.path {data.path}: no home folder of that user; expected a path") from None
