"""docs/api.md and docs/study.ipynb: their code runs as it stands, one after the other, and gives what they say."""

import ast
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bnexp

DOCS = Path(__file__).parent.parent / "docs"
NOTEBOOK = json.loads((DOCS / "study.ipynb").read_text())
CELLS = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
BLOCKS = re.findall(r"^```python\n(.*?)^```$", (DOCS / "api.md").read_text(), re.DOTALL | re.MULTILINE)

pytestmark = pytest.mark.filterwarnings("ignore::bnexp.BnexpWarning")  # so small a set is doubted, rightly


def executed(code: str, names: dict[str, Any]) -> Any:
    """Run a cell, and return the value of its last expression, as a notebook shows it; None where it has none."""
    body = ast.parse(code).body
    last = body.pop() if isinstance(body[-1], ast.Expr) and not code.rstrip().endswith(";") else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)  # noqa: S102  it is ours
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None  # noqa: S307


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """Run every cell of the notebook in an empty folder, stay there, and return what each shows."""
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("notebook"))
        patch.setattr(os, "fsync", lambda number: None)  # which takes most of the time of runs as short as these
        yield [executed(cell, names) for cell in CELLS]


def test_every_cell_of_the_notebook_shows_what_it_says(shown: list[Any]) -> None:
    assert {"outputs": [], "execution_count": None}.items() <= NOTEBOOK["cells"][1].items()
    values = {type(value): value for value in shown}
    runs, comparison, figure, verdicts = (
        values[kind] for kind in (bnexp.Runs, bnexp.Comparison, bnexp.Figure, bnexp.Verdicts)
    )
    assert [run.status for run in runs] == ["finished"] * 3
    html = {name: value._repr_html_() for name, value in (("runs", runs), ("arms", comparison), ("verdicts", verdicts))}
    assert all("<table" in text and "<script" not in text for text in html.values())
    assert "seed2" in html["runs"]
    assert "paired by seed" in html["arms"]
    assert "supported" in html["verdicts"]
    assert 'src="data:image/svg+xml;base64,' in figure._repr_html_()
    assert figure.plot.caption in repr(figure)
    assert "bn is ahead" in repr(verdicts)
    assert Path("study/curves.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.usefixtures("shown")
def test_every_example_gives_the_value_that_is_written_beside_it() -> None:
    names: dict[str, Any] = {}
    checked = 0
    for block in BLOCKS:
        lines = block.splitlines()
        for node in ast.parse(block).body:
            code = "\n".join(lines[node.lineno - 1 : node.end_lineno])
            said = code.rpartition("  # ")[2] if isinstance(node, ast.Expr) and "  # " in code else None
            value = executed(code, names)
            if said is not None:
                assert repr(value) == said, code
                checked += 1
    assert checked > 20
