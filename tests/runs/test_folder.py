"""The run folder: never shared, its records whole or not there, and its config never another than config.yaml says."""

import json
import math
from pathlib import Path

import pytest

from bnexp.files import finite_or_null
from bnexp.runs import folder as run_folder
from bnexp.runs.folder import seed_of, write_json


def strict(text):
    """Read JSON as the standard has it: without NaN and Infinity."""
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_figures_that_are_not_finite_become_null_at_any_depth(tmp_path):
    nan, inf = math.nan, math.inf
    values = {"a": nan, "b": {"c": [1.5, inf, {"d": -inf, "e": "nan"}]}, "f": (nan, 2), "g": None, "h": True, "i": 0.0}
    write_json(tmp_path / "summary.json", values)
    text = (tmp_path / "summary.json").read_text()
    assert strict(text) == {
        **{"a": None, "b": {"c": [1.5, None, {"d": None, "e": "nan"}]}},
        **{"f": [None, 2], "g": None, "h": True, "i": 0.0},
    }
    assert text.endswith("}\n")
    assert math.isnan(values["a"]), "the values handed in stay what they were"


def test_finite_figures_are_kept_to_the_last_digit(tmp_path):
    values = {"a": 0.1 + 0.2, "b": 5e-324, "c": 1.7976931348623157e308, "d": 2**60}
    write_json(tmp_path / "summary.json", values)
    assert strict((tmp_path / "summary.json").read_text()) == values
    assert finite_or_null(values) == values


def test_what_is_no_json_is_an_error_and_leaves_no_file(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "meta.json", {"path": tmp_path})
    assert list(tmp_path.iterdir()) == []


def test_the_names_of_the_records_are_those_of_the_documentation():
    documented = run_folder.__doc__
    names = (run_folder.CONFIG, run_folder.CONFIG_COPY, run_folder.META, run_folder.METRICS, run_folder.SUMMARY)
    for name in names:
        assert f"  {name}" in documented


def test_seed_and_repeat_of_a_folder():
    assert seed_of(Path("seed3")) == (3, 1)
    assert seed_of(Path("seed3-12")) == (3, 12)
    assert seed_of(Path("best")) == (None, 1)
