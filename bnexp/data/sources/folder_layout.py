"""Tell which folders of a tree are parts, and which are classes.

- `train`, `val` and `test` are known by these names, in any case, and by others that people use (`PARTS`).
- The folders in a part are its classes; images of deeper folders are of the class above them. A folder that holds
  nothing but one folder of folders is passed through.
- Where folders in the classes could be the classes as well, `data.class_level` has to say it.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from bnexp.data.sources.folder_tree import Folders, Tree
from bnexp.document.writing import counted, first_few
from bnexp.errors import ConfigError, did_you_mean

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "eval"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of parts, in small letters and without `set`, `data` or `images` beside them."""
_YEAR = r"(19|20)\d\d"
SHOWN = 8
"""Classes that a message names."""


@dataclass(frozen=True)
class Division:
    """The folders whose folders are classes, by part, in the order train, val, test; one, `train`, without parts.

    `level` is how many folders a class stands below them; `apart` is whether there are parts; `notes` inform.
    """

    bases: dict[str, Folders]
    level: int
    apart: bool
    notes: tuple[str, ...]


def divide(tree: Tree, level: int | None) -> Division:
    """Return parts and classes of a tree; `level` is what the config says of it.

    Raises:
        ConfigError: a part is missing or there twice, images stand in no class, or the classes are ambiguous.
    """
    top = passed_through(tree, ())
    parts = _parts_of(tree, top)
    apart = bool(parts)
    if apart:
        _refuse_lone_parts(tree, top, parts)
    places = parts or {"train": top}
    bases = {"train": passed_through(tree, places["train"])}
    known = [class_name(at[-1:]) for at in tree.inside(bases["train"])]
    bases |= {part: passed_through(tree, at, known) for part, at in places.items() if part != "train"}
    chosen = level or _level_of(tree, bases["train"])
    before = parts or {"train": ()}
    notes = [f"the classes are the folders in {_shown(at)}." for part, at in bases.items() if at != before[part] and at]
    for part, at in bases.items():
        _refuse_flat(tree, at, part if apart else "")
    return Division(bases, chosen, apart, tuple(notes))


def class_name(folders: Folders) -> str:
    """Return the name of a class: macOS and others write an accent in two ways, and mean one name."""
    return unicodedata.normalize("NFC", "/".join(folders))


def passed_through(tree: Tree, at: Folders, classes: Sequence[str] = ()) -> Folders:
    """Return the folder itself, or the one in it, and so on, where all images lie in folders of that one."""
    while not tree.images_in(at):
        holding = [inner for inner in tree.inside(at) if tree.images_below(inner)]
        if len(holding) != 1 or tree.images_in(holding[0]):
            break
        if _part_named(holding[0][-1]) or class_name(holding[0][-1:]) in classes:
            break
        at = holding[0]
    return at


def _part_named(name: str) -> str | None:
    plain = re.sub(rf"[\W_]+|{_YEAR}$", "", name.casefold())  # as in train2017
    return PARTS.get(plain) or PARTS.get(re.sub(r"(set|data|images|imgs|split)+$", "", plain))


def _part_within(name: str) -> str | None:
    """Return the part that one word of a name is, such as that of `seg_train`."""
    found = {PARTS[word] for word in re.split(r"[\W_\d]+", name.casefold()) if word in PARTS}
    return found.pop() if len(found) == 1 else None


def _parts_of(tree: Tree, top: Folders) -> dict[str, Folders]:
    """Return the folder of each part, none where the folders are classes."""
    inside = tree.inside(top)
    for known in (_part_named, _part_within):
        named: dict[str, list[Folders]] = {}
        for at in inside:
            if part := known(at[-1]):
                named.setdefault(part, []).append(at)
        if named and (known is _part_named or {"train", "test"} <= named.keys()):
            break
    else:
        return {}
    of_parts = [at for places in named.values() for at in places]
    classes = [at for at in inside if at not in of_parts and tree.images_in(at)]
    if classes and all(tree.images_in(at) or not tree.images_below(at) for at in of_parts):
        return {}  # "train" is a class, between others
    for part, places in named.items():
        if len(places) > 1:
            raise ConfigError(
                f"{tree.root}: {' and '.join(f'{_shown(at)}' for at in places)} could both be the {part} part; "
                "expected one: rename or move the other"
            )
    return {part: named[part][0] for part in ("train", "val", "test") if part in named}


def _refuse_lone_parts(tree: Tree, top: Folders, parts: dict[str, Folders]) -> None:
    """Refuse parts without `train`, or with nothing else."""
    place = tree.root.joinpath(*top)
    found = " and ".join(_shown(at[-1:]) for at in parts.values())
    if "train" not in parts:
        near = did_you_mean("train", [at[-1] for at in tree.inside(top) if at not in parts.values()])
        raise ConfigError(
            f"{place}: has {found} but no train/.{near} Expected both, each with a folder per class, or one folder per "
            "class and neither"
        )
    if len(parts) == 1:
        near = did_you_mean("test", [at[-1] for at in tree.inside(top) if at not in parts.values()])
        raise ConfigError(
            f"{place}: has {found} but no test/.{near} Expected both, each with a folder per class; to split a fifth "
            f"of {found} off as the test set: --set data.path={place / parts['train'][-1]}"
        )


