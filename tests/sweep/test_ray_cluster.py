"""A sweep on a Ray cluster of two nodes on this machine: the bits of local runs, whatever dies meanwhile."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bnexp.blueprint import draw
from bnexp.commands import sweep as command
from bnexp.commands.sweep import SweepOptions
from bnexp.config.schema import Config
from bnexp.config.sweep_file import ResourcesSection
from bnexp.config.sweep_loading import load_sweep
from bnexp.config.yaml_text import dump_yaml
from bnexp.errors import BnexpError, ConfigError
from bnexp.runs.folder import read_json
from bnexp.runs.lock import Held, run_lock
from bnexp.runs.run import read_run
from bnexp.session import life
from bnexp.session.terms import Terms
from bnexp.sweep.display import SweepDisplay
from bnexp.sweep.plan import Planner
from bnexp.sweep.shipping import newest_step
from bnexp.sweep.work import Ended, Event, Task, Warned
from written_rows import final_weights, rows_of

with contextlib.suppress(ImportError):
    import ray
    from ray.cluster_utils import Cluster

    from bnexp.sweep import ray_nodes
    from bnexp.sweep.ray_cluster import RayCluster, _outgoing
    from bnexp.sweep.ray_nodes import alive_nodes, connect, hide_other_gpus

pytestmark = pytest.mark.skipif("ray" not in sys.modules, reason="Ray is not installed: pip install 'bnexp[ray]'")
LIMIT_S = 300
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
HEALTH = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
BASE = {
    "data": {"dataset": "synthetic", "batch_size": 16, "synthetic": {"classes": 4, "shape": [1, 4, 4], "size": 100}},
    "model": {"arch": "mlp", "hidden": [12, 8], "block": "linear -> norm -> act", "norm": "bn", "activation": "relu"},
    "optimizer": {"name": "sgd", "lr": 0.1},
}
ARMS = {
    "short": {"training.epochs": 2},
    "wide": {"training.epochs": 2, "model.hidden": [16, 8]},
    "long": {
        **{"training.epochs": 200, "training.eval_every_epochs": 50, "training.log_every": 60},
        "checkpoints.every_epochs": 10,
    },
}
"""The long ones take 1,200 steps, and write a checkpoint after each 60."""
_ALONE: dict[str, tuple[dict[str, torch.Tensor], str]] = {}
"""What each run of the study is where this process trains it, which it does once."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Cluster"]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache-of-the-nodes")))
        yield from running_cluster()


