"""Find the folder where datasets lie, and a set of your own from what `data.path` says."""

import os
from pathlib import Path

from bnexp.config.data_section import DataConfig, OwnData, WrittenPath
from bnexp.errors import ConfigError


def data_folder(chosen: Path | None) -> Path:
    """Return where datasets lie: what `--data-dir` says, else the variable BNEXP_DATA, else `data`."""
    return chosen or Path(os.path.expanduser(os.environ.get("BNEXP_DATA") or "data"))


def own_path(data: OwnData, data_dir: Path) -> Path:
    """Return where a set of your own lies.

    An absolute `data.path` is taken as it is. A relative one is looked for beside the config (loading did that, and
    made it absolute), in the data folder, and in the current folder.

    Raises:
        ConfigError: it lies nowhere, or it begins with the home of a user whom nobody knows; the message names every
            place that was looked at.
    """
    try:
        path = Path(data.path).expanduser()
    except RuntimeError:
        raise ConfigError(f"data.path {data.path}: no home folder of that user; expected a path") from None
    for place in (data_dir, Path()):
        if os.path.lexists(place / path):
            return place / path
    kind = "file" if data.dataset == "npz" else "folder"
    what = {"file": "expected an npz file", "folder": "expected images in a folder per class"}[kind]
    if path.is_absolute():
        raise ConfigError(f"{path}: no such {kind}; {what} (data.path)")
    places = [("the data folder", data_dir), ("the current folder", Path())]
    if isinstance(data.path, WrittenPath):
        places.insert(0, ("the folder of the config", Path(data.path.folder)))
    looked = "\n".join(f"  {os.path.abspath(place)} ({name})" for name, place in places)
    raise ConfigError(
        f"data.path {data.path}: no such {kind}; {what}, relative to one of\n{looked}\n"
        "--data-dir FOLDER, or the variable BNEXP_DATA, names another data folder; --set data.path=/... is absolute"
    )


def settled(data: OwnData, data_dir: Path) -> OwnData:
    """Return the section with a path that leads to the same place from any current folder."""
    found = own_path(data, data_dir)
    in_data_dir = data_dir / Path(data.path).expanduser()  # which the records of a run name
    return data if found == in_data_dir else data.model_copy(update={"path": os.path.abspath(found)})


def moved(data: DataConfig, data_dir: Path) -> DataConfig:
    """Return a section whose absolute path leads nowhere with the path of what has that name in the data folder."""
    if not isinstance(data, OwnData) or not os.path.isabs(data.path) or os.path.lexists(data.path):
        return data
    here = os.path.abspath(data_dir / os.path.basename(data.path))
    return data.model_copy(update={"path": here}) if os.path.lexists(here) else data
