"""What many tests need: a small config, and a quiet, offline place to run it."""

import os
import signal
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bnexp.config.loading import check_values
from bnexp.config.schema import Config

# Tests run in several processes at once; with a thread per core in each they would wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"

# A shell lets what it starts in the background ignore Ctrl-C, and what that starts inherits it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

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


_LONGEST = ("test_first_study.py", "test_faults.py", "test_board_in_a_browser.py", "test_hostile_configs.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests, so that no process is left alone with one of them at the end."""
    items.sort(key=lambda item: item.path.name not in _LONGEST)


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