def running_cluster() -> Iterator["Cluster"]:
    cluster = Cluster(True, head_node_args={**NODE, "include_dashboard": False, "_system_config": HEALTH})
    cluster.add_node(**NODE)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return a sweep of four short and two long runs, of which each of two nodes gets one."""
    return study_at(tmp_path, ARMS, seeds=2)


def study_at(place: Path, arms: dict[str, Any], seeds: int) -> Path:
    (place / "small.yaml").write_text(dump_yaml(BASE))
    (place / "study.yaml").write_text(dump_yaml({"base": "small.yaml", "seeds": seeds, "arms": arms}))
    return place / "study.yaml"


def result_of(folder: Path) -> tuple[dict[str, torch.Tensor], str]:
    """Return the final weights of a run, and its rows as text, without what the clock tells."""
    return final_weights(folder), str(rows_of(folder))


def refuse_other_bits(study: Path, runs_dir: Path, place: Path) -> None:
    """Compare each run of a sweep with one that this process trains."""
    plan = Planner(load_sweep(study), runs_dir, place).plan()
    for run in plan.runs:
        assert run.status == "finished"
        if run.key not in _ALONE:
            alone = life.start(run.blueprint, Terms(place / "alone", data_dir=place, device="cpu"))
            _ALONE[run.key] = result_of(alone.folder)
        (weights, rows), (expected, expected_rows) = result_of(run.folder), _ALONE[run.key]
        assert expected
        assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())
        assert rows == expected_rows


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def raylet_of(pid: int, raylets: list[int]) -> int | None:
    """Return the raylet on whose node a process runs."""
    with contextlib.suppress(OSError):
        while pid > 1:
            if pid in raylets:
                return pid
            pid = parent_of(pid)
    return None


def raylets_of(cluster: "Cluster") -> list[int]:
    return [node.all_processes["raylet"][0].process.pid for node in (cluster.head_node, *cluster.worker_nodes)]


class Killing(SweepDisplay):
    """Kills the second node when a long run on it has shipped a checkpoint of some step."""

    def __init__(self, *args: Any, cluster: "Cluster", folder: Path) -> None:
        super().__init__(*args)
        self._cluster, self._folder = cluster, folder
        self.killed: Path | None = None
        self.warnings: list[str] = []

    def take(self, event: Event) -> None:
        super().take(event)
        if isinstance(event, Warned):
            self.warnings.append(event.warning)

    def tick(self) -> None:
        if self.killed is not None:
            return
        head, second = raylets_of(self._cluster)
        for folder in self._folder.glob("long/seed*"):
            meta = read_json(folder / "meta.json") or {}
            if newest_step(folder) and raylet_of(meta.get("node", {}).get("pid", 0), [head, second]) == second:
                self.killed = folder
                workers = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
                for pid in [pid for pid in workers if pid != second and raylet_of(pid, [second])] + [second]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self._cluster.remove_node(next(iter(self._cluster.worker_nodes)), allow_graceful=False)
                return


def test_a_sweep_whose_node_dies_completes_with_the_bits_of_local_runs(
    cluster: "Cluster", study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    displays: list[Killing] = []

    def display_for(name: str, standing: Any, *, quiet: bool) -> Killing:
        displays.append(Killing(standing, cluster=cluster, folder=tmp_path / "runs" / "study"))
        return displays[0]

    monkeypatch.setattr(command, "display_for", display_for)
    command.sweep(study, SweepOptions(tmp_path / "runs", tmp_path, "cpu", ray=cluster.address), as_json=True)
    (display,) = displays
    assert display.killed is not None
    assert [warning for warning in display.warnings if "is gone; the run continues after step" in warning]
    meta = read_json(display.killed / "meta.json") or {}
    assert meta["continued_after_step"] > 0
    assert "node" not in meta
    assert json.loads(capsys.readouterr().out)  # and not a word of Ray's
    assert display.standing.counts == {"finished": 6}
    refuse_other_bits(study, tmp_path / "runs", tmp_path)


def until(executor: "RayCluster", happened: Any) -> list[Event]:
    """Wait for what is to happen, and return the events on the way."""
    began, events = time.monotonic(), list[Event]()
    while not happened(events):
        assert time.monotonic() - began < LIMIT_S
        events += executor.wait(0.2)
    return events


def has_ended(events: list[Event]) -> bool:
    return any(isinstance(event, Ended) for event in events)


@pytest.fixture(scope="module")
def killed(cluster: "Cluster", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a sweep of one long run, whose caller was killed when a checkpoint had come."""
    place = tmp_path_factory.mktemp("killed")
    study = study_at(place, {"long": ARMS["long"]}, seeds=1)
    folder = place / "runs" / "study" / "long" / "seed0"
    words = ["sweep", study, "--ray", cluster.address, "--runs-dir", place / "runs", "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-m", "bnexp", *words], env=environment, stdout=subprocess.DEVNULL
    ) as caller:
        began = time.monotonic()
        while not (folder.is_dir() and newest_step(folder)):
            assert time.monotonic() - began < LIMIT_S
            time.sleep(0.05)
        assert read_run(folder).status == "running"
        with pytest.raises(Held, match=f"process {caller.pid} "), run_lock(folder):
            pass
        caller.kill()
    assert read_run(folder).status == "dead"
    return study


@pytest.fixture(scope="module")
def executor(cluster: "Cluster", killed: Path) -> Iterator["RayCluster"]:
    """Return an executor for several tests: its seat has torch loaded for all of them."""
    executor = RayCluster(cluster.address, ResourcesSection(), killed.parent)
    yield executor
    executor.close()


@pytest.mark.long
def test_a_dataset_that_no_node_has_is_brought(
    executor: "RayCluster", killed: Path, make_config: Callable[..., Config], tmp_path: Path
) -> None:
    own, rng = tmp_path / "set.npz", np.random.default_rng(0)
    x_train, x_test = (rng.integers(0, 256, (count, 8, 8), dtype=np.uint8) for count in (80, 20))
    np.savez(own, x_train=x_train, y_train=np.arange(80) % 4, x_test=x_test, y_test=np.arange(20) % 4)
    config = make_config(data={"dataset": "npz", "path": str(own), "synthetic": None})
    task = Task("a/seed0", draw(config, tmp_path), tmp_path / "runs" / "a" / "seed0", device="cpu", threads=1)
    for files in executor._datasets.files_of(config.data):
        executor._datasets.contents_of(files)
    executor._datasets.places_of(config.data)
    own.rename(tmp_path / "moved.npz")  # as if the nodes were other machines
    executor.start(task)
    (ended,) = [event for event in until(executor, has_ended) if isinstance(event, Ended)]
    assert ended.end == "finished"
    meta = read_json(task.folder / "meta.json") or {}
    assert (meta["data_dir"], meta["data_path"]) == (str(killed.parent), str(own))  # as it is here, not on the node
    (tmp_path / "moved.npz").rename(own)
    alone = life.start(task.blueprint, Terms(tmp_path / "alone", data_dir=tmp_path, device="cpu"))
    assert result_of(task.folder)[1] == result_of(alone.folder)[1]


