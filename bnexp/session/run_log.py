"""The log of a run, log.txt in its folder: what it said, when, over all its sessions."""

import contextlib
import os
import shlex
import traceback
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

from bnexp.config.plan import Plan
from bnexp.document.writing import clock_duration, counted
from bnexp.errors import visible_lines
from bnexp.files import open_to_append
from bnexp.runs.folder import LOG
from bnexp.runs.own_lock import HeldLock, LostLock
from bnexp.session.display import Display, LineDisplay, Recent
from bnexp.session.terms import Terms
from bnexp.training.clock import Clock


class RunLog:
    """Appends what a run says to log.txt, each time and text in one write, so that a kill leaves whole lines.

    Warnings come before there is a folder: they wait for it. Nothing is lost by a log that cannot be written, and
    nothing is written where another process has the lock of the run.

    Attributes:
        terms: those of the run, which say everything here, too.
    """

    def __init__(self, terms: Terms) -> None:
        self._echo, self._waiting = terms.echo, list[bytes]()
        self._file: FileIO | None = None
        self._lock: HeldLock | None = None

        def warn(text: str) -> None:
            self._append(f"warning: {text}")
            terms.warn(text)

        def note(text: str) -> None:
            self._append(f"note: {text}")
            terms.note(text)

        def show(name: str, plan: Plan) -> Display:
            return _Both(terms.show(name, plan), LineDisplay(name, plan, self.line))

        self.terms = replace(terms, warn=warn, note=note, show=show)

    def line(self, text: str) -> None:
        """Write a text with its time, and print it where that was asked for; further lines of it are indented."""
        self._echo(self._append(text))

    def quietly(self, text: str) -> None:
        """Write a text that was printed already."""
        self._append(text)

    def begin(self, folder: Path, lock: HeldLock, meta: Mapping[str, Any]) -> None:
        """Write into the folder of a run from now on, at first what the session is."""
        self._lock = lock
        with contextlib.suppress(OSError):
            self._file = open_to_append(folder / LOG)
        early, self._waiting = self._waiting, []
        versions = f"bnexp {meta['bnexp']}, torch {meta['versions']['torch']}, Python {meta['versions']['python']}"
        place = f"{meta['device']} ({meta['device_name']}), {meta['precision']}, {counted(meta['threads'], 'thread')}"
        self.line(f"begins: {shlex.join(meta['argv']) or 'from Python'}")
        self.line(f"{versions}; {place}; process {meta['pid']} on {meta['host']}")
        for content in early:
            self._write(content)

    def ended(self, summary: Mapping[str, Any]) -> None:
        """Write how a run came to its end."""
        took = f"after {counted(summary['steps'], 'step')} in {clock_duration(summary['time']['total_s'])}"
        scores = [("val", summary["final"]), ("test", (summary["test"] or {}).get("final"))]
        known = [f"{part} {score['accuracy']:.2%}" for part, score in scores if score]
        if where := summary["divergence"]:
            known = [f"at step {where['step']:,}, first in the {where['quantity']} of {where['layer']}"]
        self.line(f"{summary['status']} {took}: {', '.join(known)}")

    def bug(self, error: BaseException) -> None:
        """Write the traceback of a bug in bnexp."""
        self.line("failed by a bug in bnexp:\n" + "".join(traceback.format_exception(error)).rstrip())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = self._lock = None

    def _append(self, text: str) -> str:
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        line = f"{moment}  {visible_lines(text)}".replace("\n", "\n  ")
        content = f"{line}\n".encode(errors="backslashreplace")
        if self._lock is None:
            self._waiting.append(content)
        else:
            self._write(content)
        return line

    def _write(self, content: bytes) -> None:
        with contextlib.suppress(OSError, LostLock):
            if self._lock is not None:
                self._lock.refuse_lost()
            if self._file is not None:
                os.write(self._file.fileno(), content)


class _Both(Display):
    """Shows a training in two ways."""

    def __init__(self, *displays: Display) -> None:
        self._displays = displays

    def watch(self, log: Recent) -> None:
        for display in self._displays:
            display.watch(log)

    def waiting(self, reason: str) -> None:
        for display in self._displays:
            display.waiting(reason)

    def step(self, step: int, clock: Clock) -> None:
        for display in self._displays:
            display.step(step, clock)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        for display in self._displays:
            display.scalars(step, values)

    def histograms(self, step: int, values: dict[str, Any]) -> None:
        for display in self._displays:
            display.histograms(step, values)

    def close(self) -> None:
        for display in self._displays:
            display.close()
