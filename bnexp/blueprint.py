"""Draw once, and hand on, everything that follows from a config before any tensor is made."""

from dataclasses import dataclass
from pathlib import Path

from bnexp.config.data_section import DatasetInfo, OwnData
from bnexp.config.layout import Layout, layout_of
from bnexp.config.lint import warnings_of
from bnexp.config.plan import Plan, make_plan
from bnexp.config.refusals import check_network
from bnexp.config.schema import Config
from bnexp.data.sources.facts import dataset_info
from bnexp.data.sources.place import settled


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


def draw(config: Config, data_dir: Path) -> Blueprint:
    """Draw the blueprint of a config, and refuse whatever can be refused without torch.

    `data_dir` is only read where the dataset is one of your own.

    Raises:
        ConfigError: the config asks for something that cannot be: a dataset that is missing or cannot be preprocessed
            that way, a batch that does not fit the dataset or its norms, items that do not fit their input, a network
            that no memory holds.
        BnexpError: a dataset of your own is broken.
    """
    if isinstance(config.data, OwnData):
        config = config.model_copy(update={"data": settled(config.data, data_dir)})
    info = dataset_info(config.data, data_dir)
    plan = make_plan(config, info)
    layout = layout_of(config.model, info.shape, info.classes)
    check_network(config, layout)
    return Blueprint(config, info, plan, layout, (*info.warnings, *warnings_of(config, plan, layout)))
