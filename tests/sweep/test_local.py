"""Workers of this machine: the same bits as a run by itself, and an end that costs no other run, however it comes."""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.runs.folder import read_json
from bnexp.runs.run import read_run
from bnexp.session import life
from bnexp.session.terms import Terms
from bnexp.sweep.local import LocalWorkers
from bnexp.sweep.work import Ended, Progressed, Task
from written_rows import final_weights

MakeConfig = Callable[..., Config]
LIMIT_S = 60
LONG = {"training": {"epochs": None, "steps": 100_000, "log_every": 10}, "checkpoints": {"every_epochs": 1}}


@pytest.fixture
def workers() -> Iterator[LocalWorkers]:
    workers = LocalWorkers(2)
    yield workers
    workers.close()


@pytest.fixture
def make_task(make_config: MakeConfig, tmp_path: Path) -> Callable[..., Task]:
    def make(name: str, **sections: Any) -> Task:
        blueprint = draw(make_config(name=name, **sections), tmp_path)
        return Task(f"{name}/seed0", blueprint, tmp_path / name / "seed0", data_dir=tmp_path, device="cpu", threads=1)

    return make


def ends(workers: LocalWorkers, count: int) -> dict[str, Ended]:
    """Wait for so many tasks to end."""
    found: dict[str, Ended] = {}
    began = time.monotonic()
    while len(found) < count:
        assert time.monotonic() - began < LIMIT_S
        found |= {event.key: event for event in workers.wait(1) if isinstance(event, Ended)}
    return found


def until_it_steps(workers: LocalWorkers, key: str) -> None:
    began = time.monotonic()
    while True:
        for event in workers.wait(1):
            assert not isinstance(event, Ended), event
            if isinstance(event, Progressed) and event.key == key:
                return
        assert time.monotonic() - began < LIMIT_S


def test_a_worker_gives_the_bits_of_a_run_by_itself(
    workers: LocalWorkers, make_task: Callable[..., Task], tmp_path: Path
) -> None:
    one, two = make_task("one"), make_task("two", model={"norm": "ln"})
    for task in (one, two):
        workers.start(replace(task, role="tuning"))
    ended = ends(workers, 2)
    assert {key: event.end for key, event in ended.items()} == {"one/seed0": "finished", "two/seed0": "finished"}
    assert read_run(one.folder).role == "tuning"
    by_itself = life.start(one.blueprint, Terms(runs_dir=tmp_path / "itself", data_dir=tmp_path, device="cpu"))
    expected = final_weights(by_itself.folder)
    assert expected
    assert all(torch.equal(final_weights(one.folder)[name], tensor) for name, tensor in expected.items())


def test_stacked_tasks_have_one_process_and_are_lost_with_it(
    workers: LocalWorkers, make_task: Callable[..., Task], tmp_path: Path
) -> None:
    first = make_task("stacked", **LONG)
    second = replace(first, key="stacked/seed1", blueprint=first.blueprint.with_seed(1), folder=tmp_path / "seed1")
    workers.start(first, second)
    until_it_steps(workers, second.key)
    assert workers.busy == 1
    metas = [read_json(task.folder / "meta.json") or {} for task in (first, second)]
    assert [meta["stacked"] for meta in metas] == [2, 2]
    os.kill(metas[0]["pid"], signal.SIGKILL)
    ended = ends(workers, 2)
    assert [ended[task.key].end for task in (first, second)] == ["lost", "lost"]


def test_a_killed_worker_is_lost_alone_and_continues(workers: LocalWorkers, make_task: Callable[..., Task]) -> None:
    task, other = make_task("killed", **LONG), make_task("other")
    workers.start(replace(task, role="tuning"))
    until_it_steps(workers, task.key)
    workers.start(other)
    os.kill((read_json(task.folder / "meta.json") or {})["pid"], signal.SIGKILL)
    ended = ends(workers, 2)
    assert ended[other.key].end == "finished"
    assert ended[task.key].end == "lost"
    assert "SIGKILL" in (ended[task.key].error or "")
    workers.start(replace(task, mode="resume"))
    until_it_steps(workers, task.key)
    workers.stop()
    assert ends(workers, 1)[task.key].end == "interrupted"
    assert read_run(task.folder).status == "interrupted"
    assert read_run(task.folder).can_resume
    assert read_run(task.folder).role == "tuning"  # although the one who resumed it did not say so


