"""The reference: `docs/config.md` for people, and the JSON Schema for editors.

The validator below knows just the keywords that the schema uses, and stops at any other.
"""

import functools
import json
import os
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bnexp.config.data_section import DATASET_NAMES
from bnexp.config.items import ITEMS
from bnexp.config.json_schema import config_schema, plain_json_schema
from bnexp.config.keys import SECTIONS
from bnexp.config.loading import load_config
from bnexp.config.reference import config_reference, type_text
from bnexp.config.sweep_file import is_sweep
from bnexp.config.sweep_loading import load_sweep
from bnexp.config.sweep_reference import sweep_schema
from bnexp.config.yaml_text import dump_yaml, read_yaml_file
from bnexp.errors import ConfigError

reference = functools.cache(config_reference)
DOCS = Path(__file__).parents[2] / "docs" / "config.md"


def test_the_file_is_current():
    current = DOCS.read_text(encoding="utf-8") == reference()
    assert current, "the schema has changed; run: python -m bnexp schema --markdown > docs/config.md"


@pytest.mark.parametrize("place", SECTIONS)
def test_every_key_of_every_variant_has_its_row(place):
    spot = SECTIONS[place]
    text = reference()
    if spot.variant:
        title, headings = spot.keys[-1], [line for line in text.split("\n") if line.startswith("#")]
        (own,) = [line for line in headings if f"`{title}` with" in line and re.search(rf"\b{spot.variant}`", line)]
        text = "".join(text.split(f"{heading}\n")[1].split("\n#")[0] for heading in (f"## `{title}`", own))
    for key in spot.section.model_fields:
        assert text.count(f"| `{spot.key(key)}` |") == 1


def test_items_options_and_datasets_are_listed():
    text = reference()
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
    assert f"\n{row}" in reference()


def test_tables_are_whole():
    for block in reference().split("\n\n"):
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
    assert type_text(schema) == words


CONFIGS = Path(__file__).parents[2] / "configs"
NOTES = {"$schema", "$defs", "title", "description", "default", "examples", "patternErrorMessage", "errorMessage"}
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "number": (int, float),
    "integer": (int, float),
}


def fits(value, schema, root):
    return all(_keyword(keyword, value, schema, root) for keyword in schema if keyword not in NOTES)


def _keyword(keyword, value, schema, root):
    wanted = schema[keyword]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match keyword:
        case "type":
            return any(_is(value, name) for name in ([wanted] if isinstance(wanted, str) else wanted))
        case "$ref":
            return fits(value, root["$defs"][wanted.removeprefix("#/$defs/")], root)
        case "const" | "enum":
            options = [wanted] if keyword == "const" else wanted
            return any(value == option and type(value) is type(option) for option in options)
        case "anyOf" | "allOf":
            return {"anyOf": any, "allOf": all}[keyword](fits(value, branch, root) for branch in wanted)
        case "if":
            branch = "then" if fits(value, wanted, root) else "else"
            return fits(value, schema.get(branch, {}), root)
        case "then" | "else":
            return True
        case "required":
            return not isinstance(value, dict) or set(wanted) <= set(value)
        case "properties":
            return not isinstance(value, dict) or all(
                fits(value[key], wanted[key], root) for key in wanted if key in value
            )
        case "additionalProperties":
            others = set(value) - set(schema.get("properties", {})) if isinstance(value, dict) else set()
            patterns = "|".join(schema.get("patternProperties", {"^$": {}}))
            others = {key for key in others if not re.search(patterns, key)}
            return wanted is True or all(wanted is not False and fits(value[key], wanted, root) for key in others)
        case "patternProperties":
            found = [(value[key], wanted[one]) for one in wanted for key in value if re.search(one, key)]
            return all(fits(entry, each, root) for entry, each in found)
        case "not":
            return not fits(value, wanted, root)
        case "minProperties":
            return not isinstance(value, dict) or len(value) >= wanted
        case "items":
            return not isinstance(value, list) or all(fits(entry, wanted, root) for entry in value)
        case "prefixItems":
            pairs = zip(value, wanted, strict=False) if isinstance(value, list) else ()
            return all(fits(entry, each, root) for entry, each in pairs)
        case "minItems":
            return not isinstance(value, list) or len(value) >= wanted
        case "maxItems":
            return not isinstance(value, list) or len(value) <= wanted
        case "maxLength":
            return not isinstance(value, str) or len(value) <= wanted
        case "pattern":
            return not isinstance(value, str) or re.search(wanted, value) is not None
        case "minimum":
            return not number or value >= wanted
        case "maximum":
            return not number or value <= wanted
        case "exclusiveMinimum":
            return not number or value > wanted
        case "exclusiveMaximum":
            return not number or value < wanted
    raise AssertionError(f"the schema has a keyword that this test does not know: {keyword}")


