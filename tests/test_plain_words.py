"""Words that are read without pydantic come out as Typer reads them, and the rest is left to it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pytest
import typer
from typer.main import get_command

from bnexp import cli
from bnexp.options import HonestTyper
from bnexp.plain_words import read_plainly


def parameters_of_all_commands() -> Iterator[Any]:
    group: Any = get_command(cli.app)
    for command in group.commands.values():
        yield from (param for param in command.params if hasattr(param, "type_descriptor"))


def outcome(param: Any, value: Any) -> tuple[str, Any]:
    """Return what a parameter makes of a value, or what it says of it."""
    context = typer.Context(get_command(cli.app))
    try:
        return "read", param.process_value(context, value)
    except Exception as error:
        return type(error).__name__, str(error)


def values_for(param: Any, folder: Path) -> list[Any]:
    texts = ["", "a", "3", "1.5", "true", "-", "~/runs", str(folder), str(folder / "none"), "table", "ünïcode \udcff"]
    if param.multiple or param.nargs == -1:
        return [None, (), [], texts, tuple(texts), [folder]]
    return [None, *texts, folder, True, 3]


def test_every_parameter_of_every_command_reads_as_in_typer(tmp_path: Path) -> None:
    params = list(parameters_of_all_commands())
    assert {param.type_descriptor.annotation for param in params} >= {str, Path, bool, list[str], int}
    for param in params:
        values = values_for(param, tmp_path)
        before = [outcome(param, value) for value in values]
        read_plainly([param])
        assert [outcome(param, value) for value in values] == before, param.name
        del param.get_runtime_param


@pytest.mark.parametrize(("exists", "resolve"), [(True, False), (False, True), (True, True), (False, False)])
def test_a_path_with_a_check_is_left_to_typer(tmp_path: Path, exists: bool, resolve: bool) -> None:
    app = HonestTyper()
    found = list[Path]()

    @app.command()
    def command(path: Annotated[Path, typer.Argument(exists=exists, resolve_path=resolve)]) -> None:
        found.append(path)

    (param,) = (one for one in get_command(app).params if one.name == "path")
    os.symlink(tmp_path, tmp_path / "link")
    for value in (str(tmp_path / "link"), str(tmp_path / "none")):
        before = outcome(param, value)
        read_plainly([param])
        assert outcome(param, value) == before
        del param.get_runtime_param  # type: ignore[attr-defined]


def test_a_file_that_nobody_may_read_is_left_to_typer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    param = next(param for param in parameters_of_all_commands() if param.type_descriptor.annotation is Path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    before = outcome(param, str(tmp_path))
    read_plainly([param])
    assert outcome(param, str(tmp_path)) == before
    assert "not readable" in before[1]


def test_a_version_of_typer_that_reads_otherwise_is_left_alone() -> None:
    class Other:
        name = "other"

    other = Other()
    assert read_plainly([other]) == [other]
    assert not vars(other)


def test_words_of_a_choice_are_checked() -> None:
    params = [
        param
        for param in parameters_of_all_commands()
        if set(get_args(param.type_descriptor.annotation)) >= {"table", "csv"}
    ]
    assert params
    assert params[0].type_descriptor.annotation == Literal["table", "csv", "json", "markdown", "latex"]
    read_plainly(params)
    assert outcome(params[0], "tabel")[0] == "BadParameter"