@pytest.mark.long
def test_a_killed_and_a_stopped_caller_leave_runs_that_continue(
    cluster: "Cluster", killed: Path, executor: "RayCluster"
) -> None:
    """One after the other: a caller was killed, the next is asked to stop, and the last completes the sweep."""
    place = killed.parent
    (run,) = Planner(load_sweep(killed), place / "runs", place).plan().runs
    assert run.mode == "resume"
    folder, step = run.folder, newest_step(run.folder)
    executor.start(Task(run.key, run.blueprint, folder, "resume", place, "cpu", 1))
    until(executor, lambda events: newest_step(folder) != step)
    worker = (read_json(folder / "meta.json") or {})["node"]["pid"]
    os.kill(parent_of(parent_of(worker)), signal.SIGKILL)  # that of the seat, on a node that lives on
    (lost,) = [event for event in until(executor, has_ended) if isinstance(event, Ended)]
    step = newest_step(folder)
    executor.start(Task(run.key, run.blueprint, folder, "resume", place, "cpu", 1))
    until(executor, lambda events: newest_step(folder) != step)
    executor.stop()
    (ended,) = [event for event in until(executor, has_ended) if isinstance(event, Ended)]
    executor.close()
    assert lost.end == "lost"
    assert ended.end == "interrupted"
    assert str(folder) in (ended.error or "")
    assert read_run(folder).status == "interrupted"
    command.sweep(killed, SweepOptions(place / "runs", place, "cpu", quiet=True, ray=cluster.address))
    refuse_other_bits(killed, place / "runs", place)


def test_a_first_shipment_that_was_cut_short_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: a\n")
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    assert _outgoing(tmp_path) == {}
    (tmp_path / "meta.json").write_text('{"status": "running"}\n')
    assert set(_outgoing(tmp_path)) == {"config.yaml", "metrics.jsonl", "meta.json"}  # one of here, which lost them
    (tmp_path / "meta.json").write_text('{"status": "running", "node": {"host": "there"}}\n')
    assert _outgoing(tmp_path) == {}


def test_what_cannot_be_is_refused(cluster: "Cluster", tmp_path: Path, study: Path) -> None:
    with pytest.raises(ConfigError, match=r"cpus: 99, and no node of the cluster has that; the most is cpus: 1"):
        RayCluster(cluster.address, ResourcesSection(cpus=99))
    with pytest.raises(ConfigError, match="ray start --head"):
        RayCluster("127.0.0.1:1", ResourcesSection())
    for address in ("nonsense", "ray://host:10001", "host:0"):
        with pytest.raises(ConfigError, match="expected auto, or HOST:PORT"):
            RayCluster(address, ResourcesSection())
    with pytest.raises(ConfigError, match=r"--device cuda: .* resources: {gpus: 1} in the sweep file"):
        command.sweep(study, SweepOptions(tmp_path / "runs", device="cuda", quiet=True, ray=cluster.address))
    with pytest.raises(ConfigError, match="--workers"):
        command.sweep(study, SweepOptions(tmp_path / "runs", workers=2, ray=cluster.address))


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_where_something_else_listens_no_cluster_is(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as Ray's own web page, or what answers nothing: Ray would wait for minutes."""
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(0.05)
        there.sendall(answer)
        monkeypatch.setattr(socket, "create_connection", lambda *address, **options: here)
        with pytest.raises(ConfigError, match="something else listens there"):
            connect("10.0.0.1:8265")


def test_a_head_node_that_is_gone_ends_the_sweep_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for its nodes, Ray would wait a minute, and then end the process."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        context = SimpleNamespace(gcs_address=f"127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
        monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True}, {"Alive": False}])
        assert len(alive_nodes()) == 1
    monkeypatch.setattr(ray_nodes, "_HEAD_S", 0)
    with pytest.raises(BnexpError, match=r"the head node .* Start it again \(ray start --head\)"):
        alive_nodes()


@pytest.mark.parametrize(("given", "visible"), [([], ""), (["1"], "1")])
def test_a_run_without_a_gpu_sees_none(given: list[str], visible: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray sets CUDA_VISIBLE_DEVICES where it gives a GPU, and leaves it as it was where it gives none."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(given) or "0,1")
    context = SimpleNamespace(get_accelerator_ids=lambda: {"GPU": given})
    monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
    hide_other_gpus()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible


def test_without_ray_it_says_what_to_install(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "bnexp.sweep.ray_cluster", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'bnexp\[ray\]'"):
        command.sweep(study, SweepOptions(tmp_path / "runs", quiet=True, ray="auto"))
