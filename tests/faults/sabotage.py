"""What can happen to a process that trains, done on purpose: each is called in it before its command begins."""

import os
import re
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import TracebackType
from typing import Any

from bnexp.files import open_to_append
from bnexp.runs import rows
from bnexp.session.display import Display
from bnexp.training.clock import Clock


def kill_self() -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for(barrier: Barrier) -> None:
    """Begin together with the others."""
    barrier.wait(60)


def limit_file_size(size: int) -> None:
    """Let no file grow beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def at_step(number: int, act: Callable[[], object]) -> None:
    """Do something after a step of the training."""

    def step(display: Display, step: int, clock: Clock) -> None:
        if step == number:
            act()

    Display.step = step  # type: ignore[assignment, method-assign]


def sleep_each_step(seconds: float) -> None:
    """Take longer for each step."""
    Display.step = lambda *_: time.sleep(seconds)  # type: ignore[method-assign]


def both(first: Callable[[], object], second: Callable[[], object]) -> None:
    """Do one and then the other."""
    first()
    second()


@dataclass
class Calls:
    """Sees every call that changes a file or a folder, and may end the process at one of them.

    Attributes:
        log: takes a line per call: what is called, on which file, and the bytes of a write.
        kill_before: the number of the call, from 1, that is never made.
        tear: the name of a file, which of the writes to it, from 1, and how many of its bytes come to the disk before
            the process is killed.
    """

    log: Path | None = None
    kill_before: int | None = None
    tear: tuple[str, int, int] | None = None
    seen: int = 0
    writes: Counter[str] = field(default_factory=Counter)

    def watch(self) -> None:
        """See all calls from now on."""
        opened = Path.open

        def open_watched(path: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
            if not set(mode) & set("wax+"):
                return opened(path, mode, *rest, **named)
            self.note("open", path)
            return _File(opened(path, mode, *rest, **named), path, self)

        def append_watched(path: Path) -> Any:
            self.note("open", path)
            return _File(open_to_append(path), path, self)

        Path.open = open_watched  # type: ignore[assignment, method-assign]
        setattr(rows, "open_to_append", append_watched)  # noqa: B010  a name that it imports
        for name in ("replace", "unlink", "mkdir"):
            setattr(os, name, partial(self._call, name, getattr(os, name)))
        fsync = os.fsync

        def sync(descriptor: int) -> None:
            self.note("fsync", Path(os.readlink(f"/proc/self/fd/{descriptor}")))
            fsync(descriptor)

        os.fsync = sync  # type: ignore[assignment]

    def note(self, what: str, path: Path, size: int | None = None) -> None:
        """Take notice of a call, before it is made."""
        self.seen += 1
        if self.seen == self.kill_before:
            kill_self()
        if self.log is not None:
            descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(descriptor, " ".join(map(str, (what, real_name(path), size or 0))).encode() + b"\n")
            os.close(descriptor)

    def write(self, file: Any, path: Path, part: Any) -> Any:
        """Write what is to come to the disk."""
        name = real_name(path)
        self.note("write", path, len(part))
        self.writes[name] += 1
        if self.tear and (name, self.writes[name]) == self.tear[:2]:
            file.write(bytes(part)[: self.tear[2]])
            file.flush()
            kill_self()
        return file.write(part)

    def _call(self, name: str, function: Callable[..., object], path: Any, *rest: Any, **named: Any) -> object:
        self.note(name, Path(path))
        return function(path, *rest, **named)


class _File:
    """A file whose writes are seen; all else goes to the file."""

    def __init__(self, file: Any, path: Path, calls: Calls) -> None:
        self._file, self._path, self._calls = file, path, calls

    def write(self, part: Any) -> Any:
        return self._calls.write(self._file, self._path, part)

    def truncate(self, size: int) -> Any:
        self._calls.note("truncate", self._path)
        return self._file.truncate(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_File":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def real_name(path: Path) -> str:
    """Return the name that a file written aside is to take: `.meta.json.123.tmp` is meta.json."""
    return re.sub(r"^\.(.+)\.[0-9a-f]+\.tmp$", r"\1", path.name)


@dataclass(frozen=True)
class Call:
    """A call that was seen."""

    what: str
    name: str
    size: int


def calls_in(log: Path) -> list[Call]:
    """Read what was noted."""
    lines = (line.split(" ") for line in log.read_text().splitlines())
    return [Call(what, name, int(size)) for what, name, size in lines]
