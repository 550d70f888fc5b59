"""The reference for people; `test_json_schema.py` tests the one for editors."""

import re
from pathlib import Path

import pytest

from bnexp.config.data_section import DATASET_NAMES
from bnexp.config.items import ITEMS
from bnexp.config.keys import SECTIONS
from bnexp.config.reference import config_reference, type_in_words

DOCS = Path(__file__).parents[2] / "docs" / "config.md"


def test_the_file_is_current():
    current = DOCS.read_text(encoding="utf-8") == config_reference()
    assert current, "the schema has changed; run: python -m bnexp schema --markdown > docs/config.md"


@pytest.mark.parametrize("place", SECTIONS)
def test_every_key_of_every_variant_has_its_row(place):
    spot = SECTIONS[place]
    text = config_reference()
    if spot.variant:
        title, headings = spot.keys[-1], [line for line in text.split("\n") if line.startswith("#")]
        (own,) = [line for line in headings if f"`{title}` with" in line and re.search(rf"\b{spot.variant}`", line)]
        text = "".join(text.split(f"{heading}\n")[1].split("\n#")[0] for heading in (f"## `{title}`", own))
    for key in spot.section.model_fields:
        assert text.count(f"| `{spot.key(key)}` |") == 1


def test_items_options_and_datasets_are_listed():
    text = config_reference()
    for name, kind in ITEMS.items():
        assert f"| `{name}" in text
        for option in kind.options.model_fields:
            assert f"| `{name}` | `{option}` |" in text
    for name in DATASET_NAMES:
        assert f"| `{name}` |" in text


@pytest.mark.parametrize(
    "row",
    [
        "| `name` | text | the file's name |",
        "| `seed` | whole number, at least 0, below 2_147_483_648 | `0` |",
        "| `data` | keys | **required** |",
        "| `data.limit` | whole number, at least 1, at most 1_000_000_000 | not set |",
        "| `data.val_fraction` | number, above 0, below 1 | `0.1` |",
        "| `model.hidden` | list of whole numbers, each at least 1, at most 100_000 | **required** |",
        "| `optimizer.betas` | list of 2 numbers, each at least 0, below 1 | `[0.9, 0.999]` |",
        "| `probes.activations` | keys or `off`, `no`, `none`, `false` | `{every: 100}` |",
        "| `probes.histograms.every` | whole number, at least 0 | `500` |",
        "| `bn` | `momentum` | number, above 0, at most 1 | `0.1` |",
    ],
)
def test_types_bounds_and_defaults_are_in_human_words(row):
    assert f"\n{row}" in config_reference()


def test_tables_are_whole():
    for block in config_reference().split("\n\n"):
        rows = [line for line in block.split("\n") if line.startswith("|")]
        assert len({row.replace("\\|", "").count("|") for row in rows}) <= 1


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1}, "whole number, at least 1"),
        ({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}]}, "number, above 0"),
        ({"enum": ["a", False]}, "`a`, `false`"),
        ({"$ref": "#/$defs/X"}, "keys"),
        ({"type": "array", "items": {"type": "string"}}, "list of texts"),
    ],
)
def test_a_type_in_words(schema, words):
    assert type_in_words(schema) == words
