"""The reference of the sweep file: `docs/sweep.md` for people, the JSON Schema for their editors."""

from typing import Any

from bnexp.config.claims import ClaimSection
from bnexp.config.keys import SECTIONS, SectionSpot
from bnexp.config.reference import plain_json_schema, section_reference
from bnexp.config.sweep_file import BudgetSection, ResourcesSection, SweepFile

_INTRODUCTION = """\
# The sweep file

One YAML file asks one question: a config, what varies, and with how many seeds. `bnexp sweep FILE` trains the runs that
are missing. As with a config, every key is checked before anything else happens, and the mistakes of all arms are told
together.

*Generated from the schema by `bnexp schema --sweep --markdown > docs/sweep.md`; a test keeps it current.
`bnexp schema --sweep` prints the JSON Schema, with which an editor completes and checks the keys.*

    question: Does bn allow larger learning rates?
    base: mnist_mlp_bn.yaml
    fixed: {training.epochs: 5}
    axes:
      model.norm: [none, bn, ln]
      optimizer.lr: [0.01, 0.1, 1]
    seeds: 5
    exclude:
      - {model.norm: none, optimizer.lr: 1}

This is 3 x 3 arms but one, with the seeds 0 to 4: 40 runs. Without a file, the command line says the same:

    bnexp sweep mnist_mlp_bn.yaml --axis model.norm=none,bn,ln --axis optimizer.lr=0.01,0.1,1 --seeds 5

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


def sweep_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a sweep file: whatever is read as one, it accepts."""
    schema = plain_json_schema(SweepFile)
    properties = schema["properties"]
    one, several = _keys({}), _keys({"type": "array", "minItems": 1})
    properties |= {
        "fixed": properties["fixed"] | one,
        "axes": properties["axes"] | several,
        "arms": properties["arms"] | {"additionalProperties": one, "minProperties": 1},
        "tune": properties["tune"] | several,
        "exclude": properties["exclude"] | {"items": one, "minItems": 1},
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "bnexp sweep"}


def _keys(value: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a mapping from keys of a config, with dots or in sections, to values."""
    taken = ("name", "seed")
    dotted = {spot.key(key): field for spot in SECTIONS.values() for key, field in spot.section.model_fields.items()}
    described = {key: {"description": field.description or ""} for key, field in dotted.items() if key not in taken}
    sections = {".".join(spot.keys) for spot in SECTIONS.values()}
    nested = {"anyOf": [value, {"type": "object"}]}
    properties = {key: words | (nested if key in sections else value) for key, words in described.items()}
    return {"type": "object", "properties": properties, "additionalProperties": False, "minProperties": 1}
