"""Whatever lies in a run folder, `bnexp ls` and `bnexp compare` answer, and name the file that is damaged."""

import contextlib
import io
import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bnexp.commands.compare import compare
from bnexp.commands.ls import ls
from bnexp.config.yaml_text import dump_yaml, read_yaml_file
from bnexp.errors import ConfigError
from bnexp.runs.process import this_process
from effort import examples
from records import write_run

RECORDS = ("config.yaml", "meta.json", "summary.json", "metrics.jsonl")
STATUSES = ("finished", "diverged", "running", "interrupted", "failed")
FORMS = ("table", "drawn", "csv", "json", "markdown")


def answers(runs: Path, *forms: str) -> tuple[str, str]:
    """Return what `ls` and what `compare` say about the runs, in these forms or in all."""
    listed = [said(form, ls, runs) for form in forms or FORMS]
    compared = [said(form, compare, [], runs_dir=runs, target=0.85) for form in forms or FORMS]
    return "\n".join(listed), "\n".join(compared)


def said(form: str, command: Callable[..., None], *arguments: Any, **options: Any) -> str:
    """Return what a command prints; `drawn` is the table in a narrow terminal."""
    terminal = {"FORCE_COLOR": "1", "COLUMNS": "60"} if form == "drawn" else {}
    output = "table" if form == "drawn" else form
    printing = contextlib.redirect_stdout(io.StringIO())
    with mock.patch.dict(os.environ, terminal), printing as out, contextlib.redirect_stderr(out):
        command(*arguments, **options, output=output)
    if form == "json":
        json.loads(out.getvalue(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    return out.getvalue()


@contextlib.contextmanager
def two_runs(status: str = "finished", **changes: Any) -> Iterator[tuple[Path, Path]]:
    """Make a run of this status, and another that is finished. Yields the folder above them, and the first."""
    meta = {"status": status, **(this_process() if status == "running" else {}), **changes}
    with tempfile.TemporaryDirectory() as place:
        folder = write_run(Path(place) / "mlp" / "seed0", meta=meta)
        write_run(Path(place) / "mlp" / "seed1", config={"seed": 1})
        yield Path(place), folder


def is_json(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text.decode(), parse_constant=lambda _: None), dict)
    except (ValueError, RecursionError):
        return False


def is_config(path: Path) -> bool:
    try:
        return bool(read_yaml_file(path)[0]) and isinstance(read_yaml_file(path)[0], dict)
    except ConfigError:
        return False


def shows_its_damage(path: Path) -> bool:
    """Tell whether the damage is of a kind that the file itself shows; a changed digit is not."""
    if path.name == "config.yaml":
        return not is_config(path)
    if path.name != "metrics.jsonl":
        return not is_json(path.read_bytes())
    lines = path.read_bytes().split(b"\n")[:-1]
    return any(b'"accuracy/val"' in line and not is_json(line) for line in lines)


def flip(content: bytes, start: int, end: int, mask: int) -> bytes:
    return content[:start] + bytes([content[start] ^ mask]) + content[start + 1 :] if start < len(content) else content


def cut(content: bytes, start: int, end: int, mask: int) -> bytes:
    return content[:start] + content[end:]


def cut_short(content: bytes, start: int, end: int, mask: int) -> bytes:
    return content[:start]


def insert(content: bytes, start: int, end: int, mask: int) -> bytes:
    return content[:start] + bytes([mask]) * (1 + end % 5) + content[start:]


def duplicate(content: bytes, start: int, end: int, mask: int) -> bytes:
    return content[:end] + content[start:]


def zeros(content: bytes, start: int, end: int, mask: int) -> bytes:
    """Put zeros in the place of bytes, as a file system does after a loss of power."""
    return content[:start] + bytes(end - start) + content[end:]


forms = st.sampled_from(FORMS)
damages = st.lists(
    st.tuples(
        st.sampled_from([flip, cut, cut_short, insert, duplicate, zeros]),
        st.floats(0, 1),
        st.floats(0, 1),
        st.integers(1, 255),
    ),
    min_size=1,
    max_size=3,
)


@settings(deadline=None, derandomize=True, max_examples=examples(200))
@given(st.sampled_from(RECORDS), st.sampled_from(STATUSES), forms, damages)
@example("meta.json", "finished", "table", [(cut_short, 0.0, 0.0, 1)])
@example("metrics.jsonl", "running", "table", [(zeros, 0.4, 1.0, 1)])
def test_damaged_bytes_are_no_traceback_and_the_file_is_named(
    name: str, status: str, form: str, damages: list[Any]
) -> None:
    with two_runs(status) as (runs, folder):
        path = folder / name
        if not path.exists():
            path = folder / "meta.json"
        content = path.read_bytes()
        for damage, one, other, mask in damages:
            start, end = sorted((int(one * len(content)), int(other * len(content))))
            content = damage(content, start, end, mask)
        path.write_bytes(content)
        listed, compared = answers(runs, form)
        assert "seed1" in listed
        assert "mlp" in compared
        if form != "drawn" and shows_its_damage(path):
            assert f"{path}:" in compared
            assert f"{path}:" in listed or path.name == "metrics.jsonl"


huge = st.sampled_from([10**30, -(10**300), 10**400, 1e308, -1e308, 5e-324, float("nan"), float("inf"), -float("inf")])
texts = st.text(max_size=8) | st.sampled_from(["\x00", "\ud800", "\x1b[2J", "x" * 100_000, "9" * 5000, "nan", "../.."])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | huge,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)


