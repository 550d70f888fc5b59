"""Run the code of norms and activations that others wrote; what goes wrong in it is told with its file and line.

A file is run where `--plugin` names it, and an installed package where a config says a name that it offers. Nothing
else is: no config and no run folder names code.
"""

import contextlib
import hashlib
import linecache
import re
import sys
import traceback
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bnexp.config.wording import brief
from bnexp.errors import BnexpError, ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUPS = {"norm": "bnexp.norms", "activation": "bnexp.activations"}
"""The groups of entry points in which a package offers norms and activations, by their names."""
MAX_BYTES = 1_000_000
_HERE = str(Path(__file__).parent.parent)
_MODULE = "bnexp_plugin_"
_EXECUTED: dict[str, bytes] = {}
"""The files that were run, by their names, as they were read then."""


def mark_of(sha256: str, distribution: str | None) -> str:
    """Return what tells a version of code from others, for people: the installed package, and a part of a checksum."""
    return ", ".join(filter(None, (distribution, f"sha256 {sha256[:12]}")))


def _from_here(path: str) -> str:
    """Return a path as a person here would type it."""
    with contextlib.suppress(ValueError, OSError):
        return str(Path(path).relative_to(Path.cwd()))
    return path


@dataclass(frozen=True)
class Source:
    """Where a norm or an activation is registered.

    Attributes:
        path: of the file, absolute.
        line: of the registration.
        content: of the file as it was run.
        module: the name of the module that it became; only that one may register the name again.
        distribution: name and version of the installed package, such as `my-norms 1.2`; None for a file that was given.
    """

    path: str
    line: int = 0
    content: bytes = field(default=b"", repr=False)
    module: str = ""
    distribution: str | None = None

    @cached_property
    def sha256(self) -> str:
        """The checksum of the file."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def where(self) -> str:
        """The file and the line, for messages."""
        return f"{_from_here(self.path)}:{self.line}"

    @property
    def mark(self) -> str:
        """What tells this version of the code from others."""
        return mark_of(self.sha256, self.distribution)

    @property
    def record(self) -> dict[str, str | None]:
        """What meta.json keeps."""
        return {"path": self.path, "sha256": self.sha256, "distribution": self.distribution}


def run_file(path: Path) -> None:
    """Run a file that registers norms or activations.

    Raises:
        ConfigError: it cannot be read, or is wrong; with its line.
    """
    try:
        if not path.is_file():
            raise ConfigError(f"--plugin {path}: no such file; expected a Python file that registers a norm")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--plugin {path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"--plugin {path}: more than {MAX_BYTES:,} bytes; expected a Python file of a norm")
    run_content(str(path.absolute()), content)


def run_content(path: str, content: bytes) -> None:
    """Run the content of a file, once in a process.

    Raises:
        ConfigError: as `run_file`.
    """
    if _EXECUTED.get(path) == content:
        return
    name = f"{_MODULE}{hashlib.sha256(path.encode()).hexdigest()[:8]}_{re.sub(r'[^a-zA-Z0-9]', '_', Path(path).stem)}"
    module = types.ModuleType(name)
    module.__file__ = path
    before, sys.modules[name] = sys.modules.get(name), module  # classes are found by the name of their module
    _EXECUTED[path] = content
    try:
        with explained(path):
            exec(compile(content, path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102  a person gave the file
    except BaseException:
        del _EXECUTED[path]
        sys.modules.pop(name) if before is None else sys.modules.update({name: before})
        raise
    linecache.checkcache(path)


@contextlib.contextmanager
def explained(path: str = "", doing: str = "") -> Iterator[None]:
    """Turn what goes wrong in the code of others into a ConfigError with file and line.

    What it prints goes to stderr: stdout is for programs, too.

    Args:
        path: of the file that is blamed where it is among those that ran; else the innermost one outside of bnexp is.
        doing: what was tried, for the message.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (BnexpError, KeyboardInterrupt):
        raise
    except BaseException as error:
        what = brief(f"{type(error).__name__}: {error}", 300)
        raise ConfigError(f"{_place(error, path)}: {doing}{what}") from None


def place_in(error: BaseException, path: str) -> str | None:
    """Return the line of a file in which an error arose, as `file:line`; None where it was not in it."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f"{_from_here(path)}:{lines[-1]}" if lines else None


def _place(error: BaseException, path: str) -> str:
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{_from_here(error.filename)}:{error.lineno}"
    if place := place_in(error, path):
        return place
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_HERE, "<frozen"))
    ]
    return f"{_from_here(frames[-1].filename)}:{frames[-1].lineno}" if frames else path


def calling_source(depth: int) -> Source:
    """Return the source of the code that called the function `depth` frames above this one.

    Raises:
        ConfigError: it stands in no file, which could be recorded.
    """
    frame = sys._getframe(depth + 1)
    path, line, module = frame.f_code.co_filename, frame.f_lineno, str(frame.f_globals.get("__name__", ""))
    content = _EXECUTED.get(path)
    if content is None:
        with contextlib.suppress(OSError):
            content = Path(path).read_bytes()
            path = str(Path(path).absolute())
    if content is None:  # a cell of a notebook
        content = "".join(linecache.getlines(path)).encode()
    if not content:
        raise ConfigError(f"{path}: runs record the file that registers a norm; expected it in a file of its own")
    return Source(path, line, content, module, None if module.startswith(_MODULE) else _distribution_of(module))


def _distribution_of(module: str) -> str | None:
    """Return the installed package that offers a module, or its package, in one of our groups."""
    top = module.partition(".")[0]
    owners = (_owner(entry) for entries in offered().values() for entry in entries if entry.module.split(".")[0] == top)
    return next(filter(None, owners), None)


def _owner(entry: "EntryPoint") -> str | None:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else None


def offered(*groups: str) -> "Mapping[str, tuple[EntryPoint, ...]]":
    """Return what installed packages offer in some groups, or all, by its names; nothing of it is run."""
    from importlib.metadata import entry_points  # slow to load, and seldom needed

    found: dict[str, tuple[EntryPoint, ...]] = {}
    for group in groups or GROUPS.values():
        for entry in entry_points(group=group):
            found[entry.name] = (*found.get(entry.name, ()), entry)
    return found


def run_offered(name: str) -> bool:
    """Run the installed module that offers a name, if there is one, and tell whether there is.

    Raises:
        ConfigError: it is wrong, with its line; or several packages offer the name.
    """
    entries = {(entry.value, entry.dist and entry.dist.name): entry for entry in offered().get(name, ())}
    if len(entries) > 1:
        named = " and ".join(sorted(str(owner) for _, owner in entries))
        raise ConfigError(f"{name}: {named} both offer it; expected one of them: pip uninstall the other")
    for entry in entries.values():
        with explained(entry.value, f"{_owner(entry) or entry.value} offers {name}, but: "):
            entry.load()
        return True
    return False
