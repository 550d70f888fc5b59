"""`bnexp probe`: the expensive probes on the stored weights of a run."""

from collections.abc import Sequence
from pathlib import Path

from bnexp.config.wording import one_of
from bnexp.data.sources.place import data_folder
from bnexp.document.show import Output, show
from bnexp.document.table import Cell, Column, Table, word
from bnexp.errors import BnexpError, ConfigError
from bnexp.runs.find import find_run
from bnexp.runs.run import COMPLETE, read_run

WEIGHTS = ("final", "best", "ema")
_SO_FAR = {
    "final": "not finished, its newest weights",
    "best": "not finished, its best weights so far",
    "ema": "not finished, its averaged weights so far",
}


def probe(
    path: str,
    *,
    probes: Sequence[str] = (),
    weights: str = "final",
    overrides: Sequence[str] = (),
    runs_dir: Path = Path("runs"),
    data_dir: Path | None = None,
    device: str = "auto",
    output: Output = "table",
) -> None:
    """Measure the stored weights of one run and print a figure per line.

    The arguments are those of `bnexp probe --help`.
    """
    if weights not in WEIGHTS:
        raise ConfigError(f'--weights: expected {one_of(WEIGHTS)}, found "{weights}"')
    folder = find_run(path, runs_dir)

    # Only what computes pays for loading torch.
    from bnexp.inspection.stored import probe_run

    measured = probe_run(
        folder, probes=probes, weights=weights, overrides=overrides, data_dir=data_folder(data_dir), device=device
    )
    if not measured.figures:
        raise BnexpError(f"{folder}: there is nothing in this network that the probes asked could measure")
    which = f"the {weights} weights" if read_run(folder).status in COMPLETE else _SO_FAR[weights]
    show(_table(measured.figures, f"{folder}: {which}, after {measured.step:,} steps"), output)


def _table(figures: dict[str, float], note: str) -> Table:
    columns = (Column("quantity", "quantity"), Column("where", "where"), Column("value", "value", kind="number"))
    rows = []
    for name, value in figures.items():
        quantity, _, where = name.partition("/")
        rows.append({"quantity": word(quantity), "where": word(where), "value": Cell(f"{value:.4g}", value)})
    return Table(columns, tuple(rows), (note,), layout="arms")
