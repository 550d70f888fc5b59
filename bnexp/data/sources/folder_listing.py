"""List the images of a folder by part and class, and count what else lies there.

A folder holds either `train/`, `test/` and, if you like, `val/`, each with a folder per class, or class folders; which
is which says `folder_layout`. Classes are counted from 0 in the order of their names.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bnexp.data.sources.account import Counted, Tally
from bnexp.data.sources.folder_layout import Division, class_name, divide, passed_through
from bnexp.data.sources.folder_sorting import refuse_unsorted
from bnexp.data.sources.folder_tree import Found, Tree, is_folder
from bnexp.data.sources.formats import ENDINGS, sniffed
from bnexp.data.sources.image_cache import content_key
from bnexp.document.writing import counted, first_few
from bnexp.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class ImageFile:
    """One image: its path, below the folder unless it lies elsewhere, and its class."""

    path: str
    label: int


@dataclass(frozen=True)
class Listing:
    """The images of a folder, sorted by part (train, val, test), class and name, and what else lies there.

    `train_files` are those in `train/`, None when there is one folder of class folders; `val_files` those in `val/`,
    None without one; those of another folder, `val_folder`, have absolute paths. `seen` counts all files; `passed_over`
    are those that are no image of a class.
    """

    folder: Path
    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    train_files: int | None
    val_files: int | None = None
    seen: int = 0
    passed_over: tuple[Counted, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    val_folder: Path | None = None

    def key(self, options: object) -> str:
        """Return the digest of all that the images depend on: every byte, names, parts, and `options` of reading."""
        parts = [self.train_files, self.val_files]
        names = [
            os.path.relpath(file.path, self.val_folder) if self.val_folder and os.path.isabs(file.path) else file.path
            for file in self.files
        ]
        paths = [os.path.join(self.folder, file.path) for file in self.files]
        return content_key(paths, names, [self.classes, parts, options])


def list_images(folder: Path, class_level: int | None = None, val_folder: Path | None = None) -> Listing:
    """Return the images below a folder, and those below `val_folder`, if there is one, as the validation part.

    Raises:
        ConfigError: no such folder, or its folders are not parts and classes with images; the message names which.
    """
    tree = _tree_of(folder, "path")
    division = divide(tree, class_level)
    folders = {part: _class_folders(tree, division, part) for part in division.bases}
    classes = tuple(sorted(folders["train"]))
    _refuse_odd_classes(tree, division, folders)
    files = {part: list(_files_of(tree, folders[part], classes)) for part in folders}
    for part in files:
        if not files[part]:
            place = tree.root.joinpath(*division.bases[part])
            raise ConfigError(f"{place}: no images in a folder of a class, such as {classes[0]}/")
    _refuse_masks(tree, division, files, classes)
    used = {file.path for part in files.values() for file in part}
    train, val = len(files["train"]), files.get("val")
    notes, warnings = _remarks(division, folders, files)
    listing = Listing(
        folder,
        classes,
        tuple(file for part in files.values() for file in part),
        train if division.apart else None,
        None if val is None else len(val),
        tree.files,
        _passed_over(tree, used),
        notes,
        warnings,
    )
    return listing if val_folder is None else _with_val(listing, tree, division, val_folder)


def _tree_of(folder: Path, key: str) -> Tree:
    """Return the tree of a folder with images, which `data.path` or `data.val_path` names."""
    if not is_folder(folder):
        raise ConfigError(f"{folder}: {_not_a_folder(folder, key)}")
    try:
        tree = Tree.of(folder)
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: cannot be read: {error.strerror}") from None
    if not tree.images_below(()):
        raise ConfigError(f"{folder}: {_without_images(tree)}")
    return tree


def _with_val(listing: Listing, tree: Tree, division: Division, folder: Path) -> Listing:
    """Return a listing with the images of another folder as the validation part."""
    if "val" in division.bases:
        found = f"has {division.bases['val'][-1]}/, and data.val_path names {folder}"
        raise ConfigError(f"{listing.folder}: {found}; expected one validation part: leave data.val_path out")
    place, classes = folder.resolve(), listing.classes
    for base in division.bases.values():
        other = tree.root.joinpath(*base).resolve()
        if place.is_relative_to(other) or other.is_relative_to(place):
            raise ConfigError(
                f"data.val_path: {folder} and {tree.root.joinpath(*base)} lie in each other, and images would be used "
                "twice; expected a folder beside it, with a folder per class"
            )
    own = _tree_of(folder, "val_path")
    part = Division({"val": passed_through(own, (), classes)}, division.level, apart=True, notes=())
    folders = _class_folders(own, part, "val")
    _refuse_unknown(own, folders, classes, "the images to train on do not have")
    files = list(_files_of(own, folders, classes))
    if not files:
        raise ConfigError(f"{folder}: no images in a folder of a class, such as {classes[0]}/")
    train = len(listing.files) if listing.train_files is None else listing.train_files
    paths, root = {file.path for file in files}, tree.root.resolve()
    if place.is_relative_to(root):  # its files are counted there already
        inside = place.relative_to(root)
        used = {file.path for file in listing.files} | {(inside / path).as_posix() for path in paths}
        seen, passed_over = tree.files, _passed_over(tree, used)
    else:
        seen, passed_over = tree.files + own.files, (*listing.passed_over, *_passed_over(own, paths))
    val = tuple(replace(file, path=os.path.abspath(folder / file.path)) for file in files)
    return replace(
        listing,
        files=(*listing.files[:train], *val, *listing.files[train:]),
        train_files=train,
        val_files=len(val),
        val_folder=folder,
        seen=seen,
        passed_over=passed_over,
        notes=(*listing.notes, f"{folder} is the validation part; data.val_fraction is not used."),
    )


ClassFolders = Mapping[str, list[tuple[str, ...]]]
"""Of each class the folder whose images, also those below, are its own."""


def _class_folders(tree: Tree, division: Division, part: str) -> dict[str, list[tuple[str, ...]]]:
    """Return the folders of each class in a part, those without images, too, where they are one level below it."""
    base, found = division.bases[part], dict[str, list[tuple[str, ...]]]()
    level = [base]
    for depth in range(division.level):
        level = [inner for at in level for inner in tree.inside(at) if depth == 0 or tree.images_below(inner)]
    for at in level:
        found.setdefault(class_name(at[len(base) :]), []).append(at)
    return found


def _files_of(tree: Tree, folders: ClassFolders, classes: tuple[str, ...]) -> Iterator[ImageFile]:
    for label, name in enumerate(classes):
        images = sorted(
            (image for at in folders.get(name, []) for image in _images_below(tree, at)), key=lambda image: image.path
        )
        yield from (ImageFile(image.path, label) for image in images)


def _images_below(tree: Tree, at: tuple[str, ...]) -> Iterator[Found]:
    yield from tree.images.get(at, ())
    for inner in tree.inside(at):
        yield from _images_below(tree, inner)


def _refuse_odd_classes(tree: Tree, division: Division, folders: Mapping[str, ClassFolders]) -> None:
    """Refuse a class without images to train on, links to nothing, one class alone, or one that train/ lacks."""
    base = division.bases["train"]
    place = tree.root.joinpath(*base)
    for at in division.bases.values():
        if dangling := tree.dangling.get(at):
            raise ConfigError(
                f"{tree.root.joinpath(*at, dangling[0])}: a link that leads nowhere, where a class is expected; mend "
                "it or delete it"
            )
    for part in folders:
        for name, places in folders[part].items():
            if len(places) > 1:
                both = " and ".join(str(tree.root.joinpath(*at)) for at in places)
                raise ConfigError(f"{both}: one name ({name}), written in two ways; expected one folder for the class")
    for places in folders["train"].values():
        if not tree.images_below(places[0]):
            raise ConfigError(f"{tree.root.joinpath(*places[0])}: no images in this class{_instead(tree, places[0])}")
    if len(folders["train"]) < 2:
        names = list(folders["train"])
        found = f"1 folder ({names[0]}/)" if names else "no folders"
        raise ConfigError(f"{place}: {found}; expected a folder per class, at least 2 classes")
    for part in list(folders)[1:]:
        _refuse_unknown(tree, folders[part], sorted(folders["train"]), f"{base[-1]}/ does not have")


_MASKS = re.compile(r"(seg|segmentation|annotation|label|groundtruth|gt)?(mask|class|object|label|annotation)?(s|es)?")
_PICTURES = re.compile(r"(jpeg|jpg|png|raw|input|original)?(image|img|photo|picture|original|input|frame)s?")
"""Names of the two folders of a segmentation set, in small letters, without what stands between words."""


def _refuse_masks(
    tree: Tree, division: Division, files: Mapping[str, Sequence[ImageFile]], classes: Sequence[str]
) -> None:
    """Refuse a class that holds the masks of the images of another one, by its name and by theirs."""
    plain = [re.sub(r"[\W_]+", "", name.casefold()) for name in classes]
    masks, pictures = (next((n for n in plain if n and kind.fullmatch(n)), None) for kind in (_MASKS, _PICTURES))
    if masks is None or pictures is None:
        return
    stems = [
        {Path(file.path).stem for file in files["train"] if plain[file.label] == name} for name in (masks, pictures)
    ]
    if len(both := stems[0] & stems[1]) > len(stems[0]) / 2:
        place = tree.root.joinpath(*division.bases["train"], classes[plain.index(masks)])
        raise ConfigError(
            f"{place}: {len(both):,} of {len(stems[0]):,} images have the names of those in "
            f"{classes[plain.index(pictures)]}/: they look like the masks of a segmentation, and a network here tells "
            "whole images apart; expected a folder per class, with the images of that class"
        )


def _refuse_unknown(tree: Tree, folders: ClassFolders, known: Sequence[str], which: str) -> None:
    unknown = [name for name in folders if name not in known and tree.images_below(folders[name][0])]
    if unknown:
        at, near = folders[unknown[0]][0], did_you_mean(unknown[0], known)
        refuse_unsorted(tree, at, known)
        more = f" (and {len(unknown) - 1} more such classes)" if len(unknown) > 1 else ""
        raise ConfigError(
            f"{tree.root.joinpath(*at)}: a class that {which}; known: {first_few(known, 8)}{more}"
            f".{near} Expected the same names in each part: rename the folder, or delete it"
        )


def _instead(tree: Tree, at: tuple[str, ...]) -> str:
    """Return what a folder without images holds instead, and what is expected there."""
    every = Tally()
    for kind in (kind for inner, tally in tree.other.items() if inner[: len(at)] == at for kind in tally.counts()):
        every.add(kind.what, kind.example, kind.count)
    reasons = [str(count) for count in every.counts()]
    expected = f"; expected files ending in {', '.join(ENDINGS)}; add some, or delete the folder"
    return f": {'; '.join(reasons)}" if reasons else expected


def _without_images(tree: Tree) -> str:
    folders = len(tree.folders[()])
    found = f"no images in its {counted(folders, 'folder')}" if folders else "no folders"
    return f"{found}; expected a folder per class{_instead(tree, ())}"


def _not_a_folder(path: Path, key: str) -> str:
    """Return what lies at a path that is no folder, and the line to type."""
    expected = f"expected images in a folder per class (data.{key})"
    if not path.exists():
        return f"no such folder; {expected}"
    kind = sniffed(path)
    if kind == "archive":
        line = f"unzip {path} -d {path.with_suffix('')}" if path.suffix == ".zip" else f"tar xf {path} -C {path.parent}"
        return f"no such folder, but an archive; unpack it ({line}) and name the folder; {expected}"
    if kind == "NumPy":
        return "no such folder, but an array; data.dataset: npz reads arrays"
    return f"no such folder, but a file; {expected}"


def _remarks(
    division: Division, folders: Mapping[str, ClassFolders], files: Mapping[str, list[ImageFile]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return notes and doubts on parts and classes."""
    notes, warnings = list(division.notes), list[str]()
    shown = {part: f"{at[-1]}/" if at else "" for part, at in division.bases.items()}
    if "val" in files:
        notes.append(f"{shown['val']} is the validation part; data.val_fraction is not used.")
    if division.apart and "test" not in files:
        notes.append(f"there is no test/: a fixed, stratified fifth of {shown['train']} is the test set.")
    deep = {
        file.path: file.path.split("/")[len(division.bases[part]) + division.level : -1]
        for part, found in files.items()
        for file in found
        if file.path.count("/") > len(division.bases[part]) + division.level
    }
    if deep:
        every = counted(sum(map(len, files.values())), "image")
        first = next(iter(deep))
        notes.append(f"{len(deep):,} of {every} lie deeper than in the folder of their class, such as {first}.")
    warnings += _misplaced(division, files, deep, sorted(folders["train"]))
    cases = Counter(name.casefold().strip() for name in folders["train"])
    for name in sorted(folders["train"]):
        if cases[name.casefold().strip()] > 1:
            warnings.append(f"class {name}: another class has this name in capital or small letters; is it the same?")
    return tuple(notes), tuple(warnings)


def _misplaced(
    division: Division,
    files: Mapping[str, Sequence[ImageFile]],
    deep: Mapping[str, Sequence[str]],
    classes: Sequence[str],
) -> Iterator[str]:
    """Say which images of one class lie in a folder with the name of another."""
    known = {class_name((name,)).casefold(): name for name in classes}
    odd = [
        (file.path, classes[file.label], known[folder.casefold()])
        for found in files.values()
        for file in found
        for folder in deep.get(file.path, ())
        if known.get(folder.casefold(), classes[file.label]) != classes[file.label]
    ]
    if odd:
        path, own, other = odd[0]
        yield (
            f"{counted(len(odd), 'image')} of class {own}, such as {path}, in a folder with the name of class {other}: "
            f"was it moved there by mistake?"
        )


def _passed_over(tree: Tree, used: set[str]) -> tuple[Counted, ...]:
    """Return the files that are no image of a class, by reason."""
    rest = Tally()
    for images in tree.images.values():
        for image in images:
            if image.path not in used:
                rest.add("image in no folder of a class", image.path)
    for tally in tree.other.values():
        for kind in tally.counts():
            rest.add(kind.what, kind.example, kind.count, expected=kind.expected)
    return rest.counts()
