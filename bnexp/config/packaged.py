"""Find a config by its name: a file of the user's, or one that comes with bnexp and needs no checkout.

A word such as `demo`, `studies/placement` or `configs/demo.yaml` is a file on the disk if there is one, then the file
with `.yaml` behind it, then the config of that name in the package.
"""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePath

_PACKAGE = Path(__file__).parents[1]
FOLDER = next((place for place in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if place.is_dir()), _PACKAGE)
"""Where packaged configs lie: in the package, or in a checkout beside it; the package itself where there are none."""
ENDINGS = (".yaml", ".yml")


@cache
def packaged_configs() -> Mapping[str, Path]:
    """Return the file of each config and sweep file that comes with bnexp, by its name, such as `studies/placement`."""
    files = sorted(FOLDER.rglob("*.yaml")) if FOLDER != _PACKAGE else []
    return {file.relative_to(FOLDER).with_suffix("").as_posix(): file for file in files}


def find_config(path: Path) -> Path:
    """Return the file that a person names; `path` itself where there is none.

    A folder is no config, and hides none that comes with bnexp.
    """
    return _on_disk(path) or packaged_configs().get(_name_in(path), path)


def find_base(base: Path, folder: Path) -> Path:
    """Return the file that `base:` names in a file of this folder; where there is none, the place beside that file."""
    return _on_disk(folder / base) or packaged_configs().get(_name_in(base), folder / base)


def name_of_packaged(path: Path) -> str | None:
    """Return the name under which a file comes with bnexp; None for every other, and for one called by its own path."""
    if not path.is_absolute():
        return None
    inside = PurePath(os.path.relpath(os.path.normpath(path), FOLDER)) if path.drive == FOLDER.drive else path
    name = inside.with_suffix("").as_posix() if inside.suffix in ENDINGS else ""
    return name if name in packaged_configs() else None


def file_name(path: Path) -> str:
    """Return a path as it stands in messages and is typed: of what comes with bnexp, its name."""
    from bnexp.config.wording import brief  # loaded here: the command line finds configs, and --help would wait

    return name_of_packaged(path) or brief(str(path), 300)


def _name_in(path: Path) -> str:
    """Return the name that a relative path would have in the package: without its ending, and without `configs/`."""
    if path.is_absolute():
        return ""
    parts = path.with_suffix("").parts if path.suffix in ENDINGS else path.parts
    return "/".join(parts[1:] if parts[:1] == ("configs",) else parts)


def _on_disk(path: Path) -> Path | None:
    if os.path.lexists(path) and not os.path.isdir(path):
        return path
    if not path.name or path.suffix in ENDINGS:
        return None
    return next((file for ending in ENDINGS if os.path.isfile(file := Path(f"{path}{ending}"))), None)
