"""`bnexp compare`: what differs between arms, and what each reached."""

from collections.abc import Sequence
from pathlib import Path

from bnexp.analysis.arm_rows import TARGET_KEY
from bnexp.analysis.compare import compare_runs
from bnexp.document.show import Output, show
from bnexp.errors import ConfigError
from bnexp.runs.find import find_runs
from bnexp.runs.run import read_run


def compare(
    paths: list[str],
    *,
    runs_dir: Path = Path("runs"),
    target: float | None = None,
    sort: str | None = None,
    conditions: Sequence[str] = (),
    group_by: Sequence[str] = (),
    columns: str = "",
    baseline: str | None = None,
    output: Output = "table",
) -> None:
    """Print a table of arms: the config keys that differ, then what each arm reached over its seeds.

    The arguments are those of `bnexp compare --help`. Accuracies are percent for people, fractions in CSV and JSON.
    """
    refuse_target(target, sort)
    runs = [read_run(folder) for folder in find_runs(paths, runs_dir)]
    table, *others = compare_runs(
        runs,
        target=target,
        with_curves=output in ("table", "markdown"),
        sort=sort,
        conditions=conditions,
        group_by=group_by,
        columns=columns,
        baseline=baseline,
    )
    show(table, output, *others)


def refuse_target(target: float | None, sort: str | None) -> None:
    """Refuse a target that is no accuracy, and an order by a target that there is not.

    Raises:
        ConfigError: what was found, and what was expected.
    """
    if target is not None and not 0 < target <= 1:
        fraction = target / 100 if 1 < target <= 100 else 0.95
        raise ConfigError(f"--target {target:g}: expected a fraction above 0, up to 1, such as {fraction:g}")
    if sort is not None and target is None and sort.replace("-", "_").lower() == TARGET_KEY:
        raise ConfigError(f"--sort {sort}: this column needs --target, such as --target 0.95")
