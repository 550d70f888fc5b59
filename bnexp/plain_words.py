"""Read words of the command line that need no check without pydantic.

Typer reads each option but a flag through pydantic, also one that nobody gave, and to load that takes longer than all
else that `bnexp ls` does. Text, paths and what nobody gave are read here, as Typer would; the rest is left to it.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

_UNREAD = object()
"""Stands for the value of words that Typer has to check."""
_CHECKS = ("parser", "exists", "resolve_path")
"""Attributes of Typer's that say whether it checks a word."""


@dataclass(frozen=True)
class _Reader:
    """Stands for what Typer makes of a parameter, and makes that only for a word that is not plain."""

    of_typer: Callable[[], Any]

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value of a parameter, of what stands on the command line or is its default."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        descriptor = param.type_descriptor
        found = _read(value, descriptor.annotation, descriptor.parameter_info)
        return self.of_typer().coerce(value, param=param, ctx=ctx) if found is _UNREAD else found


def read_plainly(params: Sequence[Any]) -> list[Any]:
    """Let parameters of a command be read here; a version of Typer that reads them in another way goes on to do so."""
    for param in params:
        info = getattr(getattr(param, "type_descriptor", None), "parameter_info", None)
        if hasattr(type(param), "get_runtime_param") and all(hasattr(info, name) for name in _CHECKS):
            reader = _Reader(type(param).get_runtime_param.__get__(param))
            param.get_runtime_param = lambda reader=reader: reader
    return list(params)


def _read(value: Any, annotation: Any, info: Any) -> Any:
    """Return the value that words stand for; `_UNREAD` where that takes a check."""
    if get_origin(annotation) is list and isinstance(value, list | tuple):
        (of_each,) = get_args(annotation)
        values = [_read(one, of_each, info) for one in value]
        return _UNREAD if any(one is _UNREAD for one in values) else values
    if info.parser is not None:
        return _UNREAD
    if annotation is str and isinstance(value, str):
        return value
    if annotation is Path and isinstance(value, str | Path) and not (info.exists or info.resolve_path):
        return Path(value) if os.access(value, os.R_OK) or not os.path.lexists(value) else _UNREAD
    return _UNREAD
