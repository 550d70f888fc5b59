"""docs/probes.md explains every figure that a probe gives, and none that no probe gives."""

import re
from collections.abc import Callable
from pathlib import Path

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.probes.registry import PROBES
from bnexp.runs.rows import Writers
from bnexp.session.display import SilentDisplay
from bnexp.training.build import build
from bnexp.training.loop import train
from bnexp.training.progress import Progress

DOCS = Path(__file__).parents[2] / "docs" / "probes.md"
SMALL = {"evaluation_modes": {"examples": 4, "batches": 1}, "coupling": {"examples": 1, "draws": 2}}


class Names(SilentDisplay):
    def __init__(self) -> None:
        self.seen: set[str] = set()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self.seen |= values.keys()


def test_every_figure_of_every_probe_is_explained(make_config: Callable[..., Config]) -> None:
    probes = {name: {"at": [1, 2], **SMALL.get(name, {})} for name in PROBES}
    given: set[str] = set()
    for activation in ("relu", "tanh"):
        config = make_config(
            model={"hidden": [8, 8], "activation": activation},
            training={"epochs": None, "steps": 2, "grad_clip": 1.0},
            probes=probes,
        )
        names = Names()
        run = build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")
        train(run, Progress.start(run, Writers([names])), SilentDisplay())
        given |= {name.split("/")[0] for name in names.seen}
    loops_own = {"epoch", "loss", "accuracy", "learning_rate", "step_ms", "examples_per_s", "measuring_share"}
    text = DOCS.read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`[^|]*)", text, flags=re.MULTILINE) + re.findall(r"`beta_\w+`", text)
    explained = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert given - loops_own == explained
    assert set(re.findall(r"^## (\w+)$", text, flags=re.MULTILINE)) == PROBES.keys()
