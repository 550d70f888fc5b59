"""The reference of the sweep file: `docs/sweep.md` for people, the JSON Schema for their editors."""

from collections import defaultdict
from collections.abc import Callable

from bnexp.config.claims import ClaimSection
from bnexp.config.json_schema import DRAFT, Schema, block_definitions, key_schema, plain_json_schema
from bnexp.config.keys import SECTIONS, SectionSpot
from bnexp.config.reference import section_reference
from bnexp.config.sweep_file import BudgetSection, ResourcesSection, SweepFile

_INTRODUCTION = """\
# The sweep file

One YAML file asks one question: a config, what varies, and with how many seeds. `bnexp sweep FILE` trains the runs that
are missing. As with a config, every key is checked before anything else happens, and the mistakes of all arms are told
together.

*Generated from the schema by `bnexp schema --sweep --markdown > docs/sweep.md`; a test keeps it current.
`bnexp schema --sweep` prints the JSON Schema, with which an editor completes and checks the keys, and the values of the
axes: configs/sweep.schema.json, which the first line of every packaged sweep names.*

    question: Does bn allow larger learning rates?
    base: mnist_mlp_bn
    fixed: {training.epochs: 5}
    axes:
      model.norm: [none, bn, ln]
      optimizer.lr: [0.01, 0.1, 1]
    seeds: 5
    exclude:
      - {model.norm: none, optimizer.lr: 1}

This is 3 x 3 arms but one, with the seeds 0 to 4: 40 runs. Without a file, the command line says the same:

    bnexp sweep mnist_mlp_bn --axis model.norm=none,bn,ln --axis optimizer.lr=0.01,0.1,1 --seeds 5

and `--save FILE` writes it as a sweep file. Commas within brackets and quotes divide nothing:
`--axis "model.norm=bn,gn(groups=4)" --axis model.hidden=[64],[64,64]`.

- A key is written with dots, `optimizer.lr`, or in sections as in a config. Values are read as in a config; `null` is
  the key's default, and `model.norm: none` is no norm.
- `fixed`, `arms`, `axes` and `tune` are laid over the base as one layer, as `--set` is; a key stands in one of them.
  `--set KEY=VALUE` on the command line is laid over every arm, as a part of `fixed`.
- An arm is named after what varies: `norm=bn,lr=0.1`, its bundle first, then the axes in the order of the schema, each
  with the last word of its key, or with more where several keys end alike. Names are safe on every file system; two
  that differ in case alone, and those with more than 100 letters, end with a digest. Runs lie in
  `runs/<sweep>/<arm>/seed<k>/`, and the sweep is called as its file, or by `--name`.
- Two arms that would be trained alike are refused, with the rule that leaves one out.
- A sweep of more than 10_000 runs is refused, unless `budget: {runs: ...}` says that they are meant.

## Arms that are bundles

Keys that belong together move together, and combine with the axes:

    arms:
      small: {model.hidden: [64], data.batch_size: 32}
      large: {model.hidden: [256, 256], data.batch_size: 128}
    axes: {model.norm: [bn, ln]}

gives `small,norm=bn`, `small,norm=ln`, `large,norm=bn` and `large,norm=ln`.

## Fair tuning

    tune: {optimizer.lr: [0.01, 0.03, 0.1, 0.3, 1]}
    tune_seeds: 2

Every arm gets the same budget: each of its candidates is trained on seeds of its own, the best on the validation part
is chosen, and the arm is then trained with it on fresh seeds. The choice never sees the test set.

## Claims

    claims:
      - {claim: bn is ahead, metric: "accuracy/val:last", better: norm=bn, than: norm=none, at_least: 0.02}
      - {claim: bn over ln over none, metric: accuracy/test, order: [norm=bn, norm=ln, norm=none], at_least: 0.02}

make a sweep a study: `bnexp verdict FILE` judges each of them by its runs. [verdicts.md](verdicts.md) explains what a
claim may say, and how it is judged.

"""


def sweep_reference() -> str:
    """Return `docs/sweep.md`: how a sweep is written, and every key with its type, bounds, default and meaning."""
    spots = [
        SectionSpot((), None, None, SweepFile),
        SectionSpot(("claims",), None, None, ClaimSection),
        SectionSpot(("budget",), None, None, BudgetSection, BudgetSection()),
        SectionSpot(("resources",), None, None, ResourcesSection, ResourcesSection()),
    ]
    return _INTRODUCTION + "\n".join(section_reference([spot]) for spot in spots)


def sweep_schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of a sweep file: whatever is read as one, it accepts."""
    schema = plain_json_schema(SweepFile)
    properties, definitions = schema["properties"], schema["$defs"]
    definitions |= block_definitions()
    values = _values(definitions)
    definitions |= {"keys": _keys(values, _itself), "axes": _keys(values, _some), "rule": _keys(values, _or_some)}
    one, several, rule = ({"$ref": f"#/$defs/{name}"} for name in ("keys", "axes", "rule"))
    properties |= {
        "fixed": _described(properties["fixed"]) | one,
        "axes": _described(properties["axes"]) | several,
        "arms": properties["arms"] | {"additionalProperties": one, "minProperties": 1},
        "tune": _described(properties["tune"]) | several,
        "exclude": properties["exclude"] | {"items": rule, "minItems": 1},
    }
    return {"$schema": DRAFT, **schema, "title": "bnexp sweep"}


def _described(schema: Schema) -> Schema:
    return {"description": schema["description"]}


def _itself(value: Schema) -> Schema:
    return value


def _some(value: Schema) -> Schema:
    return {"type": "array", "minItems": 1, "items": value}


def _or_some(value: Schema) -> Schema:
    return {"anyOf": [value, _some(value)]}


def _values(definitions: Schema) -> Schema:
    """Define what each key of a config may hold, by its dotted name; return a reference to each, with its meaning."""
    spots = defaultdict[str, list[SectionSpot]](list)
    for spot in SECTIONS.values():
        for key in spot.section.model_fields:
            spots[spot.key(key)].append(spot)
    for dotted, found in spots.items():
        key = dotted.rpartition(".")[2]
        meaning = next((meaning for spot in found if (meaning := spot.section.model_fields[key].description)), "")
        definitions[dotted] = {"description": meaning, **key_schema(found, key)}
    return {dotted: {"$ref": f"#/$defs/{dotted}"} for dotted in spots if dotted not in ("name", "seed")}


def _keys(values: Schema, form: Callable[[Schema], Schema]) -> Schema:
    """Return the schema of a mapping from keys of a config, with dots or in sections, to values in some form."""
    sections = {".".join(spot.keys) for spot in SECTIONS.values()}
    properties = {
        key: {"anyOf": [form(value), {"type": "object"}]} if key in sections else form(value)
        for key, value in values.items()
    }
    return {"type": "object", "properties": properties, "additionalProperties": False, "minProperties": 1}