def test_a_run_that_another_process_has_is_left_to_it(workers: LocalWorkers, make_task: Callable[..., Task]) -> None:
    task = make_task("held", **LONG)
    workers.start(task)
    until_it_steps(workers, task.key)
    workers.start(replace(task, key="again", mode="resume"))
    workers.start(replace(task, key="anew"))
    ended = ends(workers, 2)
    assert {event.end for event in ended.values()} == {"elsewhere"}


def test_what_a_person_can_mend_is_told(workers: LocalWorkers, make_task: Callable[..., Task]) -> None:
    task = make_task("nodata", data={"dataset": "mnist", "batch_size": 16, "download": False, "synthetic": None})
    workers.start(task)
    ended = ends(workers, 1)[task.key]
    assert ended.end == "failed"
    assert "mnist" in (ended.error or "")


def test_who_leaves_at_once_kills_the_server_too_whatever_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = forkserver._forkserver  # type: ignore[attr-defined]
    assert hasattr(ours, "_forkserver_pid")
    with subprocess.Popen(["sleep", "100"]) as server:
        monkeypatch.setattr(forkserver, "_forkserver", SimpleNamespace(_forkserver_pid=server.pid))
        LocalWorkers(1).close()
        assert server.poll() is None  # the next sweep of this process has it
        with pytest.raises(KeyboardInterrupt), LocalWorkers(1):
            raise KeyboardInterrupt
        assert server.wait(LIMIT_S) == -signal.SIGKILL


def test_a_long_name_of_the_folder_for_temporary_files_is_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("job" * 30)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.delitem(multiprocessing.current_process()._config, "tempdir", raising=False)  # type: ignore[attr-defined]
    server = forkserver.ForkServer()  # loads nothing
    monkeypatch.setattr(forkserver, "ensure_running", server.ensure_running)
    workers = LocalWorkers(1)
    workers._ensure_server()
    server._stop()  # type: ignore[attr-defined]
    workers.close()
    assert tempfile.gettempdir() == str(long)  # for all else


ORPHANS = """
import sys, time
from pathlib import Path
from bnexp.blueprint import draw
from bnexp.config.loading import load
from bnexp.sweep.local import LocalWorkers
from bnexp.sweep.work import Task, Progressed
if __name__ == "__main__":
    config, place = Path(sys.argv[1]), Path(sys.argv[2])
    workers = LocalWorkers(1)
    steps = ["training.epochs=null", "training.steps=100000"]
    workers.start(Task("a", draw(load(config, steps, name="a").config, place), place / "a" / "seed0", device="cpu"))
    while not any(isinstance(event, Progressed) for event in workers.wait(1)):
        pass
    print("steps", flush=True)
    time.sleep(100)
"""


def test_no_process_outlives_a_killed_sweep(config_file: Path, tmp_path: Path) -> None:
    script = tmp_path / "sweep.py"
    script.write_text(ORPHANS)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, script, config_file, tmp_path], stdout=subprocess.PIPE, env=environment
    ) as sweep:
        assert sweep.stdout is not None
        assert sweep.stdout.readline() == b"steps\n"
        folder = tmp_path / "a" / "seed0"
        worker = (read_json(folder / "meta.json") or {})["pid"]
        server = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
        for pid in (worker, server):
            os.kill(pid, signal.SIGUSR1)  # as Slurm tells every process of a job; only the sweep asks its workers
        rows = (folder / "metrics.jsonl").stat().st_size
        while (folder / "metrics.jsonl").stat().st_size == rows:
            assert sweep.poll() is None
            time.sleep(0.05)
        assert "State:\tZ" not in Path(f"/proc/{server}/status").read_text()
        sweep.kill()
    began = time.monotonic()
    while read_run(folder).status != "interrupted":
        assert time.monotonic() - began < LIMIT_S
        time.sleep(0.05)
    while os.path.exists(f"/proc/{worker}"):
        assert time.monotonic() - began < LIMIT_S
        time.sleep(0.05)
