"""`bnexp compare`: what differs between arms, and what each reached."""

from pathlib import Path

from bnexp.analysis.arms import gather_arms
from bnexp.analysis.compare import DEFAULT_SORT, SCORED_ON, TARGET_KEY, compare_arms
from bnexp.document.show import Output, show
from bnexp.document.table import find_column, sort_rows, together
from bnexp.errors import ConfigError
from bnexp.runs.find import find_runs
from bnexp.runs.run import read_run


def compare(
    paths: list[str],
    *,
    runs_dir: Path = Path("runs"),
    target: float | None = None,
    sort: str | None = None,
    output: Output = "table",
) -> None:
    """Print a table of arms: the config keys that differ, then what each arm reached over its seeds.

    The arguments are those of `bnexp compare --help`. Accuracies are percent for people, fractions in CSV and JSON.
    """
    if target is not None and not 0 < target <= 1:
        fraction = target / 100 if 1 < target <= 100 else 0.95
        raise ConfigError(f"--target {target:g}: expected a fraction above 0, up to 1, such as {fraction:g}")
    arms = gather_arms(read_run(folder) for folder in find_runs(paths, runs_dir))
    table = compare_arms(arms, target=target, with_curves=output in ("table", "markdown"))
    if sort is not None and target is None and sort.replace("-", "_").lower() == TARGET_KEY:
        raise ConfigError(f"--sort {sort}: this column needs --target, such as --target 0.95")
    sortable = [column for column in table.columns if column.kind != "curve"]
    show(together(sort_rows(table, find_column(sortable, sort or DEFAULT_SORT)), SCORED_ON), output)
