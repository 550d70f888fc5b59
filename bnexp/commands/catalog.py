"""`bnexp catalog`: every name that a config can say, with one line on each."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bnexp.config.block import NO_NORM, is_item
from bnexp.config.data_section import AUGMENTATIONS, DATASET_SUMMARIES, PREPROCESSINGS
from bnexp.config.items import ITEMS, Role, names_of
from bnexp.config.keys import SECTIONS
from bnexp.config.loading import read_draft
from bnexp.config.model import ARCHITECTURES
from bnexp.config.packaged import packaged_configs
from bnexp.config.plugin_code import offered
from bnexp.config.probes_section import ProbesConfig
from bnexp.config.schema import INIT_SCHEMES
from bnexp.config.sweep_file import is_sweep
from bnexp.config.yaml_text import read_yaml_file
from bnexp.document.show import Output, show
from bnexp.document.table import Column, Table
from bnexp.document.table import word as cell
from bnexp.errors import ConfigError, did_you_mean


class Entry(NamedTuple):
    """The key that takes a name, the name with its options, and one line on it."""

    key: str
    name: str
    summary: str


def catalog(output: Output = "table", *, word: str | None = None) -> None:
    """Print norms, activations, layers, models, datasets and what is done to them, optimizers and more, a line each.

    A `word` chooses a kind, such as `norm` or `datasets`, or else the lines that have it. On a terminal it is a table;
    in a pipe the lines are plain and aligned, each complete by itself for grep.

    Raises:
        ConfigError: no line has the word.
    """
    columns = (Column("key", "said in", grouped=True), Column("name", "name"), Column("summary", "what it is"))
    entries = list(catalog_entries()) if word is None else _chosen(list(catalog_entries()), word)
    rows = ({key: cell(text) for key, text in entry._asdict().items()} for entry in entries)
    show(Table(columns, tuple(rows), headed=False), output)


def _chosen(entries: Sequence[Entry], word: str) -> Sequence[Entry]:
    """Return the entries of the kind that a word names, or else those that have it anywhere."""
    wanted = word.lower()
    kinds = [entry for entry in entries if wanted in _names_of(entry.key)]
    if chosen := kinds or [entry for entry in entries if wanted in " ".join(entry).lower()]:
        return chosen
    names = dict.fromkeys(name for entry in entries for name in (entry.name.partition("(")[0], entry.key))
    hint = did_you_mean(word, names) or f" Kinds: {', '.join(dict.fromkeys(entry.key for entry in entries))}"
    raise ConfigError(f"{word}: no line of the catalog has this.{hint}")


def _names_of(key: str) -> set[str]:
    """Return what a kind may be called: its key, or the last word of that, also of one or of several."""
    last = key.rpartition(".")[2]
    return {key, last, last.removesuffix("s"), f"{last}s"}


def catalog_entries() -> Iterator[Entry]:
    """Yield every name, those of one kind together."""
    broken = list[Entry]()
    for name in offered():
        try:
            is_item(name)
        except ConfigError as error:
            broken.append(Entry("norm", name, f"cannot be used: {error}"))
    roles: tuple[Role, ...] = ("norm", "activation", "layer", "dropout", "shortcut")
    yield Entry("norm", NO_NORM, "no normalization: takes the item `norm` out of the block")
    for role in roles:
        for name, kind in ((name, ITEMS[name]) for name in names_of(role)):
            options = ", ".join(kind.options.model_fields)
            origin = f" ({kind.source.distribution or kind.source.path})" if kind.source else ""
            yield Entry(role, f"{name}({options})" if options else name, kind.summary + origin)
    yield from broken
    yield from (Entry("model.arch", name, summary) for name, summary in ARCHITECTURES.items())
    yield from (Entry("data.dataset", name, summary) for name, summary in DATASET_SUMMARIES.items())
    yield from (Entry("data.preprocess", name, summary) for name, summary in PREPROCESSINGS.items())
    yield from (Entry("data.augment", name, summary) for name, summary in AUGMENTATIONS.items())
    for spot in SECTIONS.values():
        if spot.variant and spot.discriminator == "name":  # the families have a fuller line above
            yield Entry(spot.keys[-1], spot.variant, str(spot.section.__doc__).splitlines()[0].rstrip("."))
    yield from (Entry("init.scheme", name, summary) for name, summary in INIT_SCHEMES.items())
    yield from (Entry("probes", name, str(field.description)) for name, field in ProbesConfig.model_fields.items())
    yield from (_packaged(name, file) for name, file in packaged_configs().items())


def _packaged(name: str, file: Path) -> Entry:
    """Return the line on a config that comes with bnexp: its network and data; or on a sweep, its question."""
    values, _ = read_yaml_file(file)
    if is_sweep(values):
        return Entry("sweep", name, str(values["question"]))
    data, model = (read_draft(file).values[section] for section in ("data", "model"))
    norm = f", norm {model['norm']}" if "norm" in model and "norm" in model["block"] else ""
    return Entry("config", name, f"{model['arch']} on {data['dataset']}: {model['block']}{norm}")
