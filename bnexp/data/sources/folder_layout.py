"""Tell which folders of a tree are parts, and which are classes.

- `train`, `val` and `test` are known by these names, in any case, and by others that people use (`PARTS`).
- The folders in a part are its classes; images of deeper folders are of the class above them. A folder that holds
  nothing but one folder of folders is passed through.
- Where folders in the classes could be the classes as well, `data.class_level` has to say it.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from bnexp.data.sources.folder_sorting import lifting_line, sorting_line, tables_beside
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
        if len(parts) == 1 and "train" in parts:
            _refuse_flat(tree, passed_through(tree, parts["train"]), "train")
        _refuse_lone_parts(tree, top, parts)
    places = parts or {"train": top}
    bases = {"train": passed_through(tree, places["train"])}
    known = [class_name(at[-1:]) for at in tree.inside(bases["train"])]
    bases |= {part: passed_through(tree, at, known) for part, at in places.items() if part != "train"}
    chosen = level or _level_of(tree, bases["train"], [at[-1] for base in bases.values() for at in tree.inside(base)])
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
        inner = _part_named(holding[0][-1])
        if inner and (not at or inner != _part_named(at[-1])):
            break
        if class_name(holding[0][-1:]) in classes:
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
            found = f"{' and '.join(map(_shown, places))} could both be the {part} part"
            line = _line_to_divide(tree.root.joinpath(*top), [at[-1] for at in of_parts])
            mend = f"where they are part and class in one name:\n  {line}" if line else "rename or move the other"
            raise ConfigError(f"{tree.root}: {found}; expected one: {mend}")
    return {part: named[part][0] for part in ("train", "val", "test") if part in named}


def _refuse_lone_parts(tree: Tree, top: Folders, parts: dict[str, Folders]) -> None:
    """Refuse parts without `train`, or with nothing else."""
    place = tree.root.joinpath(*top)
    found = " and ".join(_shown(at[-1:]) for at in parts.values())
    if "train" not in parts:
        near = _like_a_part(tree, top, parts, "train")
        raise ConfigError(
            f"{place}: has {found} but no train/.{near} Expected both, each with a folder per class, or one folder per "
            "class and neither"
        )
    if len(parts) == 1:
        near = _like_a_part(tree, top, parts, "test")
        raise ConfigError(
            f"{place}: has {found} but no test/.{near} Expected both, each with a folder per class; to split a fifth "
            f"of {found} off as the test set: --set data.path={place / parts['train'][-1]}"
        )


def _like_a_part(tree: Tree, top: Folders, parts: Mapping[str, Folders], lacking: str) -> str:
    """Return a hint at the folder that is the lacking part, by its classes or by its name, or nothing."""
    place, others = tree.root.joinpath(*top), [at for at in tree.inside(top) if at not in parts.values()]
    known = {at[-1] for part in parts.values() for at in tree.inside(passed_through(tree, part))}
    same = [at for at in others if len(known & {inner[-1] for inner in tree.inside(at)}) > 1]
    found = [*same, *([parts["val"]] if lacking == "train" and {"val", "test"} <= parts.keys() else [])]
    if found:
        line = f"mv {quote(str(place / found[0][-1]))} {quote(str(place / lacking))}"
        return f" Is {_shown(found[0][-1:])} meant? {line}\n"
    return did_you_mean(lacking, [at[-1] for at in others])


def _line_to_divide(place: Path, names: Sequence[str]) -> str:
    """Return the line that makes parts with classes of folders such as `cats_train`, or nothing."""
    for pattern, files, rest in (
        (r".+[-_. ](\w+)", '*[-_.\\ ]"$p"', '"${d%?"$p"}"'),
        (r"([a-zA-Z]+)[-_. ].+", '"$p"[-_.\\ ]*', '"${d#"$p"?}"'),
    ):
        found = [re.fullmatch(pattern, name) for name in names]
        words = {match[1] for match in found if match}
        if all(found) and len({PARTS.get(word.casefold()) for word in words} - {None}) == len(words):
            each = " ".join(sorted(words, reverse=True))
            return (
                f'cd {quote(str(place))} && for p in {each}; do mkdir -p "$p"; for d in {files}; do '
                f'mv "$d" "$p"/{rest}; done; done'
            )
    return ""


def _level_of(tree: Tree, base: Folders, everywhere: Sequence[str]) -> int:
    """Return 1, where the folders in a part are its classes; refuse where those in them could be, too.

    `everywhere` are the names of the first floor in each part.
    """
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
    if len(names.keys() & {name.casefold() for name in everywhere}) > 1:
        raise ConfigError(
            f"{place}: the classes ({first_few(deep, SHOWN)}) lie a folder deeper than in another part; expected one "
            f"level:\n  {lifting_line(place, [at[-1] for at in inner if inner[at]])}"
        )
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
        example = tree.root.joinpath(*outer[0])
        return f"{shown} are sets of their own, each with {names}; name one: --set data.path={example}"
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
    if len(holding) == 1 and not part and next(tables_beside(tree.root.joinpath(*holding[0])), None):
        base = holding[0]  # the one folder beside a table of labels
    place, flat = tree.root.joinpath(*base), tree.images_in(base)
    if not flat or any(map(tree.images_below, tree.inside(base))):
        return
    if part == "test":
        raise ConfigError(
            f"{place}: {counted(flat, 'image')} without a class; expected a folder per class, as in train/; to split "
            f"a fifth of train/ off as the test set instead: --set data.path={place.parent / 'train'}"
        )
    goal = "sorted" if part in ("", "train") else f"sorted/{part}"
    line, known = sorting_line(place, [image.name for image in tree.images[base]], goal)
    then = f"\nand then: --set data.path={goal}" if goal == "sorted" else ""
    raise ConfigError(
        f"{place}: {counted(flat, 'image')} directly in it, in no folder of a class; expected a folder per class, at "
        f"least 2. Copy each image into a folder named by its label{known and f', of {known}'}:\n  {line}{then}"
    )


def _shown(at: Sequence[str]) -> str:
    return "/".join(at) + "/"