def _level_of(tree: Tree, base: Folders) -> int:
    """Return 1, where the folders in a part are its classes; refuse where those in them could be, too."""
    outer = [at for at in tree.inside(base) if tree.images_below(at)]
    inner = {at: [deeper for deeper in tree.inside(at) if tree.images_below(deeper)] for at in outer}
    names = Counter(class_name(deeper[-1:]).casefold() for places in inner.values() for deeper in places)
    shared = [name for name, count in names.items() if count > 1]
    one_class_each = all(len(places) < 2 for places in inner.values())
    if len(outer) < 2 or any(map(tree.images_in, outer)) or one_class_each or len(shared) == 1:
        return 1
    if shared and all(re.fullmatch(_YEAR, name) for name in names):
        return 1
    place, shown = tree.root.joinpath(*base), first_few([at[-1] for at in outer], SHOWN)
    if shared:
        raise ConfigError(f"{place}: {_parts_or_classes(tree, place, inner, shown)}")
    deep = [class_name(deeper[len(base) :]) for places in inner.values() for deeper in places]
    raise ConfigError(
        f"{place}: the classes could be {shown}, or the folders in these: {first_few(deep, SHOWN)}; say which: --set "
        "data.class_level=1 or --set data.class_level=2"
    )


def _parts_or_classes(tree: Tree, place: Path, inner: Mapping[Folders, Sequence[Folders]], shown: str) -> str:
    """Say what folders with folders of the same names can be, and the lines that make parts and classes of them."""
    outer = sorted(inner, key=lambda at: -tree.images_below(at))
    first = inner[outer[0]]
    names = first_few([at[-1] for at in first], SHOWN)
    parts = {part for at in first if (part := _part_named(at[-1]))}
    if len(parts) > 1 and not any(map(tree.images_in, first)):
        one = tree.root.joinpath(*outer[0])
        return f"{shown} are sets of their own, each with {names}; name one: --set data.path={one}"
    if len(parts) > 1:
        every = " ".join(at[-1] for at in first)
        return (
            f"the parts ({names}) are in the classes ({shown}); expected the classes in the parts:\n"
            f"  cd {quote(str(place))} && for p in {every}; do mkdir -p $p; for c in */$p; do "
            'mv "$c" "$p/$(dirname "$c")"; done; done'
        )
    lines = [
        f"mv {quote(str(tree.root.joinpath(*at)))} {quote(str(place / part))}"
        for at, part in zip(outer, ("train", "test", "val"), strict=False)
    ]
    return (
        f"{shown} hold folders of the same names ({names}): are they parts, or are they the classes? Where they are "
        f"parts, name them so:\n  {' && '.join(lines)}\nwhere they are classes: --set data.class_level=1"
    )


def _refuse_flat(tree: Tree, base: Folders, part: str) -> None:
    """Refuse images that lie directly in a part of which no folder is a class."""
    holding = [inner for inner in tree.inside(base) if tree.images_below(inner)]
    if len(holding) == 1 and not part and next(_tables_in(tree, holding[0]), ""):
        base = holding[0]  # the one folder beside a table of labels
    place, flat = tree.root.joinpath(*base), tree.images_in(base)
    if not flat or any(map(tree.images_below, tree.inside(base))):
        return
    if part == "test":
        raise ConfigError(
            f"{place}: {counted(flat, 'image')} without a class; expected a folder per class, as in train/; to split "
            f"a fifth of train/ off as the test set instead: --set data.path={place.parent / 'train'}"
        )
    table = next(_tables_in(tree, base), "")
    raise ConfigError(
        f"{place}: {counted(flat, 'image')} directly in it, in no folder of a class; expected a folder per class, at "
        f"least 2. Move each image into a folder named by its label{table and f' of {table}'}:\n  {sorting_line(table)}"
    )


def _tables_in(tree: Tree, base: Folders) -> Iterator[str]:
    for at in (base, base[:-1]):
        place = tree.root.joinpath(*at)
        yield from (str(path) for path in sorted(place.glob("*.[ct]sv")))


def sorting_line(table: str) -> str:
    """Return the line of a shell that copies images into folders of their classes."""
    if not table:
        return "mkdir -p sorted/cat && cp cat*.jpg sorted/cat/      (for each class)"
    return (
        "python -c \"import csv,shutil,pathlib as p; [(p.Path('sorted',r['label']).mkdir(parents=True,exist_ok=True), "
        f"shutil.copy(r['file'], p.Path('sorted',r['label']))) for r in csv.DictReader(open({table!r}))]\""
        "      (with the names of its columns for 'file' and 'label')"
    )


def _shown(at: Sequence[str]) -> str:
    return "/".join(at) + "/"