def places_in(values: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from places_in(value, (*above, key))


def put(values: dict[str, Any], place: tuple[str, ...], value: object) -> None:
    *above, last = place
    for key in above:
        values = values[key]
    values[last] = value


SESSIONS = {"process_started": "a:b:1", "continued": "2026-03-01T12:01:00+00:00", "earlier_s": 5.0}


@settings(deadline=None, derandomize=True, max_examples=examples(200))
@given(
    st.sampled_from(["meta.json", "summary.json", "config.yaml"]),
    st.sampled_from(STATUSES),
    forms,
    st.lists(st.tuples(st.integers(0, 100), anything), min_size=1, max_size=3),
)
def test_a_value_of_any_other_kind_is_no_traceback(
    name: str, status: str, form: str, changes: list[tuple[int, Any]]
) -> None:
    with two_runs(status, **SESSIONS) as (runs, folder):
        path = folder / name
        if not path.exists():
            path = folder / "meta.json"
        values = read_yaml_file(path)[0] if path.suffix == ".yaml" else json.loads(path.read_text())
        for index, value in changes:
            places = list(places_in(values))
            put(values, places[index % len(places)], value)
        if path.suffix == ".yaml":
            with contextlib.suppress(UnicodeEncodeError, ValueError):
                path.write_text(dump_yaml(values), encoding="utf-8")
        else:
            path.write_text(json.dumps(values))
        listed, compared = answers(runs, form)
        assert "seed1" in listed
        assert "mlp" in compared


row_values = st.fixed_dictionaries(
    {}, optional={key: anything | st.floats(0, 1) for key in ("step", "epoch", "loss/val", "accuracy/val")}
)


@settings(deadline=None, derandomize=True, max_examples=examples(100))
@given(st.sampled_from(STATUSES), forms, st.lists(row_values | anything, max_size=4))
def test_rows_of_any_kind_are_no_traceback(status: str, form: str, rows: list[Any]) -> None:
    with two_runs(status) as (runs, folder):
        with (folder / "metrics.jsonl").open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        assert "seed1" in answers(runs, form)[0]


def nothing(path: Path) -> None:
    """Leave the place empty."""


def an_empty_file(path: Path) -> None:
    path.touch()


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def a_looping_link(path: Path) -> None:
    path.symlink_to(path.name)


def a_link_to_its_folder(path: Path) -> None:
    path.symlink_to(".")


def an_endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_socket(path: Path) -> None:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path.name)


def an_unreadable_file(path: Path) -> None:
    path.touch()
    path.chmod(0o000)


def an_enormous_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 25 if path.name == "metrics.jsonl" else 1 << 40)


def deep_nesting(path: Path) -> None:
    path.write_text('{"accuracy/val": ' + "[" * 5_000 + "\n")


IN_PLACE = [nothing, an_empty_file, a_folder, a_pipe, a_dangling_link, a_looping_link, a_link_to_its_folder]
IN_PLACE += [an_endless_device, a_socket, an_unreadable_file, an_enormous_file, deep_nesting]


YET_TO_COME = [
    ("summary.json", nothing),
    ("summary.json", a_dangling_link),
    ("metrics.jsonl", nothing),
    ("metrics.jsonl", a_dangling_link),
    ("metrics.jsonl", an_empty_file),
]
"""What is no damage in a run that still runs."""


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("in_place", IN_PLACE, ids=lambda make: make.__name__)
@pytest.mark.parametrize("status", ["finished", "running"])
def test_something_else_in_the_place_of_a_record_is_named(
    name: str, in_place: Callable[[Path], None], status: str
) -> None:
    if in_place is an_unreadable_file and (not hasattr(os, "geteuid") or os.geteuid() == 0):
        pytest.skip("the superuser may read everything")
    with two_runs(status) as (runs, folder):
        path = folder / name
        path.unlink(missing_ok=True)
        in_place(path)
        listed, compared = answers(runs)
        assert "seed1" in listed
        assert "mlp" in compared
        if status == "running" and (name, in_place) in YET_TO_COME:
            return
        assert f"{path}:" in compared
        assert f"{path}:" in listed or (status, name) == ("finished", "metrics.jsonl"), "ls needs no rows of it"


@pytest.mark.parametrize("in_place", IN_PLACE, ids=lambda make: make.__name__)
def test_a_folder_of_nothing_but_damage_is_still_a_run(in_place: Callable[[Path], None]) -> None:
    with two_runs() as (runs, folder):
        for name in RECORDS:
            (folder / name).unlink()
            in_place(folder / name)
        listed, _ = answers(runs)
        assert "mlp/seed0" in listed
        with contextlib.suppress(ConfigError):
            answers(folder)
