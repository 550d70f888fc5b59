"""`bnexp report`: one page to share, with all that some runs say."""

import shlex
from pathlib import Path

from bnexp.analysis.report import Study, report_on
from bnexp.config.naming import run_name_of
from bnexp.config.yaml_text import read_yaml_file
from bnexp.document.show import page_file, write_out, write_page
from bnexp.errors import ConfigError, visible
from bnexp.files import read_file
from bnexp.runs.find import find_runs, place_of_runs
from bnexp.runs.run import read_run

SWEEP_COPY = "sweep.yaml"
"""The sweep as it was last asked for, in its folder."""
_MOST_BYTES = 1_000_000


def report(
    path: str | None = None,
    *,
    to: Path = Path("report.html"),
    runs_dir: Path = Path("runs"),
    baseline: str | None = None,
) -> None:
    """Write the page of the runs in a folder, or of those of a sweep file; the arguments are those of the command.

    Raises:
        ConfigError: there are no runs, no such baseline, or the page cannot lie where it is to.
        BnexpError: the page cannot be written.
    """
    if to.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"-o {to}: expected a name that ends in .html; a browser prints the page as PDF")
    page = page_file(to, "-o")
    folder, study = _find(path, runs_dir)
    runs = [read_run(found) for found in find_runs([folder], runs_dir)]
    made = report_on(runs, study, baseline=baseline)
    words = ["bnexp", "report", *([path] if path else []), *(["--baseline", baseline] if baseline else [])]
    write_page(page, made, shlex.join([*words, "-o", to.name]))
    size = page.stat().st_size
    write_out(f"{visible(str(to))}: written, {size / 1000:,.0f} kB; a browser opens it, without any other file\n")


def _find(path: str | None, runs_dir: Path) -> tuple[str, Study]:
    """Return the folder of the runs, and what they were made for."""
    if path is not None and path.endswith((".yaml", ".yml")) and Path(path).is_file():
        file = Path(path)
        return str(runs_dir / run_name_of(file.stem)), _read(file)
    folder = place_of_runs(runs_dir) if path is None else Path(path)
    folder = folder if folder.is_dir() else runs_dir / folder
    if (folder / SWEEP_COPY).is_file():
        study = _read(folder / SWEEP_COPY)
        return path or str(folder), Study(folder.resolve().name, study.question, study.file, study.text)
    return path or str(folder), Study(folder.resolve().name)


def _read(file: Path) -> Study:
    values, _ = read_yaml_file(file)
    question = values.get("question") if isinstance(values, dict) else None
    text = read_file(file, _MOST_BYTES).decode("utf-8", "replace")
    return Study(run_name_of(file.stem), question if isinstance(question, str) else "", str(file), text)
