"""Keeps what the runs of the studies came to, and writes docs/findings.md from it.

    python tools/findings.py keep FOLDER   of the runs of the studies in a folder, the records into docs/findings/
    python tools/findings.py write         docs/findings.md and its figures, from these records alone

A study's records are the config, meta.json and summary.json of each run, and the rows of those that diverged, without
what is of one machine: its paths, its name and its processes. What is said about a study by hand stands in
docs/findings/STUDY.txt.
"""

import io
import json
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bnexp.analysis.compare import compare_runs
from bnexp.analysis.verdict import judge_claims, verdict_table
from bnexp.commands.plot import Kind, make_plot
from bnexp.config.sweep_loading import Sweep, load_sweep
from bnexp.document.drawing import to_bytes
from bnexp.document.exports import to_markdown
from bnexp.document.table import Table
from bnexp.runs.find import find_runs
from bnexp.runs.folder import CONFIG, META, METRICS, SUMMARY
from bnexp.runs.run import Run
from bnexp.sweep.plan import Planner

ROOT = Path(__file__).parents[1]
STUDIES: dict[str, tuple[Kind, dict[str, str]]] = {
    "placement": ("paired", {"baseline": "before_relu"}),
    "higher_rates": ("axis", {"x": "optimizer.lr"}),
    "batch_size": ("axis", {"x": "data.batch_size"}),
}
"""The figure of each study, and its options."""
METRIC = "accuracy/test"
_OF_A_MACHINE = ("argv", "host", "pid", "process_started", "data_dir", "bnexp_commit")
_TITLE = """# Findings: what three studies came to

Each study is a sweep file with claims that were written down before its first run. It is trained again, in at most six
minutes on two cores, by `bnexp sweep studies/NAME`; on another processor the last bits, and so a near tie,
may come out otherwise. `make findings` writes this page from the records of the runs in docs/findings/. How claims are
judged: [verdicts.md](verdicts.md)."""


def keep(runs: Path, kept: Path) -> None:
    """Write the records of the studies whose runs lie in a folder, one archive a study."""
    for name in STUDIES:
        if (runs / name).is_dir():
            with tarfile.open(kept / f"{name}.tar.xz", "w:xz") as archive:
                for folder in sorted(find_runs([str(runs / name)], runs)):
                    for record in _records(folder):
                        _add(archive, folder / record, f"{name}/{folder.relative_to(runs / name)}/{record}")


def _records(folder: Path) -> list[str]:
    """Return the names of the records that are kept; where the summary has no score, the rows say what there was."""
    scored = json.loads((folder / SUMMARY).read_text()).get("test")
    return [CONFIG, META, SUMMARY] if scored else [CONFIG, META, SUMMARY, METRICS]


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    content = path.read_bytes()
    if path.name == META:
        values = {key: value for key, value in json.loads(content).items() if key not in _OF_A_MACHINE}
        content = json.dumps(values, indent=1).encode()
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def kept_records(archive: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each record of an archive."""
    with tarfile.open(archive) as records:
        for member in records:
            if file := records.extractfile(member):
                yield member.name, file.read().decode()


def write(kept: Path, page: Path) -> None:
    """Write the page of all studies whose records are kept, and a figure of each beside them."""
    parts = [_TITLE]
    with tempfile.TemporaryDirectory() as place:
        for name in STUDIES:
            with tarfile.open(kept / f"{name}.tar.xz") as archive:
                archive.extractall(place, filter="data")
            parts += _study(name, Path(place), kept)
    page.write_text("\n\n".join(part.strip() for part in parts) + "\n")


def _study(name: str, place: Path, kept: Path) -> list[str]:
    sweep = load_sweep(ROOT / "configs" / "studies" / f"{name}.yaml")
    plan = Planner(sweep, place, None).plan()
    by_arm = plan.runs_by_arm()
    runs = [run for of_arm in by_arm.values() for run in of_arm]
    kind, options = STUDIES[name]
    drawn = [run for run in runs if run.name != "none_sigmoid"]  # so far behind that all others would lie on one line
    plot = make_plot(kind, drawn, metric=METRIC, **options)
    (kept / f"{name}.svg").write_bytes(to_bytes(plot, "svg"))
    verdicts = verdict_table(judge_claims(plan.claims, by_arm, sweep.seeds))
    said = kept / f"{name}.txt"
    return [
        f"## {sweep.file.question}",
        f"`bnexp sweep studies/{name}`: {_head(name)}",
        to_markdown([verdicts]),
        *([said.read_text()] if said.exists() else []),
        f"![{plot.caption}](findings/{name}.svg)",
        f"*{plot.caption}*",
        to_markdown(_tables(sweep, runs)),
    ]


def _head(name: str) -> str:
    """Return the comment at the head of a study, below the line for editors."""
    _, *lines = (ROOT / "configs" / "studies" / f"{name}.yaml").read_text().splitlines()
    return " ".join(line.removeprefix("# ") for line in lines if line.startswith("# "))


def _tables(sweep: Sweep, runs: list[Run]) -> list[Table]:
    """Return the tables of a comparison, without the time of a step, which is that of one machine on one day."""
    tables = compare_runs(runs, keys=list(sweep.file.tune), with_curves=False)
    return [
        replace(table, columns=tuple(column for column in table.columns if column.key != "step_ms")) for table in tables
    ]


if __name__ == "__main__":
    what, *words = sys.argv[1:] or ["write"]
    if what == "keep":
        keep(Path(words[0]), ROOT / "docs" / "findings")
    write(ROOT / "docs" / "findings", ROOT / "docs" / "findings.md")
