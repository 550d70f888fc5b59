"""Check files, configs and sweeps alike, without training: count their arms, runs and steps, or say what is wrong."""

import glob
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bnexp.blueprint import draw_files
from bnexp.config.packaged import ENDINGS, find_config
from bnexp.config.sweep_file import is_sweep
from bnexp.config.sweep_loading import load_sweep
from bnexp.config.yaml_text import read_yaml_file
from bnexp.errors import BnexpError, ConfigError
from bnexp.runs.find import runs_folder
from bnexp.runs.folder import META
from bnexp.sweep.estimate import RECORD
from bnexp.sweep.plan import Planner


@dataclass(frozen=True)
class Checked:
    """What a check of a file found.

    Attributes:
        kind: config or sweep.
        name: of its runs, or of the sweep.
        arms, runs: of a sweep with its tuning; 1 of a config.
        parameters, steps: of a config.
        error: why it cannot be trained; None where it can.
    """

    path: Path
    kind: str
    name: str | None = None
    arms: int | None = None
    runs: int | None = None
    parameters: int | None = None
    steps: int | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    error: BnexpError | None = None

    @property
    def status(self) -> str:
        """Whether it can be trained: ok, ok with warnings, or wrong."""
        return "wrong" if self.error else "warnings" if self.warnings else "ok"


def files_at(paths: Sequence[Path]) -> list[Path]:
    """Return the files at paths, each once: those below a folder, and those that fit a pattern no shell filled in.

    Hidden folders are passed over, and those of runs and sweeps, unless they are what is named.

    Raises:
        ConfigError: a folder without any, or a pattern that fits none.
    """
    return list(dict.fromkeys(file for path in paths for file in _files_at(path)))


def _files_at(path: Path) -> Iterator[Path]:
    if path.is_dir():
        found = sorted(below for ending in ENDINGS for below in path.rglob(f"*{ending}"))
        found = [below for below in found if not any(part.startswith(".") for part in below.relative_to(path).parts)]
        found = [below for below in found if below.parent == path or not _is_kept(below)]
        if not found:
            raise ConfigError(f"{path}: a folder without configs; expected files such as {path / 'bn.yaml'}")
        yield from found
    elif not path.exists() and glob.has_magic(str(path)):
        fitting = sorted(map(Path, glob.glob(str(path), recursive=True)))
        if not fitting:
            raise ConfigError(f"{path}: no file fits this pattern")
        for each in fitting:
            yield from _files_at(each)
    else:
        yield path


def _is_kept(file: Path) -> bool:
    """Tell whether a file is the copy that a run or a sweep keeps in its folder, and none that a person edits."""
    return any((file.parent / record).exists() for record in (META, RECORD))


def is_sweep_file(path: Path) -> bool:
    """Tell whether a file is a sweep; one that cannot be read is none."""
    with suppress(ConfigError, OSError):
        values, _ = read_yaml_file(find_config(path))
        return isinstance(values, dict) and is_sweep(values)
    return False


def check_file(path: Path, overrides: Sequence[str], data_dir: Path | None, device: str) -> Checked:
    """Check a config or a sweep; what is wrong with it is returned, not raised."""
    kind = "sweep" if is_sweep_file(path) else "config"
    try:
        return (_sweep if kind == "sweep" else _config)(path, overrides, data_dir, device)
    except BnexpError as error:
        return Checked(path, kind, error=error)


def _config(path: Path, overrides: Sequence[str], data_dir: Path | None, device: str) -> Checked:
    from bnexp.inspection.outline import outline  # loads torch, as what weighs it does
    from bnexp.models.build import without_numbers
    from bnexp.training.device import choose_device
    from bnexp.training.room import doubts_about_memory

    [drawn] = draw_files([path], overrides, data_dir)
    blueprint = drawn.blueprints[0]
    rows = outline(without_numbers(blueprint.layout), blueprint.layout)
    return Checked(
        path,
        "config",
        name=blueprint.config.name,
        arms=1,
        runs=1,
        parameters=sum(row.parameters for row in rows),
        steps=blueprint.plan.total_steps,
        warnings=(*drawn.warnings, *doubts_about_memory(blueprint, choose_device(device))),
        notes=drawn.notes,
    )


def _sweep(path: Path, overrides: Sequence[str], data_dir: Path | None, device: str) -> Checked:
    sweep = load_sweep(path, overrides=overrides)
    plan = Planner(sweep, runs_folder(), data_dir).plan()
    runs = list(plan.all_runs)
    arms = {run.arm_name for run in plan.runs}
    return Checked(path, "sweep", sweep.name, len(arms), len(runs), warnings=tuple(plan.warnings))
