"""The work that `ls` and `compare` do for a run does not grow with the number of runs, and no file is read twice."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bnexp.analysis.arms import gather_arms
from bnexp.analysis.compare import compare_arms
from bnexp.analysis.listing import list_runs
from bnexp.config import yaml_text
from bnexp.config.yaml_text import dump_yaml, read_yaml_file
from bnexp.document.table import Table
from bnexp.runs import seal
from bnexp.runs.find import find_runs
from bnexp.runs.run import read_run
from effort import calls_of
from records import CONFIG, merged, write_run


def listed(root: Path, count: int) -> Table:
    return list_runs([read_run(folder) for folder in find_runs([], root)[:count]], root, datetime.now(UTC))


def compared(root: Path, count: int) -> Table:
    return compare_arms(gather_arms(read_run(folder) for folder in find_runs([], root)[:count]))


def write_runs(root: Path, count: int) -> None:
    """Write runs of one name, each with another learning rate, with the records that `bnexp train` leaves."""
    for number in range(count):
        config = {"optimizer.lr": 0.01 * (1 + number), "name": "same"}
        values = merged(CONFIG, config)
        folder = write_run(root / "same" / f"seed0-{number + 2}", config=config, meta={"config_sha256": "", "seed": 0})
        meta = json.loads((folder / "meta.json").read_text())
        (folder / "meta.json").write_text(json.dumps({**meta, "config_sha256": seal.seal_of(values)}))
        seal.write_config(folder, dump_yaml(values))


@pytest.mark.parametrize(("command", "files"), [(listed, 4), (compared, 5)])
def test_each_file_is_opened_once_and_yaml_is_read_only_where_it_was_edited(
    tmp_path: Path, command: Callable[[Path, int], Table], files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_runs(tmp_path, 6)
    edited = tmp_path / "same" / "seed0-4" / "config.yaml"
    edited.write_text(edited.read_text().replace("lr: 0.03", "lr: 0.5"))
    opened, parsed = Counter[Path](), list[Path]()
    plain_open = Path.open

    def counted_open(path: Path, *arguments: Any, **options: Any) -> Any:
        opened[path] += 1
        return plain_open(path, *arguments, **options)

    def counted_read(path: Path, **options: Any) -> Any:
        parsed.append(path)
        return read_yaml_file(path, **options)

    monkeypatch.setattr(Path, "open", counted_open)
    monkeypatch.setattr(yaml_text, "read_yaml_file", counted_read)
    notes = "\n".join(command(tmp_path, 6).notes)
    assert parsed == [edited]
    assert f"{edited}: optimizer.lr is 0.5, but the run began with 0.03" in notes
    assert opened.pop(edited) == 2
    assert len(opened) == 6 * files - 1
    assert set(opened.values()) == {1}


@pytest.mark.parametrize("command", [listed, compared])
def test_the_work_grows_with_the_runs_and_not_with_their_square(
    tmp_path: Path, command: Callable[[Path, int], Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    write_runs(tmp_path, 16)
    calls = [calls_of(lambda count=count: command(tmp_path, count)) for count in (4, 8, 16)]  # type: ignore[misc]
    assert calls[2] - calls[1] < 2.3 * (calls[1] - calls[0])
