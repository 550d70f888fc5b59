"""Each figure that a probe measures is declared, each one declared is measured, and docs/probes.md explains them."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.probes import cost, coupling
from bnexp.probes.evaluation_modes import MODES
from bnexp.probes.reference import probes_reference
from bnexp.probes.registry import PROBES
from bnexp.runs.rows import Writers
from bnexp.session.display import Display
from bnexp.training.build import build
from bnexp.training.loop import train
from bnexp.training.progress import Progress

DOCS = Path(__file__).parents[2] / "docs" / "probes.md"
SMALL = {"evaluation_modes": {"examples": 4, "recomputed_over": 20}, "coupling": {"examples": 1, "draws": 2}}
LOOPS_OWN = {"epoch", "loss", "accuracy", "learning_rate", "step_ms", "examples_per_s", "measuring_share"}
ONLY_ON_CUDA = {"peak_memory_mib/device"}


class Names(Display):
    def __init__(self) -> None:
        self.scalar: set[str] = set()
        self.histogram: set[str] = set()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self.scalar |= values.keys()

    def histograms(self, step: int, values: dict[str, Any]) -> None:
        self.histogram |= values.keys()


def pattern(figure: str, places: dict[str, list[str]]) -> re.Pattern[str]:
    """Return what a declared name matches, with the places of a network in angle brackets."""
    parts = re.split(r"(<\w+>)", figure)
    return re.compile("".join(f"({'|'.join(map(re.escape, places.get(p, [p])))})" for p in parts))


@pytest.fixture(scope="module")
def declared() -> list[str]:
    return [figure.name for probe in PROBES.values() for figure in probe.figures]


def test_each_figure_measured_is_declared_and_each_one_declared_is_measured(
    make_config: Callable[..., Config], declared: list[str]
) -> None:
    probes = {name: {"at": [1, 2], **SMALL.get(name, {})} for name in PROBES}
    measured_somewhere: set[str] = set()
    for activation in ("relu", "tanh"):
        config = make_config(
            model={"hidden": [8, 8], "activation": activation},
            training={"epochs": None, "steps": 2, "grad_clip": 1.0},
            probes=probes,
        )
        names = Names()
        run = build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")
        train(run, Progress.start(run, Writers([names])))
        subject = run.subject
        places = {
            "<item>": list(subject.items),
            "<layer>": list(subject.layers),
            "<norm>": [name for name, placed in subject.placed.items() if placed.item.kind.role == "norm"],
            "<mode>": list(MODES),
            "<kind>": [*coupling.KINDS, *cost.KINDS],
        }
        measured = {name for name in names.scalar if name.split("/")[0] not in LOOPS_OWN} | names.histogram
        patterns = {figure: pattern(figure, places) for figure in declared}
        of_name = {name: [figure for figure in declared if patterns[figure].fullmatch(name)] for name in measured}
        assert {name: figures for name, figures in of_name.items() if len(figures) != 1} == {}
        measured_somewhere |= {figure for figures in of_name.values() for figure in figures}
        histograms = {figure for name in names.histogram for figure in of_name[name]}
        assert histograms == {figure.name for figure in PROBES["histograms"].figures}
    assert measured_somewhere == set(declared) - ONLY_ON_CUDA


@pytest.mark.parametrize("name", PROBES)
def test_each_chart_draws_a_figure_of_its_probe(name: str, declared: list[str]) -> None:
    places = ("block1.linear", "block1.bn", "block1.relu", "running")
    own = {figure.name for figure in PROBES[name].figures}
    for charts in PROBES[name].charts.values():
        for title, tags in charts.items():
            drawn = {
                figure for figure in declared for place in places if re.match(tags, re.sub(r"<\w+>", place, figure))
            }
            assert drawn, title
            assert drawn <= own, title


def test_the_file_is_current() -> None:
    current = DOCS.read_text(encoding="utf-8") == probes_reference()
    assert current, "the probes have changed; run: python -m bnexp.probes.reference > docs/probes.md"


def test_each_probe_has_its_section_with_a_row_for_each_figure() -> None:
    text = DOCS.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL))
    assert list(sections) == list(PROBES)
    for name, probe in PROBES.items():
        assert re.findall(r"^\| `([^`]+)`", sections[name], flags=re.MULTILINE) == [fig.name for fig in probe.figures]
        assert probe.figures


def test_modes_and_kinds_are_explained() -> None:
    kinds = {"evaluation_modes": MODES, "coupling": coupling.KINDS, "cost": cost.KINDS}
    for name, words in kinds.items():
        assert all(f"`{word}`" in str(inspect.getdoc(PROBES[name])) for word in words), name


def test_when_a_probe_looks_and_its_options_are_told() -> None:
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", probes_reference(), flags=re.MULTILINE | re.DOTALL))
    assert "Looks every 100 steps by default." in sections["gradients"]
    assert "Looks every 500 steps by default." in sections["histograms"]
    assert "Off by default. Options: `examples: 16`, `draws: 8`." in sections["coupling"]
    assert {name for name, text in sections.items() if "It measures a step" in text} == {"updates", "covariate_shift"}
