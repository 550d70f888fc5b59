"""Draw once, and hand on, everything that follows from a config before any tensor is made."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bnexp.config.data_section import DatasetInfo, OwnData
from bnexp.config.layout import Layout, layout_of
from bnexp.config.lint import warnings_of
from bnexp.config.loading import Loaded, load
from bnexp.config.packaged import file_name
from bnexp.config.plan import Plan, make_plan
from bnexp.config.refusals import check_network
from bnexp.config.schema import Config
from bnexp.data.sources.facts import dataset_info
from bnexp.data.sources.place import data_folder, settled
from bnexp.document.writing import counted
from bnexp.errors import BnexpError, ConfigError


@dataclass(frozen=True)
class Blueprint:
    """A config with what it means for its dataset. It holds plain values only, so that another process can take it.

    `warnings` are what the dataset and the config give reason to doubt, a sentence or two each.
    """

    config: Config
    info: DatasetInfo
    plan: Plan
    layout: Layout
    warnings: tuple[str, ...]

    def with_seed(self, seed: int) -> "Blueprint":
        """Return the blueprint of the same config with another seed, on which nothing else in it depends."""
        return replace(self, config=self.config.model_copy(update={"seed": seed}))


def draw(config: Config, data_dir: Path, info: DatasetInfo | None = None) -> Blueprint:
    """Draw the blueprint of a config, and refuse whatever can be refused without torch.

    `data_dir` is only read where the dataset is one of your own, and `info`, what it holds, is not known yet.

    Raises:
        ConfigError: the config asks for something that cannot be: a dataset that is missing or cannot be preprocessed
            that way, a batch that does not fit the dataset or its norms, items that do not fit their input, a network
            that no memory holds.
        BnexpError: a dataset of your own is broken.
    """
    if isinstance(config.data, OwnData):
        config = config.model_copy(update={"data": settled(config.data, data_dir)})
    info = info or dataset_info(config.data, data_dir)
    plan = make_plan(config, info)
    layout = layout_of(config.model, info.shape, info.classes)
    check_network(config, layout)
    return Blueprint(config, info, plan, layout, (*info.warnings, *warnings_of(config, plan, layout)))


@dataclass(frozen=True)
class Drawn:
    """A config file with a blueprint per seed; `notes` say how it was read."""

    path: Path
    blueprints: tuple[Blueprint, ...]
    notes: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings of the file; a seed changes none of them."""
        return self.blueprints[0].warnings


def draw_files(
    paths: Sequence[Path],
    overrides: Sequence[str],
    data_dir: Path | None,
    *,
    name: str | None = None,
    seeds: Sequence[int | None] = (None,),
) -> list[Drawn]:
    """Read config files, and draw a blueprint of each for each seed; None is the config's own.

    Raises:
        ConfigError: as for `draw`, with the name of the file, before anything is done for another.
        BnexpError: a dataset of your own is broken.
    """
    loaded = []
    for path in paths:
        try:
            loaded.append([load(path, overrides, name=name, seed=seed) for seed in seeds])
        except ConfigError as error:
            named = len(paths) == 1 or file_name(path) in str(error)
            raise error if named else ConfigError(f"{file_name(path)}: {error}") from None
    return [draw_loaded(path, own, data_dir) for path, own in zip(paths, loaded, strict=True)]


def draw_loaded(path: Path, loaded: Sequence[Loaded], data_dir: Path | None) -> Drawn:
    """Draw a blueprint of a config for each of its seeds, as it was loaded for each; messages call it `path`.

    Raises:
        ConfigError: as for `draw`.
        BnexpError: a dataset of your own is broken.
    """
    first, *others = loaded
    try:
        blueprint = draw(first.config, data_folder(data_dir))
    except BnexpError as error:
        raise type(error)(f"{file_name(path)}: {error}") from None
    more = (blueprint.with_seed(other.config.seed) for other in others)
    return Drawn(path, (blueprint, *more), first.notes)


def refuse_warnings(count: int) -> None:
    """Refuse to go on where there are warnings, as `--strict` asks.

    Raises:
        ConfigError: there are some.
    """
    if count:
        raise ConfigError(f"--strict: {counted(count, 'warning')}, and none was allowed; without --strict it goes on")
