"""A complete, clean config, as values and as a file, and strategies that draw valid ones."""

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from bnexp.config.items import ACTIVATION_NAMES, NORM_NAMES

TEXT = """\
data:
  dataset: mnist5k
  batch_size: 64
model:
  arch: mlp
  hidden: [64, 64]
  block: linear -> bn -> relu
optimizer: {name: sgd, lr: 0.1}
training: {epochs: 2}
"""

VALUES: dict[str, Any] = {
    "name": "clean",
    "data": {"dataset": "mnist5k", "batch_size": 64},
    "model": {"arch": "mlp", "hidden": [64, 64], "block": "linear -> bn -> relu"},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "training": {"epochs": 2},
}


@pytest.fixture
def values():
    """The values of a complete config that gives no warning."""
    return copy.deepcopy(VALUES)


@pytest.fixture
def clean_file(tmp_path: Path):
    """A file with the same."""
    return write(tmp_path / "clean.yaml", TEXT)


@pytest.fixture(scope="session")
def shared_clean_file(tmp_path_factory: pytest.TempPathFactory):
    """The same file for a whole session, for tests that draw many examples."""
    return write(tmp_path_factory.mktemp("configs") / "clean.yaml", TEXT)


@pytest.fixture(scope="session")
def valid_values():
    """Strategy of complete, valid values, in the types that YAML gives."""
    return _configs()


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _maybe(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


def _optimizers() -> st.SearchStrategy[dict[str, Any]]:
    shared = {"lr": st.floats(1e-8, 100), "weight_decay": st.floats(0, 1), "decay_norm_and_bias": st.booleans()}
    betas = st.lists(st.floats(0, 0.999), min_size=2, max_size=2)
    sgd = _maybe({"name": st.just("sgd")}, shared | {"momentum": st.floats(0.01, 0.99), "nesterov": st.booleans()})
    adam = _maybe({"name": st.sampled_from(["adam", "adamw"])}, shared | {"betas": betas, "eps": st.floats(1e-12, 1)})
    return sgd | adam


def _schedules() -> st.SearchStrategy[dict[str, Any]]:
    warmup = {"warmup_epochs": st.floats(0, 100)}
    milestones = st.lists(st.floats(0.1, 50), min_size=1, max_size=4)
    return st.one_of(
        _maybe({"name": st.just("constant")}, warmup),
        _maybe({"name": st.just("step"), "milestones": milestones}, warmup | {"gamma": st.floats(0.01, 2)}),
        _maybe({"name": st.just("cosine")}, warmup | {"final_fraction": st.floats(0, 1)}),
        _maybe({"name": st.just("onecycle")}, {"rise_fraction": st.floats(0.01, 0.99)}),
    )


def _models() -> st.SearchStrategy[dict[str, Any]]:
    hidden = st.lists(st.integers(2, 1000), min_size=1, max_size=4)
    fixed = _maybe(
        {
            "arch": st.just("mlp"),
            "hidden": hidden,
            "block": st.sampled_from(["linear -> relu", "linear -> bn(eps=1e-3) -> tanh", "linear→ln→gelu"]),
        },
        {"bias": st.sampled_from(["auto", True, False])},
    )
    filled = _maybe(
        {
            "arch": st.just("mlp"),
            "hidden": hidden,
            "block": st.just("linear -> norm -> act"),
            "norm": st.sampled_from(["none", *NORM_NAMES]),
            "activation": st.sampled_from(ACTIVATION_NAMES),
        },
        {},
    )
    return fixed | filled


def _configs() -> st.SearchStrategy[dict[str, Any]]:
    data = _maybe(
        {"dataset": st.sampled_from(["mnist", "fashion_mnist", "mnist5k", "synthetic"])},
        {"batch_size": st.integers(2, 4000), "val_fraction": st.floats(0.01, 0.9), "drop_last": st.booleans()},
    )
    length = st.one_of(
        st.fixed_dictionaries({"epochs": st.integers(1, 50) | st.just(1e1)}),
        st.fixed_dictionaries({"steps": st.integers(1, 5000) | st.just(5e4)}),
    )
    look = st.sampled_from(["off", False]) | st.fixed_dictionaries({"every": st.integers(0, 1000)})
    names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True) | st.sampled_from(AWKWARD_NAMES)
    return _maybe(
        {"data": data, "model": _models(), "optimizer": _optimizers(), "training": length},
        {
            "name": names.filter(lambda name: name.split(".")[0].upper() not in DEVICE_NAMES),
            "seed": st.integers(0, 2**31 - 1),
            "schedule": _schedules(),
            "probes": _maybe({}, {"activations": look, "gradients": look, "histograms": look}),
        },
    )


AWKWARD_NAMES = ["no", "yes", "on", "off", "null", "true", "1e-4", "010", "0o17", "1_000", "2024-01-01", "1.5", "7"]
DEVICE_NAMES = {"CON", "PRN", "AUX", "NUL"} | {port + str(n) for port in ("COM", "LPT") for n in range(10)}
