"""Fixtures: `write_run` makes a run folder, `write_metrics` a metrics.jsonl."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def write_run() -> Callable[..., Path]:
    return runpy.run_path(str(Path(__file__).with_name("records.py")))["write_run"]


@pytest.fixture
def write_metrics(tmp_path: Path) -> Callable[[list[dict[str, Any]], bytes], Path]:
    def write(rows: list[dict[str, Any]], tail: bytes = b"") -> Path:
        path = tmp_path / "metrics.jsonl"
        path.write_bytes(b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows) + tail)
        return path

    return write
