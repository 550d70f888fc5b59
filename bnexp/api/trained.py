"""A trained network in Python: that of a run with its stored weights, and examples as it saw them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bnexp.api.values import warn
from bnexp.blueprint import Blueprint
from bnexp.config.schema import Config
from bnexp.data.sources.place import data_folder
from bnexp.runs.data import recorded_data_dir
from bnexp.runs.find import find_run, runs_folder
from bnexp.runs.run import Run

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, repr=False)
class Trained:
    """A trained network.

    Attributes:
        network: a module of torch on the CPU, in inference mode (`eval()`): x (B, C, H, W) -> logits (B, classes).
        step: after how many steps it had these weights.
        folder: of its run.
    """

    network: "nn.Module"
    step: int
    folder: Path
    _blueprint: Blueprint
    _data_dir: Path

    @property
    def config(self) -> Config:
        """The config that the run began with."""
        return self._blueprint.config

    def examples(self, part: Literal["train", "val", "test"] = "test") -> "tuple[Tensor, Tensor]":
        """Return a part of the dataset as the network sees it, on the CPU; it is loaded, and may be downloaded.

        A `BnexpWarning` says where the data are no longer those that the run learned from.

        Returns:
            Inputs x, float32 (N, C, H, W), preprocessed as the run did and without augmentation, and labels y, int64
            (N,).

        Raises:
            BnexpError: the data are not there, or damaged.
        """
        import torch

        from bnexp.data.load import load_dataset
        from bnexp.inspection.learned_from import on_other_data

        drawn = self._blueprint
        dataset = load_dataset(drawn.config.data, drawn.info, drawn.plan, self._data_dir, torch.device("cpu"))
        if differ := on_other_data(self.folder, drawn.config, dataset):
            warn(f"{self.folder}: {differ}")
        chosen = dataset.parts[part]
        return dataset.inputs(chosen.images), chosen.labels

    def __repr__(self) -> str:
        return f"{self.folder} after {self.step} steps: {self.network}"


def load(
    run: str | os.PathLike[str] | Run,
    *,
    weights: str = "final",
    runs_dir: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> Trained:
    """Load the trained network of a run, in inference mode; nothing that lies in the folder is executed.

    Args:
        run: a run, its folder, or its name below `runs_dir`.
        weights: those of the `final` step, the `best` on the validation part, the averaged ones (`ema`), or `stepN`
            of a checkpoint.
        runs_dir: where runs lie; by default where BNEXP_RUNS says, else `runs`.
        data_dir: where datasets lie; by default where the run found them. Only a set of your own is looked at here.

    Raises:
        ConfigError: there is no such run.
        BnexpError: it has no such weights, or they are damaged, or do not fit its config.
    """
    folder = run.folder if isinstance(run, Run) else find_run(os.fspath(run), runs_folder(runs_dir))
    place = recorded_data_dir(folder) or data_folder(None) if data_dir is None else Path(data_dir)
    from bnexp.inspection.stored import network_of  # loads torch

    stored = network_of(folder, weights=weights, data_dir=place)
    return Trained(stored.network, stored.step, folder, stored.blueprint, place)
