"""Find the folder where datasets lie, and a set of your own from what `data.path` says."""

import contextlib
import os
import re
from pathlib import Path

from bnexp.config.data_section import OWN_PATHS, DataConfig, OwnData, WrittenPath
from bnexp.errors import ConfigError, nearest_path


def data_folder(chosen: Path | None) -> Path:
    """Return where datasets lie: what `--data-dir` says, else the variable BNEXP_DATA, else `data`."""
    return chosen or Path(os.path.expanduser(os.environ.get("BNEXP_DATA") or "data"))


BROUGHT: dict[str, Path] = {}
"""Where sets of your own lie that were brought here from another machine, by their paths there."""


def own_path(data: OwnData, data_dir: Path, key: str = "path") -> Path:
    """Return where a set of your own lies, or its validation part with the key `val_path`.

    An absolute path is taken as it is. A relative one is looked for beside the config (loading did that, and
    made it absolute), in the data folder, and in the current folder.

    Raises:
        ConfigError: it lies nowhere, or it begins with the home of a user whom nobody knows; the message names every
            place that was looked at.
    """
    written: str = getattr(data, key)
    if written in BROUGHT:
        return BROUGHT[written]
    try:
        path = Path(written).expanduser()
    except RuntimeError:
        raise ConfigError(f"data.{key} {written}: no home folder of that user; expected a path") from None
    for place in (data_dir, Path()):
        if os.path.lexists(place / path):
            return place / path
    if hint := _hint(written, data_dir):
        raise ConfigError(f"data.{key} {written}: {hint}")
    kind = "file" if data.dataset == "npz" else "folder"
    what = {"file": "expected an npz file", "folder": "expected images in a folder per class"}[kind]
    if path.is_absolute():
        raise ConfigError(f"{path}: no such {kind}; {what} (data.{key})")
    places = [("the data folder", data_dir), ("the current folder", Path())]
    if isinstance(written, WrittenPath):
        places.insert(0, ("the folder of the config", Path(written.folder)))
    looked = "\n".join(f"  {os.path.abspath(place)} ({name})" for name, place in places)
    raise ConfigError(
        f"data.{key} {written}: no such {kind}; {what}, relative to one of\n{looked}\n"
        "--data-dir FOLDER, or the variable BNEXP_DATA, names another data folder; "
        f"--set data.{key}=/... is absolute"
    )


_WRITTEN = (
    (r"(?i)https?://.*", "an address; fetch what lies there, unpack it, and name the folder or file"),
    (r"(?i)file://(.+)", "a path stands without file://: --set data.path={0}"),
    (r".*\$\w+.*", "variables are filled in by the shell, and not in a config; write the path whole"),
    (r"(?:[A-Za-z]:)?[^/]*\\.*", "backslashes divide folders on Windows alone; expected / between them"),
    (r".*[*?].*", "a pattern; expected one folder or file"),
    (r"\s+(.*\S)\s*|(\S.*?)\s+", "spaces around a path are part of it; did you mean without them?"),
)
"""What people write that is no path here, and what to say of it."""


def _hint(written: str, data_dir: Path) -> str:
    """Return what is wrong with a path that leads nowhere, or what lies nearby under a similar name; or nothing."""
    for pattern, hint in _WRITTEN:
        if match := re.fullmatch(pattern, written):
            return hint.format(match[1] if match.re.groups else "")
    path = Path(written).expanduser()
    for place in (data_dir, Path()):
        above, names = (place / path).parent, list[str]()
        with contextlib.suppress(OSError):
            names = os.listdir(above)
        if near := nearest_path(path.name, names):
            return f'not found. Did you mean "{path.parent / near}"? It lies in {os.path.abspath(above)}'
    return ""


def settled(data: OwnData, data_dir: Path) -> OwnData:
    """Return the section with paths that lead to the same places from any current folder."""
    paths = dict[str, str]()
    for key in OWN_PATHS:
        if (written := getattr(data, key)) and written not in BROUGHT:
            found = own_path(data, data_dir, key)
            in_data_dir = data_dir / Path(written).expanduser()  # which the records of a run name
            paths |= {} if found == in_data_dir else {key: os.path.abspath(found)}
    return data.model_copy(update=paths) if paths else data


def moved(data: DataConfig, data_dir: Path) -> DataConfig:
    """Return a section whose absolute paths lead nowhere with those of what has these names in the data folder."""
    if not isinstance(data, OwnData):
        return data
    found = dict[str, str]()
    for key in OWN_PATHS:
        written = getattr(data, key)
        if written and os.path.isabs(written) and not os.path.lexists(written) and written not in BROUGHT:
            here = os.path.abspath(data_dir / os.path.basename(written))
            found |= {key: here} if os.path.lexists(here) else {}
    return data.model_copy(update=found) if found else data
