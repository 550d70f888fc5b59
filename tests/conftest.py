"""What many tests need: a small config, and a quiet, offline place to run it."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from hypothesis import settings

import command_line
import side_by_side
from bnexp.config.loading import check_values
from bnexp.config.schema import Config
from effort import at_length

# Tests run in several processes at once; with a thread per core in each they would wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"

# A shell lets what it starts in the background ignore Ctrl-C, nohup a hang-up; what that starts inherits it.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

SMALL: dict[str, dict[str, Any]] = {
    "data": {
        "dataset": "synthetic",
        "batch_size": 16,
        "synthetic": {"classes": 4, "shape": [1, 4, 4], "size": 100},
    },
    "model": {"arch": "mlp", "hidden": [12, 8], "block": "linear -> norm -> act", "norm": "bn", "activation": "relu"},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "training": {"epochs": 2, "log_every": 4},
}


_LONGEST = (
    *(
        "faults/test_faults.py",
        "tests/test_wheel.py",
        "sweep/test_ray_cluster.py",
        "training/test_compiling.py",
        "faults/test_sweeps.py",
    ),
    *("tests/test_first_study.py", "session/test_several.py", "sweep/test_local.py", "tests/test_own_norm.py"),
    *("commands/test_board_in_a_browser.py", "document/test_page_in_a_browser.py", "session/test_resume.py"),
    *("document/test_lessons_in_a_browser.py", "lessons/test_every_lesson.py", "commands/test_damaged_records.py"),
    *("training/test_loop.py", "training/test_ahead.py", "config/test_hostile_configs.py", "tests/test_cli.py"),
    *("tests/test_options.py", "tests/test_benchmarks.py", "tests/test_house.py", "commands/test_sweep.py"),
    *("sources/test_folder_set.py", "inspection/test_propagation.py", "measure/test_statistics_modes.py"),
    *("training/test_networks.py", "training/test_graph.py", "tests/test_findings.py", "training/test_stacked.py"),
    *("norms/test_norms.py", "config/test_block.py", "session/test_lengthen.py"),
)
"""The longest files first; two of their folders' names tell them apart."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take `--long`, with which `make test-all` asks for what `make test` leaves out, and others."""
    parser.addoption("--long", action="store_true", help="also what is marked long")
    parser.addoption("--thorough", action="store_true", help="more examples of hypothesis, more faults")
    parser.addoption("--processes", type=int, default=1, help="how many run tests side by side")


def pytest_configure(config: pytest.Config) -> None:
    """Let hypothesis search as long as was asked for."""
    settings.register_profile("quick", deadline=None, derandomize=True, database=None, max_examples=20)
    settings.register_profile("thorough", deadline=None, derandomize=True, database=None, max_examples=60)
    if config.getoption("--thorough"):
        os.environ["BNEXP_TESTS_AT_LENGTH"] = "1"
    settings.load_profile("thorough" if at_length() else "quick")
    config.add_cleanup(command_line.let_go)
    folder = os.environ[command_line.FOLDER] = tempfile.mkdtemp(prefix="bnexp")
    config.add_cleanup(lambda: shutil.rmtree(folder))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long tests unless they are asked for, and begin with the longest files."""
    taken, left_out = [], []
    for item in items:
        (taken if config.getoption("--long") or not item.get_closest_marker("long") else left_out).append(item)
    config.hook.pytest_deselected(items=left_out)
    rank = {name: place for place, name in enumerate(_LONGEST)}
    items[:] = sorted(taken, key=lambda item: rank.get("/".join(item.path.parts[-2:]), len(rank)))


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the tests in several processes where that was asked for, else as pytest does."""
    processes = session.config.getoption("--processes")
    if processes == 1 or session.testsfailed or session.config.option.collectonly:
        return None
    side_by_side.run(session, processes)
    return True


@pytest.fixture(scope="session")
def cache_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return names of folders, each used once; whoever writes there makes it."""
    above = tmp_path_factory.mktemp("user-cache")
    return (above / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def user_cache(cache_folders: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's own cache out of the tests."""
    folder = next(cache_folders)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name, **options: str(folder / name))
    return folder


@pytest.fixture
def make_config() -> Callable[..., Config]:
    """Return a maker of small configs: sections given by keyword are laid over a synthetic MLP."""

    def make(**sections: Any) -> Config:
        values: dict[str, Any] = {"name": "small", **{key: dict(value) for key, value in SMALL.items()}}
        for key, value in sections.items():
            values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
        return check_values(values, {}, "test")

    return make


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """Return a small config as a file."""
    path = tmp_path / "small.yaml"
    path.write_text(
        "data: {dataset: synthetic, batch_size: 16, synthetic: {classes: 4, shape: [1, 4, 4], size: 100}}\n"
        "model: {arch: mlp, hidden: [12, 8], block: linear -> norm -> act, norm: bn, activation: relu}\n"
        "optimizer: {name: sgd, lr: 0.1}\n"
        "training: {epochs: 2, log_every: 4}\n"
    )
    return path


@pytest.fixture
def memory_below() -> Callable[[int], AbstractContextManager[None]]:
    """Return a context that fails where Python asks for more memory than so many bytes."""

    @contextmanager
    def below(limit: int) -> Iterator[None]:
        tracemalloc.start()
        try:
            yield
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < limit

    return below


@pytest.fixture
def as_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace the network as torch.compile does, and leave out the minute in which C++ is compiled."""
    import torch

    compile_network = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, **options: compile_network(network, backend="aot_eager"))
    torch.compiler.reset()


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure without asking the device for a value, as where that would be to wait for it."""
    from bnexp.measure import tallies, tally
    from bnexp.probes import activations

    for module in (tallies, tally, activations):
        monkeypatch.setattr(module, "waits", lambda device: True)


@pytest.fixture
def write_run() -> Callable[..., Path]:
    import records

    return records.write_run


@pytest.fixture
def write_metrics(tmp_path: Path) -> Callable[[list[dict[str, Any]], bytes], Path]:
    def write(rows: list[dict[str, Any]], tail: bytes = b"") -> Path:
        path = tmp_path / "metrics.jsonl"
        path.write_bytes(b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows) + tail)
        return path

    return write


@pytest.fixture
def look_at():
    """Return a maker of looks at the leaves of a network; what a test does not name is None and must not be needed."""

    def make(network: Any, x: Any = None, y: Any = None, **subject: Any):
        import torch

        from bnexp.measure.subject import Look, Subject

        items = {name: module for name, module in network.named_modules() if not any(module.children())}
        unnamed = dict.fromkeys(("config", "plan", "layout", "dataset"))
        given = {"items": items, "precision": contextlib.nullcontext(), "label_smoothing": 0.0, **unnamed, **subject}
        x = torch.zeros(0) if x is None else x
        y = torch.zeros(len(x), dtype=torch.int64) if y is None else y
        return Look(Subject(network=network, **given), 1, 0.1, x, y)

    return make


@pytest.fixture
def trained(make_config: Callable[..., Config]):
    """Return a maker of experiments after their few steps: gamma and beta have moved, running statistics lag behind."""

    def make(**sections: Any):
        from bnexp.blueprint import draw
        from bnexp.runs.rows import Writers
        from bnexp.training.build import build
        from bnexp.training.loop import train
        from bnexp.training.progress import Progress

        run = build(draw(make_config(**sections), Path("unused")), data_dir=Path("unused"), device="cpu")
        train(run, Progress.start(run, Writers([])))
        return run

    return make
