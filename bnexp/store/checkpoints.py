"""The checkpoints of a run: `checkpoints/step<k>.pt`, of which the last two are kept, and `checkpoints/best.pt`.

Two, because the newest may turn out to be damaged; the best, because its weights are what a person wants later.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnexp.errors import BnexpError
from bnexp.store.checkpoint import DamagedCheckpoint, load_checkpoint, save_checkpoint
from bnexp.store.going_on import CHECKPOINTS, newest_first

BEST = "best.pt"
KEPT = 2


@dataclass(frozen=True)
class Loaded:
    """A checkpoint that is whole.

    Attributes:
        path: where it lies.
        values: what it holds, tensors on the CPU.
        damaged: what was wrong with newer ones, a sentence each.
    """

    path: Path
    values: dict[str, Any]
    damaged: tuple[str, ...]


def load_newest(folder: Path) -> Loaded | None:
    """Return the newest checkpoint in a run's folder that is whole, or None where none was ever written.

    Raises:
        BnexpError: there are some, and all are damaged.
    """
    damaged: list[str] = []
    for path in newest_first(folder):
        try:
            return Loaded(path, load_checkpoint(path), tuple(damaged))
        except DamagedCheckpoint as error:
            damaged.append(str(error))
    if damaged:
        raise BnexpError("no checkpoint is whole:\n  " + "\n  ".join(damaged))
    return None


class CheckpointFolder:
    """Writes the checkpoints of a run, and keeps the last two of those that are known to be whole.

    Args:
        folder: of the run.
        goes_on_from: the checkpoint that the run was continued from.
    """

    def __init__(self, folder: Path, goes_on_from: Path | None = None) -> None:
        self._folder = folder / CHECKPOINTS
        self._whole = [goes_on_from] if goes_on_from else []

    def save(self, step: int, values: dict[str, Any]) -> None:
        """Write the checkpoint after `step` steps, then delete all but the last two.

        Raises:
            OSError: it cannot be written; the others are as they were.
        """
        path = self._folder / f"step{step}.pt"
        save_checkpoint(path, values)
        self._whole = [*(other for other in self._whole if other != path), path][-KEPT:]
        for other in newest_first(self._folder.parent):
            if other not in self._whole:
                other.unlink(missing_ok=True)

    def save_best(self, step: int, weights: dict[str, Any]) -> None:
        """Write the weights that were best on the validation part, reached after `step` steps.

        Raises:
            OSError: they cannot be written; those before are as they were.
        """
        save_checkpoint(self._folder / BEST, {"step": step, "weights": weights})
