"""`bnexp data`: which datasets are here, fetching them, and checking every byte."""

import os
from collections.abc import Sequence
from pathlib import Path

from bnexp.blueprint import refuse_warnings
from bnexp.config.aliases import kind_name
from bnexp.config.data_section import (
    DATASET_NAMES,
    DATASET_SUMMARIES,
    OWN_DATASETS,
    DataConfig,
    DatasetName,
    ImageFolderData,
    OwnData,
    data_config,
)
from bnexp.config.loading import load_config, load_data
from bnexp.config.packaged import ENDINGS, find_config
from bnexp.data.sources.facts import dataset_info
from bnexp.data.sources.place import data_folder
from bnexp.document.show import Output, remark, show
from bnexp.document.table import Cell, Column, Row, Table, word
from bnexp.document.writing import counted
from bnexp.errors import BnexpError, ConfigError, did_you_mean, visible, visible_lines


def list_datasets(*, data_dir: Path | None = None, output: Output = "table") -> None:
    """Print each dataset, whether it is here, and where. Files are looked for, not read."""
    columns = (
        Column("dataset", "dataset"),
        Column("state", "state"),
        Column("where", "where"),
        Column("summary", "what it holds"),
    )
    show(Table(columns, tuple(_row(name, data_folder(data_dir)) for name in DATASET_NAMES)), output)


def fetch(names: Sequence[str], *, data_dir: Path | None = None) -> None:
    """Download datasets that are missing, and check every byte of those that are here."""
    chosen = [_known(name) for name in names]
    for name in chosen:
        if name in OWN_DATASETS:
            raise ConfigError(f"{name} is a set of your own: nothing to fetch; bnexp data verify {name} --path PATH")
    for name in chosen:
        _load(data_config(name), data_folder(data_dir))


def verify(
    name: str,
    *,
    path: str | None = None,
    overrides: Sequence[str] = (),
    data_dir: Path | None = None,
    strict: bool = False,
) -> None:
    """Read a dataset, or that of a config, whole, without downloading, and say what it holds.

    With `strict`, warnings are refused.
    """
    data = _chosen(name, path, overrides)
    if isinstance(data, ImageFolderData):
        from bnexp.data.sources.image_folder import open_folder  # loads Pillow

        open_folder(data, data_folder(data_dir), anew=True)  # the files, and not what the cache keeps of them
    warnings = _load(data, data_folder(data_dir))
    if strict:
        refuse_warnings(warnings)


def _chosen(name: str, path: str | None, overrides: Sequence[str]) -> DataConfig:
    """Return what to verify: a dataset with what is typed of it, or the data of a config."""
    file = Path(name) if name in DATASET_NAMES else find_config(Path(name))
    if file.suffix in ENDINGS:
        if path is not None:
            raise ConfigError(f"--path goes with {' or '.join(OWN_DATASETS)}; a config has --set data.path={path}")
        data = load_config(file, overrides).data
        return data.model_copy(update={"download": False})
    if name not in DATASET_NAMES and os.path.exists(name):
        kind = "image_folder" if os.path.isdir(name) else "npz"
        raise ConfigError(f"{name}: expected a dataset; bnexp data verify {kind} --path {name}")
    known = _known(name)
    if known in OWN_DATASETS and path is None:
        raise ConfigError(f"{name} is a set of your own; expected --path: where it lies")
    if known not in OWN_DATASETS and path is not None:
        raise ConfigError(f"--path goes with {' or '.join(OWN_DATASETS)}, found {name}")
    return load_data(known, path, overrides)


def list_cache(*, clear: bool = False) -> None:
    """Print what is kept of decoded images, and where; `clear` deletes it."""
    from bnexp.data.sources.image_cache import cache_files, cache_folder, read_about, why_not_trusted

    folder, files = cache_folder(), cache_files()
    if folder is not None and (why := why_not_trusted(folder)):
        raise BnexpError(f"the cache of decoded images is not used: {why}")
    sizes = {path: path.stat().st_size for path in files}
    total = f"{counted(len(files), 'file')}, {sum(sizes.values()) / 1e6:,.1f} MB in {visible(str(folder))}"
    if clear:
        for path in files:
            path.unlink(missing_ok=True)
        print(f"deleted {total}")
        return
    columns = (Column("folder", "images of"), Column("images", "images", "number"), Column("shape", "shape"))
    rows = []
    for path, size in sizes.items():
        about = read_about(path)
        images, shape = (len(about.labels), " x ".join(map(str, about.shape))) if about else (None, "damaged")
        rows.append(
            {
                "folder": word(visible(about.folder if about else path.name)),
                "images": Cell() if images is None else Cell(f"{images:,}", images),
                "shape": word(shape),
                "size": Cell(f"{size / 1e6:,.1f}", size),
            }
        )
    table = Table((*columns, Column("size", "MB", "number")), tuple(rows))
    if rows:
        show(table, "table")
    print(total + ("; bnexp data cache --clear deletes them" if rows else ""))


def _known(name: str) -> DatasetName:
    """Return our name of a dataset, such as `fashion_mnist` for FashionMNIST."""
    for known in DATASET_NAMES:
        if kind_name("data", "dataset", name, DATASET_NAMES) == known:
            return known
    known_names = ", ".join(DATASET_NAMES)
    raise ConfigError(f'unknown dataset "{name}".{did_you_mean(name, DATASET_NAMES)} Known: {known_names}')


def _load(data: DataConfig, data_dir: Path) -> int:
    """Load a dataset whole, which checks it, and print what it holds. Returns the number of warnings."""
    from bnexp.data.load import DATASET_LOADERS

    images = DATASET_LOADERS[data.dataset](data, data_dir)
    info = dataset_info(data, data_dir)
    size = " x ".join(map(str, images.train.images.shape[1:]))
    parts = " + ".join(f"{len(part):,}" for part in (images.train, images.val, images.test) if part is not None)
    state, where = _state(data.dataset, data_dir)
    place = "" if isinstance(data, OwnData) else f", {visible(where or state)}"
    print(f"{data.dataset}: intact, {parts} images of {size} in {info.classes} classes{place}")
    for note in (*(info.account.lines() if info.account else ()), *info.notes):
        print(f"{data.dataset}: {visible_lines(note)}")
    for warning in info.warnings:
        remark("warning", f"{data.dataset}: {warning}")
    return len(info.warnings)


def _row(name: DatasetName, data_dir: Path) -> Row:
    state, where = _state(name, data_dir)
    return {"dataset": word(name), "state": word(state), "where": word(where), "summary": word(DATASET_SUMMARIES[name])}


def _state(name: DatasetName, data_dir: Path) -> tuple[str, str]:
    """Return whether a dataset is here (`here`, `missing`, ...), and where it lies or would lie."""
    from bnexp.data.load import PUBLISHED

    if name in OWN_DATASETS:
        return "yours", "data.path"
    if name not in PUBLISHED:
        return ("carried" if name == "mnist5k" else "made on the spot"), ""
    files = PUBLISHED[name](data_dir)
    where = files[0].parent if len(files) > 1 else files[0]
    return ("here" if all(file.is_file() for file in files) else "missing"), visible(str(where))
