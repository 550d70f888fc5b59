"""What the functions of bnexp in Python return: runs, a comparison, verdicts, a figure; a notebook shows each."""

import os
import shutil
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, SupportsIndex, overload

from bnexp.analysis.frames import frame_of_metrics, frame_of_runs
from bnexp.analysis.listing import list_runs
from bnexp.analysis.verdict import KEYS, ClaimVerdict, verdict_table
from bnexp.commands.plot import form_of, write_plot
from bnexp.document.exports import to_records
from bnexp.document.plots import Plot, SizeName
from bnexp.document.table import Table
from bnexp.document.terminal import to_text
from bnexp.document.values import Document
from bnexp.runs import run as records

if TYPE_CHECKING:
    import pandas as pd


class BnexpWarning(UserWarning):
    """What a command would warn of, or note, beside its result; `--strict` is `warnings.simplefilter("error", ...)`."""


class _Shown(ABC):
    """A value that a notebook shows as a table or a figure, and a terminal as text."""

    @abstractmethod
    def _document(self) -> Document:
        """Return what is shown."""

    def _repr_html_(self) -> str:
        from bnexp.document.page import to_fragment  # loads matplotlib

        return to_fragment(self._document())

    def __repr__(self) -> str:
        width = shutil.get_terminal_size((100, 24)).columns
        return to_text(self._document(), width, whole="a wider terminal or a notebook shows all").rstrip("\n")


class _ShownRuns(_Shown):
    """Runs, which are shown as `bnexp ls` lists them."""

    @property
    @abstractmethod
    def _shown(self) -> "Sequence[Run]":
        """Return the runs."""

    def _document(self) -> Document:
        return [list_runs(self._shown, Path(), datetime.now(UTC).astimezone())]

    @cached_property
    def metrics(self) -> "pd.DataFrame":
        """The logged figures in long form: run, step, epoch, metric, value. See `load_runs`."""
        frame, problems = frame_of_metrics(self._shown, self._metric_names)
        for problem in problems:
            warn(problem)
        return frame

    _metric_names: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Run(_ShownRuns, records.Run):
    """One run, read from its folder: its config, its status, what it reached, and `metrics`, what it logged.

    Attributes:
        folder: where its records lie.
        name, seed: of the run.
        config: the resolved config, with dotted keys.
        status: finished, diverged, interrupted, failed, running, ...
        figures: of its end, such as `test_accuracy`; accuracies are fractions.
        problems: one sentence per file that is missing or damaged.
    """

    @property
    def _shown(self) -> "Sequence[Run]":
        return [self]


class Runs(_ShownRuns, Sequence[Run]):
    """Runs in a table (`runs`), and what they logged in a second one (`metrics`); a sequence of `Run`."""

    def __init__(self, runs: Iterable[records.Run], metrics: Sequence[str] = ()) -> None:
        self._runs = [_run_of(run) for run in runs]
        self._metric_names = tuple(metrics)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> "Runs": ...
    def __getitem__(self, index: SupportsIndex | slice) -> "Run | Runs":
        return Runs(self._runs[index], self._metric_names) if isinstance(index, slice) else self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def _shown(self) -> Sequence[Run]:
        return self._runs

    @cached_property
    def runs(self) -> "pd.DataFrame":
        """One row per run: its folder as `run`, name, seed, status, the keys of its config and its figures."""
        return frame_of_runs(self._runs)

    @property
    def problems(self) -> list[str]:
        """One sentence per record that is missing or damaged."""
        return [problem for run in self._runs for problem in run.problems]


@dataclass(frozen=True, repr=False)
class Comparison(_Shown):
    """What arms reached: `arms` and, where they differ in their learning rate, `rates` for pandas, and `notes`.

    Attributes:
        tables: the same as they are shown.
    """

    tables: tuple[Table, ...]

    @property
    def arms(self) -> "pd.DataFrame":
        """One row per arm, with the columns of `bnexp compare --format csv`; accuracies are fractions.

        With a baseline, the differences to it are columns such as `accuracy/val:last_difference_mean`.
        """
        return _frame(self.tables[0])

    @property
    def rates(self) -> "pd.DataFrame | None":
        """One row per arm at its own best learning rate; None where arms do not differ in their rates."""
        return next((_frame(table) for table in self.tables if table.key == "rates"), None)

    @property
    def notes(self) -> list[str]:
        """What limits the comparison, a sentence or two each."""
        return [note for table in self.tables for note in table.notes]

    def _document(self) -> Document:
        return self.tables


class Verdicts(_Shown, Sequence[ClaimVerdict]):
    """The verdicts on the claims of a study, in their order; `table` has them for pandas, `notes` what limits them."""

    def __init__(self, verdicts: Iterable[ClaimVerdict], notes: Sequence[str] = ()) -> None:
        self._verdicts, self.notes = list(verdicts), list(notes)

    @overload
    def __getitem__(self, index: SupportsIndex) -> ClaimVerdict: ...
    @overload
    def __getitem__(self, index: slice) -> "Verdicts": ...
    def __getitem__(self, index: SupportsIndex | slice) -> "ClaimVerdict | Verdicts":
        return Verdicts(self._verdicts[index], self.notes) if isinstance(index, slice) else self._verdicts[index]

    def __len__(self) -> int:
        return len(self._verdicts)

    @property
    def table(self) -> "pd.DataFrame":
        """One row per claim: claim, verdict, effect, low, high, n, p, p_corrected, more_seeds, reason."""
        import pandas as pd

        return pd.DataFrame.from_records([one.record for one in self._verdicts], columns=list(KEYS))

    def _document(self) -> Document:
        return [verdict_table(self._verdicts, self.notes)]


@dataclass(frozen=True, repr=False)
class Figure(_Shown):
    """A figure of runs, which a notebook draws; `save` writes it into a file.

    Attributes:
        plot: its numbers, title and caption; `plot.notes` say what it leaves out.
    """

    plot: Plot

    def save(self, path: str | os.PathLike[str], size: SizeName = "page") -> Path:
        """Write the figure as png, svg or pdf, by the ending of the name, and return the path.

        Args:
            path: the file, which is replaced.
            size: 3.3 inches wide for a `column` of a paper, 6.9 for a `page`, 10 for a `slide`.

        Raises:
            ConfigError: another ending, or no place for a file.
            BnexpError: it cannot be written.
        """
        file = Path(path)
        write_plot(self.plot, form_of(file), file, size)
        return file

    def _document(self) -> Document:
        return [self.plot]

    def __repr__(self) -> str:
        return "\n".join([self.plot.title, self.plot.caption, *(f"note: {note}" for note in self.plot.notes)])


def _run_of(run: records.Run) -> Run:
    return run if isinstance(run, Run) else Run(**{own.name: getattr(run, own.name) for own in fields(run)})


def _frame(table: Table) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame.from_records(to_records(table))


def warn(text: str) -> None:
    """Warn at the line outside of bnexp that called."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "bnexp":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, BnexpWarning, stacklevel=level)
