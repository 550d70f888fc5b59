"""`bnexp report`: one page to share, with all that some runs say."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from bnexp.analysis.report import Study, report_on
from bnexp.config.packaged import ENDINGS, file_name, find_config
from bnexp.config.yaml_text import dump_yaml
from bnexp.document.show import page_file, write_out, write_page
from bnexp.document.writing import counted
from bnexp.errors import ConfigError, visible
from bnexp.files import read_file
from bnexp.runs.find import DEFAULT, find_runs, place_of_runs
from bnexp.runs.run import Run, read_run
from bnexp.sweep.judging import find_study, folder_of, judge_plan
from bnexp.sweep.plan import COPY, Planner

_MOST_BYTES = 1_000_000


def report(
    path: str | None = None,
    *,
    to: Path = Path("report.html"),
    runs_dir: Path = Path("runs"),
    baseline: str | None = None,
    data_dir: Path | None = None,
    plugins: Sequence[Path] = (),
) -> None:
    """Write the page of the runs in a folder, or of those of a sweep file; the arguments are those of the command.

    Raises:
        ConfigError: there are no runs, no such baseline, or the page cannot lie where it is to.
        BnexpError: the page cannot be written.
    """
    if to.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"-o {to}: expected a name that ends with .html; a browser prints the page as PDF")
    page = page_file(to, "-o")
    if page.is_file() and page.read_bytes()[:100].strip()[:14].lower() not in (b"", b"<!doctype html"):
        raise ConfigError(f"-o {to}: a file lies there that is no page; choose another name, or remove it")
    runs, study = _find(path, place_of_runs(runs_dir), data_dir)
    places = {"--runs-dir": None if runs_dir == DEFAULT else runs_dir, "--data-dir": data_dir}
    options = {"--baseline": baseline, **places, "-o": to.name}
    words = [word for option, value in options.items() if value is not None for word in (option, str(value))]
    words += [word for file in plugins for word in ("--plugin", str(file))]
    command = shlex.join(["bnexp", "report", *([path] if path else []), *words])
    write_page(page, report_on(runs, study, baseline=baseline), command)
    size = page.stat().st_size / 1000
    write_out(f"{visible(str(to))}: written, {size:,.0f} kB; a browser opens it, without any other file\n")


def _find(path: str | None, runs_dir: Path, data_dir: Path | None) -> tuple[list[Run], Study]:
    """Return the runs, and what they were made for: those of a sweep where `path` is its file or its folder."""
    folder = folder_of(path or str(runs_dir), runs_dir)
    if path is not None and folder is None and (os.path.isfile(path) or find_config(Path(path)).suffix in ENDINGS):
        return _of_sweep(path, runs_dir, data_dir)
    runs = [read_run(found) for found in find_runs([path] if path else [], runs_dir)]
    name = path if folder is None else folder.resolve().name
    if folder is None or not (copy := folder / COPY).is_file():
        return runs, Study(name or str(runs_dir))
    try:
        return _of_sweep(str(folder), runs_dir, data_dir)
    except ConfigError as error:
        why = f"the sweep cannot be read as it was, so that its claims are not judged: {error}"
        return runs, Study(name or str(runs_dir), file=str(copy), text=_text(copy), unjudged=why)


def _of_sweep(path: str, runs_dir: Path, data_dir: Path | None) -> tuple[list[Run], Study]:
    """Return the runs of a sweep, by its file or its folder, and the verdicts on its claims."""
    sweep, file, runs_dir = find_study(path, runs_dir)
    plan = Planner(sweep, runs_dir, data_dir).plan()
    runs = [run for own in plan.runs_by_arm().values() for run in own]
    if not runs:
        line = f"bnexp sweep {shlex.quote(file_name(file))}"
        raise ConfigError(f"{file_name(file)}: no runs of it in {plan.folder}; train them with: {line}")
    planned, others = len(plan.runs), len(find_runs([str(plan.folder)], runs_dir)) - len(runs) - len(plan.tuning)
    notes = [choice.text for choice in plan.choices.values()]
    if len(runs) < planned:
        notes.append(f"{len(runs)} of {counted(planned, 'planned run')} are there")
    if others > 0:
        notes.append(f"{counted(others, 'run')} of other values in the folder left out")
    judged = judge_plan(sweep, plan)
    study = Study(
        sweep.name,
        sweep.file.question or "",
        file_name(file),
        _text(file),
        dump_yaml(dict(sweep.draft.values)),
        judged.verdicts,
        on_claims=judged.notes,
        tuned=list(sweep.file.tune),
        notes=notes,
    )
    return runs, study


def _text(file: Path) -> str:
    return read_file(file, _MOST_BYTES).decode("utf-8", "replace")
