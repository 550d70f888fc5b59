"""Each figure that a probe measures is declared, each one declared is measured, and docs/probes.md explains them."""

import inspect
import json
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
from bnexp.session.life import start
from bnexp.session.terms import Terms
from bnexp.training.build import build
from bnexp.training.loop import train
from bnexp.training.progress import Progress

DOCS = Path(__file__).parents[2] / "docs" / "probes.md"
SMALL = {"evaluation_modes": {"examples": 4, "recomputed_over": 20}, "coupling": {"examples": 1, "draws": 2}}
ONLY_ON_CUDA = {"peak_memory_mib/device"}
ONLY_WITH_LOSS_SCALING = {"loss_scale/optimizer", "skipped_steps/optimizer"}
CONFIGS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [8, 8], "norm": "bn"},
    "saturating": {"hidden": [8, 8], "norm": "ln", "activation": "tanh"},
    "plain": {"hidden": [8], "norm": "none", "activation": "sigmoid"},
    "cnn": {"arch": "cnn", "hidden": None, "stages": [[4], [4]], "block": "conv -> norm -> act"},
    "residual": {
        "arch": "resnet",
        "hidden": None,
        "depth": 8,
        "width": 4,
        "block": "conv -> gn(groups=2) -> relu -> conv -> in -> add -> relu",
        "norm": None,
        "activation": None,
    },
}


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


def sections() -> dict[str, str]:
    """Return the sections of the page by their titles."""
    page = DOCS.read_text(encoding="utf-8")
    return dict(re.findall(r"^## ([\w ]+)\n(.*?)(?=^## |\Z)", page, flags=re.MULTILINE | re.DOTALL))


def told_without_a_probe() -> set[str]:
    """Return the figures of the loop itself that the page names."""
    first_cells = re.findall(r"^\| (`.*?) \|", sections()["Without a probe"], flags=re.MULTILINE)
    return {name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)}


@pytest.fixture(scope="module")
def declared() -> list[str]:
    return [figure.name for probe in PROBES.values() for figure in probe.figures]


def test_each_figure_measured_is_declared_and_each_one_declared_is_measured(
    make_config: Callable[..., Config], declared: list[str]
) -> None:
    probes = {name: {"at": [1, 2], **SMALL.get(name, {})} for name in PROBES}
    measured_somewhere = set[str]()
    for model in CONFIGS.values():
        config = make_config(
            data={"synthetic": {"classes": 4, "shape": [1, 8, 8], "size": 40}},
            model=model,
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
        patterns = {figure: pattern(figure, places) for figure in declared}
        measured = (names.scalar | names.histogram) - told_without_a_probe()
        of_name = {name: [figure for figure in declared if patterns[figure].fullmatch(name)] for name in measured}
        assert {name: figures for name, figures in of_name.items() if len(figures) != 1} == {}
        measured_somewhere |= {figure for figures in of_name.values() for figure in figures}
        histograms = {figure for name in names.histogram for figure in of_name[name]}
        assert histograms == {figure.name for figure in PROBES["histograms"].figures}
    assert measured_somewhere == set(declared) - ONLY_ON_CUDA


def test_what_a_run_logs_without_a_probe_is_told(make_config: Callable[..., Config], tmp_path: Path) -> None:
    config = make_config(probes=dict.fromkeys(PROBES, "off"))
    folder = start(draw(config, tmp_path), Terms(runs_dir=tmp_path, device="cpu")).folder
    logged = {name for line in (folder / "metrics.jsonl").read_text().splitlines() for name in json.loads(line)}
    assert logged - {"step"} == told_without_a_probe() - ONLY_WITH_LOSS_SCALING, "see _WITHOUT_A_PROBE in reference.py"


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
    assert list(sections()) == [*PROBES, "Without a probe"]
    for name, probe in PROBES.items():
        rows = re.findall(r"^\| `([^`]+)`", sections()[name], flags=re.MULTILINE)
        assert rows == [figure.name for figure in probe.figures] != []


def test_each_figure_says_whether_arms_may_be_compared_by_it_and_what_it_does_not_tell(declared: list[str]) -> None:
    for probe in PROBES.values():
        for figure in probe.figures:
            assert re.match(r"(yes|no)\b", figure.comparable), figure.name
            assert "" not in (figure.silent_on, figure.range), figure.name
            for other in re.findall(r"take `(\w+)`", figure.comparable):
                assert any(name.startswith(other) for name in declared), figure.name
    items = re.findall(r"^- ((?:`[^`]+`(?:,\s+)?)+):\s+\*\*(?:yes|no)\*\*", DOCS.read_text("utf-8"), flags=re.MULTILINE)
    assert sorted(name for item in items for name in re.findall(r"`([^`]+)`", item)) == sorted(declared)


def test_modes_and_kinds_are_explained() -> None:
    kinds = {"evaluation_modes": MODES, "coupling": coupling.KINDS, "cost": cost.KINDS}
    for name, words in kinds.items():
        assert all(f"`{word}`" in str(inspect.getdoc(PROBES[name])) for word in words), name


def test_when_a_probe_looks_and_its_options_are_told() -> None:
    found = sections()
    assert "Looks every 100 steps by default." in found["gradients"]
    assert "Looks every 500 steps by default." in found["histograms"]
    assert "Off by default. Options: `examples: 16`, `draws: 8`." in found["coupling"]
    assert {name for name, text in found.items() if "It measures a step" in text} == {"updates", "covariate_shift"}