def _is(value, name):
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, TYPES[name]) and (name != "integer" or float(value).is_integer())


SCHEMA, SWEEPS = config_schema(), sweep_schema()


def accepted(values):
    return fits(values, SCHEMA, SCHEMA)


def test_it_is_json_and_says_which_draft():
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


PACKAGED = sorted(CONFIGS.rglob("*.yaml"))


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.stem)
def test_the_configs_of_the_project_are_accepted_by_the_schema_that_their_first_line_names(path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    values = read_yaml_file(path)[0]
    name, schema = ("sweep.schema.json", SWEEPS) if is_sweep(values) else ("schema.json", SCHEMA)
    assert first == f"# yaml-language-server: $schema={os.path.relpath(CONFIGS / name, path.parent)}"
    assert fits(values, schema, schema)
    assert fits(yaml.safe_load(path.read_text(encoding="utf-8")), schema, schema)  # YAML 1.1, where 5e-4 is a word


@pytest.mark.parametrize(
    ("word", "known"), [("5e-4", True), (".5E3", True), ("5_0", True), ("0.1", False), ("e", False)]
)
def test_a_number_that_some_readers_take_for_a_word_is_accepted(values, word, known):
    values["optimizer"]["lr"] = word
    assert accepted(values) == known
    values["data"]["batch_size"] = "1e2"
    assert not accepted(values)


def test_the_schemas_beside_the_configs_are_current():
    current = [json.loads((CONFIGS / name).read_text()) for name in ("schema.json", "sweep.schema.json")]
    assert current == [SCHEMA, SWEEPS], "the schema has changed; run: make docs"


def test_a_validator_of_others_says_the_same(values):
    jsonschema = pytest.importorskip("jsonschema")
    configs, sweeps = (jsonschema.Draft202012Validator(schema) for schema in (SCHEMA, SWEEPS))
    for validator in (configs, sweeps):
        validator.check_schema(validator.schema)
    for name, validator in (
        ("cnn_bn", configs),
        ("resnet_nf", configs),
        ("demo/bn", configs),
        ("sweeps/sprint", sweeps),
    ):
        assert validator.is_valid(read_yaml_file(CONFIGS / f"{name}.yaml")[0])
    (problem,) = configs.iter_errors(values | {"model": {**values["model"], "norm": "bnn"}})
    assert (list(problem.path), problem.validator) == (["model", "norm"], "pattern")
    (problem,) = configs.iter_errors(values | {"optimizer": {"name": "adam", "momentum": 0.9}})
    assert (list(problem.path), problem.schema["errorMessage"][:21]) == (
        ["optimizer", "momentum"],
        "a key of another kind",
    )


def test_a_clean_file_passes(clean_file, values):
    assert accepted(read_yaml_file(clean_file)[0])
    assert accepted(values)


@settings(suppress_health_check=[HealthCheck.filter_too_much])  # a null may well take back what is required
@given(st.data())
def test_what_is_loaded_is_accepted(shared_clean_file, valid_values, data):
    values = data.draw(valid_values)
    for section in [values, *(part for part in values.values() if isinstance(part, dict))]:
        optional = [key for key in section if key not in {"data", "model", "optimizer", "training", "name"}]
        if optional and data.draw(st.booleans()):
            section[data.draw(st.sampled_from(optional))] = None
    path = shared_clean_file.with_name("drawn.yaml")
    path.write_text(dump_yaml(values), encoding="utf-8")
    try:
        load_config(path)
    except ConfigError:
        assume(False)  # the null took back a key that is required
    assert accepted(read_yaml_file(path)[0])


@pytest.mark.parametrize(
    "change",
    [
        {"name": None},
        {"seed": 1e4},
        {"seed": None, "schedule": None, "probes": None, "init": None},
        {"probes": {"activations": "off", "gradients": False, "histograms": {"every": 1e2}}},
        {"probes": {"activations": None}},
        {"training": {"epochs": None, "steps": 5e4}},
        {"model": {"arch": "mlp", "hidden": [1e2], "block": "linear", "bias": None, "norm": None}},
        {"optimizer": {"name": "adam", "momentum": None, "nesterov": None}},
        {"data": {"dataset": "synthetic", "synthetic": {"shape": [3, 8, 8]}, "limit": None}},
        {"data": {"dataset": "mnist", "synthetic": None, "path": None, "skip_broken": False}},
        {"data": {"dataset": "npz", "path": "x", "image_size": None}},
        {"init": {"gain": 2.0, "std": None}},
        {"init": {"scheme": "normal", "std": 0.1}},
    ],
)
def test_nulls_exponents_and_words_for_never_pass(values, change):
    assert accepted(values | change)


@pytest.mark.parametrize(
    "difference",
    [
        {},
        {"seed": 1},
        {"optimizer": {"lr": 0.5}},
        {"optimizer": {"momentum": 0.5}},
        {"optimizer": {"name": "adam", "momentum": None}},
        {"schedule": {"milestones": [1]}},
        {"model": {"norm": "ln"}},
        {"data": None},
    ],
)
def test_with_a_base_a_file_says_only_its_difference(difference):
    assert accepted({"base": "other.yaml", **difference})
    assert not accepted(difference)


@pytest.mark.parametrize(
    "change",
    [
        {"nonsense": 1},
        {"base": 3},
        {"seed": 1.5},
        {"seed": -1},
        {"seed": "1"},
        {"name": "a/b"},
        {"data": {"dataset": "mnist6k"}},
        {"data": {"dataset": "mnist", "batchsize": 3}},
        {"data": {"dataset": "mnist", "batch_size": 0}},
        {"data": {"dataset": "mnist", "limit": 0}},
        {"data": {"dataset": "mnist", "path": "x"}},
        {"data": {"dataset": "npz"}},
        {"data": {"dataset": "npz", "path": "x", "synthetic": {}}},
        {"init": {"scheme": "xavier", "std": 0.1}},
        {"data": {"batch_size": 32}},
        {"model": {"arch": "mlp", "block": "linear"}},
        {"model": {"arch": "mlp", "hidden": [], "block": "linear"}},
        {"model": {"arch": "mlp", "hidden": [0], "block": "linear"}},
        {"optimizer": {"name": "sgd", "betas": [0.9, 0.99]}},
        {"optimizer": {"name": "sdg"}},
        {"optimizer": {"name": "adam", "betas": [0.9]}},
        {"optimizer": {"name": "adam", "momentum": 0.9}},
        {"optimizer": {"lr": 0.1}},
        {"optimizer": {"name": "sgd", "nesterov": "yes"}},
        {"schedule": {"name": "step"}},
        {"schedule": {"milestones": [1]}},
        {"training": {"epochs": 0}},
        {"probes": {"activations": "never"}},
    ],
)
def test_a_mistake_is_flagged(values, change):
    assert not accepted(values | change)


@pytest.mark.parametrize(
    ("model", "right"),
    [
        ({"norm": "bn"}, True),
        ({"norm": "none"}, True),
        ({"norm": "nn.BatchNorm1d(epsilon=1e-3, affine=False)"}, True),
        ({"norm": "Layer Normalization"}, True),
        ({"norm": "gn( groups = 4 )"}, True),
        ({"norm": False}, True),
        ({"norm": "bnn"}, False),
        ({"norm": "bn("}, False),
        ({"norm": "bn(momentun=0.1)"}, False),
        ({"norm": "relu"}, False),
        ({"norm": True}, False),
        ({"activation": "LeakyReLU(negative_slope=0.1)"}, True),
        ({"activation": "bn"}, False),
        ({"block": "linear→norm→act"}, True),
        ({"block": "Dense -> norm() -> act"}, False),
        ({"block": "linear => norm => dropout(p=0.5) => act"}, True),
        ({"block": "linear -> norm -> act ->"}, False),
        ({"block": "linear norm act"}, False),
        ({"block": "linear -> norm -> act -> lnn"}, False),
    ],
)
def test_names_are_marked_where_they_are_refused(values, tmp_path, model, right):
    own = {"arch": "mlp", "hidden": [8], "block": "linear -> norm -> act", "norm": "bn", "activation": "relu"}
    changed = values | {"model": own | model}
    path = tmp_path / "changed.yaml"
    path.write_text(dump_yaml(changed), encoding="utf-8")
    assert accepted(changed) is right
    try:
        load_config(path)
    except ConfigError:
        assert not right
    else:
        assert right


@pytest.mark.parametrize(
    ("section", "key"),
    [("model", "arch"), ("optimizer", "name"), ("schedule", "name"), ("init", "scheme"), ("data", "dataset")],
)
def test_each_kind_of_a_section_offers_its_own_keys_alone(section, key):
    """As an editor does: it takes the branch whose condition holds, and offers the properties there."""
    for spot in (spot for spot in SECTIONS.values() if spot.keys == (section,)):
        branch = SCHEMA["properties"][section]["then"]
        while not fits({key: spot.variant.upper()}, branch["if"], SCHEMA):
            branch = branch["else"]
        kind = SCHEMA["$defs"][branch["then"]["$ref"].rpartition("/")[2]]
        assert set(kind["properties"]) == set(spot.section.model_fields)
        assert kind["additionalProperties"] is False


@pytest.mark.parametrize("place", SECTIONS)
def test_bounds_have_their_names(place):
    words = json.dumps(plain_json_schema(SECTIONS[place].section))
    assert not re.search(r'"(ge|gt|le|lt)":', words)


SWEEP = {"base": "clean.yaml", "axes": {"optimizer.lr": [0.1, 1]}}


@pytest.mark.parametrize(
    ("change", "fitting"),
    [
        ({}, True),
        ({"axes": {"model": {"norm": ["bn", "ln"]}, "optimizer": [{"name": "sgd"}, {"name": "adam"}]}}, True),
        ({"fixed": {"training.epochs": 3, "data": {"limit": None}}, "seeds": [1, 2], "question": "Why?"}, True),
        ({"arms": {"a": {"model.hidden": [8]}}, "exclude": [{"optimizer.lr": [0.1]}], "seeds": "0-4"}, True),
        ({"tune": {"optimizer.momentum": [0, 0.9]}, "tune_seeds": 3, "budget": {"runs": 100, "minutes": 1.5}}, True),
        ({"resources": {"cpus": 2, "gpus": 0.5, "memory_gb": 4}}, True),
        ({"axes": {"optimizer.rl": [1]}}, False),
        ({"axes": {"optimizer.lr": 1}}, False),
        ({"axes": {"optimizer.lr": []}}, False),
        ({"axes": {"seed": [1, 2]}}, False),
        ({"axes": {}}, False),
        ({"arms": {"a": {"name": "x"}}}, False),
        ({"exclude": {"optimizer.lr": 1}}, False),
        ({"seeds": True}, False),
        ({"tune_seeds": 0, "tune": {"optimizer.momentum": [0, 0.9]}}, False),
        ({"budget": {"run": 1}}, False),
        ({"optimizer": {"lr": 1}}, False),
        ({"base": 3}, False),
        ({"axes": {"model.norm": ["none", "bn(momentum=0.01)", "Batch Norm", None]}}, True),
    ],
)
def test_the_schema_of_sweep_files_flags_what_reading_one_refuses(clean_file, change, fitting):
    path = clean_file.with_name("sweep.yaml")
    path.write_text(dump_yaml(SWEEP | change), encoding="utf-8")
    assert fits(read_yaml_file(path)[0], SWEEPS, SWEEPS) is fitting
    try:
        load_sweep(path)
    except ConfigError:
        assert not fitting
    else:
        assert fitting


@pytest.mark.parametrize(
    ("change", "fitting"),
    [
        ({"axes": {"model.norm": ["bn", "bnn"]}}, False),
        ({"axes": {"model.block": ["linear -> bn", "linear -> bnn"]}}, False),
        ({"axes": {"optimizer.lr": [0.1, "high"]}}, False),
        ({"tune": {"optimizer.lr": [0]}}, False),
        ({"fixed": {"optimizer.name": "sdg"}}, False),
        ({"fixed": {"optimizer.name": "AdamW", "schedule": {"name": "step", "milestones": [5]}}}, True),
        ({"axes": {"data.batch_size": [32, None], "model.hidden": [[8], [8, 8]]}}, True),
        ({"exclude": [{"model.norm": "bn"}, {"model.norm": ["bn", "ln"], "optimizer.lr": 1}]}, True),
        ({"exclude": [{"model.norm": "bnn"}]}, False),
    ],
)
def test_values_in_a_sweep_file_are_marked_as_in_a_config(change, fitting):
    assert fits(SWEEP | change, SWEEPS, SWEEPS) is fitting
