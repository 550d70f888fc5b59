"""`bnexp fold`: the norms of a run folded into the layers before them, as deployment does."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bnexp.data.sources.place import data_folder
from bnexp.document.show import Output, show
from bnexp.document.table import NOTHING, Column, Table, word
from bnexp.document.writing import counted
from bnexp.runs.data import recorded_data_dir
from bnexp.runs.find import find_run
from bnexp.runs.seal import read_config

if TYPE_CHECKING:
    from bnexp.inspection.folding import Fold, Folded


def fold(
    path: str,
    *,
    weights: str = "final",
    runs_dir: Path = Path("runs"),
    data_dir: Path | None = None,
    device: str = "auto",
    output: Output = "table",
) -> None:
    """Fold the norms of one run, write the weights beside it, and print where each norm went.

    The arguments are those of `bnexp fold --help`.
    """
    folder = find_run(path, runs_dir)

    # Only what computes pays for loading torch.
    from bnexp.inspection.folding import fold_run

    place = data_dir or recorded_data_dir(folder) or data_folder(None)
    result = fold_run(folder, weights=weights, data_dir=place, device=device)
    changed = read_config(folder)[1]
    show(_table(result.folds, [*_notes(result), *filter(None, [changed])]), output)


def _table(folds: "Sequence[Fold]", notes: Sequence[str]) -> Table:
    columns = [Column("place", "norm at"), Column("norm", "norm"), Column("layer", "folded into")]
    if any(fold.layer is None for fold in folds):
        columns.append(Column("reason", "stays, since it"))
    rows = [
        {"place": word(fold.norm), "norm": word(str(fold.item)), "reason": word(fold.reason or NOTHING)}
        | {"layer": word(fold.layer or NOTHING)}
        for fold in folds
    ]
    return Table(tuple(columns), tuple(rows), tuple(notes), layout="records")


def _notes(result: "Folded") -> list[str]:
    before, after = result.ms
    stay = sum(fold.layer is None for fold in result.folds)
    return [
        f"{result.path}: the folded weights, of step {result.step:,}"
        + (f"; {counted(stay, 'norm')} could not be folded" if stay else ""),
        f"on {result.examples} validation examples the logits, up to {result.largest_logit:.3g}, differ by at most "
        f"{result.difference:.1g}; the same class for {result.agreeing} of them",
        f"a pass of these examples takes {before:.3g} ms with the norms, {after:.3g} ms folded",
    ]
