"""Find out how images that lie in one heap could be sorted into folders of their classes, and write the line for it."""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote

from bnexp.data.sources.folder_tree import Folders, Tree
from bnexp.document.writing import counted, first_few
from bnexp.errors import ConfigError

_LABELS = ("label", "labels", "class", "classname", "class_name", "category", "species", "breed", "target", "diagnosis")
"""Names, in small letters, of columns of a table that hold labels."""
_MOST_ROWS = 1_000
"""Rows of a table that are looked at."""
_NUMBER = r"[._ -]*\(?[0-9]+\)?\.[^.]*$"
"""What follows the class in a name such as `cat.0.jpg`, for sed and Python."""
_SORT = (
    "import csv,shutil,pathlib as p; d={{n:f for f in p.Path({folder}).iterdir() for n in (f.name,f.stem)}}; "
    "[(p.Path({goal},r[{label}]).mkdir(parents=True,exist_ok=True), shutil.copy(d[n],p.Path({goal},r[{label}]))) "
    "for r in csv.reader(open({table}),delimiter={mark}) if len(r)>{most} and (n:=p.Path(r[{file}]).name) in d]"
)


def sorting_line(place: Path, names: Sequence[str], goal: str, classes: Sequence[str] = ()) -> tuple[str, str]:
    """Return a line of a shell that copies images into folders of their classes below `goal`, and where it knows them.

    Args:
        place: the folder where the images lie.
        names: theirs.
        goal: the folder to make.
        classes: those that are known.
    """
    for table in tables_beside(place):
        if line := _line_of_table(table, place, names, goal, classes):
            return line, str(table)
    endings = sorted({Path(name).suffix for name in names})
    files = " ".join(f"{quote(str(place))}/*{quote(ending) if ending else ''}" for ending in endings)
    stems = [re.sub(_NUMBER, "", name) for name in names]
    if "" not in stems and 1 < len(set(stems)) <= len(stems) / 2:
        named = f"$(basename \"$f\" | sed -E 's/{_NUMBER}//')"
        into = f'{quote(goal)}/"$c"'
        return f'for f in {files}; do c="{named}"; mkdir -p {into}; cp "$f" {into}; done', "their names"
    return f"mkdir -p {quote(goal)}/CLASS && cp FILES {quote(goal)}/CLASS      (FILES of {files}, for each class)", ""


def lifting_line(place: Path, groups: Sequence[str]) -> str:
    """Return the line that moves what lies in the folders `groups` of a place up by one floor."""
    each = " ".join(map(quote, groups))
    return f'cd {quote(str(place))} && for g in {each}; do mv "$g"/* . && rmdir "$g"; done'


def refuse_unsorted(tree: Tree, at: Folders, known: Sequence[str]) -> None:
    """Refuse a folder in place of classes that holds them a floor deeper, or images whose labels are in a table."""
    place, inside = tree.root.joinpath(*at), [inner[-1] for inner in tree.inside(at)]
    if len({*inside} & {*known}) > 1 and not tree.images_in(at):
        groups = [other[-1] for other in tree.inside(at[:-1]) if other[-1] not in known and tree.inside(other)]
        raise ConfigError(
            f"{place}: holds classes of train/ ({first_few(inside, 8)}), which lie a floor higher there; expected one "
            f"level:\n  {lifting_line(place.parent, groups)}"
        )
    if tree.images_below(at) == tree.images_in(at) == tree.images_below(at[:-1]):
        line, table = sorting_line(place, [image.name for image in tree.images[at]], str(place.parent), known)
        if table not in ("", "their names"):
            away = tree.root.parent / f"{tree.root.name}-{at[-2] if len(at) > 1 else ''}-{at[-1]}"
            raise ConfigError(
                f"{place}: {counted(tree.images_in(at), 'image')} without a class; their labels are in {table}. Copy "
                f"each into a folder named by its label:\n  {line} && mv {quote(str(place))} {quote(str(away))}"
            )


def tables_beside(place: Path) -> Iterator[Path]:
    """Yield what could say the labels of the images in a folder: tables there and in the folder above."""
    for at in (place, place.parent):
        yield from sorted(path for path in at.glob("*.[ct][sx][vt]") if path.is_file())


def _line_of_table(table: Path, place: Path, names: Sequence[str], goal: str, classes: Sequence[str]) -> str | None:
    known, found = {*names, *(Path(name).stem for name in names)}, _columns_of(table, known_files=names)
    if found is None:
        return None
    mark, columns = found
    hits = [sum(Path(value).name in known for value in column) for column in columns]
    file = hits.index(max(hits))
    if hits[file] < len(columns[file]) / 2:
        return None
    label = _label_column(columns, file, classes)
    if label is None:
        return None
    quoted = {"folder": str(place), "goal": goal, "table": str(table), "mark": mark}
    words = {key: json.dumps(value) for key, value in quoted.items()}
    return f"python -c {quote(_SORT.format(**words, file=file, label=label, most=max(file, label)))}"


def _columns_of(table: Path, known_files: Sequence[str]) -> tuple[str, list[tuple[str, ...]]] | None:
    """Return what divides the columns of a table, and the columns; None where it is none, or does not name files."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line, _ in zip(file, range(_MOST_ROWS), strict=False)]
    except (OSError, UnicodeDecodeError):
        return None
    for mark in ",;\t ":
        try:
            rows = list(csv.reader(lines, delimiter=mark))
        except csv.Error:
            continue
        if rows and len(rows[0]) > 1 and len({len(row) for row in rows if row}) == 1:
            return mark, list(zip(*filter(None, rows), strict=True))
    return None


def _label_column(columns: Sequence[tuple[str, ...]], file: int, classes: Sequence[str]) -> int | None:
    """Return which column holds the labels: by its values, by its name, or as the only one of a few values."""
    rest = [number for number in range(len(columns)) if number != file]
    if of_classes := [n for n in rest if len({*columns[n]} & {*classes}) > 1]:
        return of_classes[0]
    if named := [n for n in rest if columns[n][0].strip().casefold() in _LABELS]:
        return named[0]
    few = [n for n in rest if 1 < len({*columns[n][1:]}) <= len(columns[n]) / 2]
    return few[0] if len(few) == 1 else None
