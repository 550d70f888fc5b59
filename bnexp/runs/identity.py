"""Decide which keys of a config identify a run; all that compares configs asks here.

Three questions have three answers, and differ for a reason:

| question | asked by | keys that do not count |
| --- | --- | --- |
| `figures`: what can move a figure? | TensorBoard's hyperparameters | checkpoints, probes, name |
| `arm`: are these runs seeds of one strategy? | `compare`; sweeps, with the seed | checkpoints, probes, seed |
| `run`: can one run have had both configs? | `--resume` | checkpoints |

- `checkpoints` never count: saving a run changes neither its weights nor what is measured.
- `probes` observe the network without disturbing it: they add figures and change none. To resume with other probes
  would still leave one metrics.jsonl whose rows do not hold the same figures, so they count for a run.
- `name` moves no figure, but two names are two strategies to whoever gave them, and it names the run's folder.
- `seed` moves figures. An arm is what its runs share, a mean over seeds.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from bnexp.config.yaml_text import dotted

if TYPE_CHECKING:
    from bnexp.config.schema import Config  # what only lists runs does not wait for pydantic

Question = Literal["figures", "arm", "run"]

_UNCOUNTED: Mapping[Question, frozenset[str]] = {
    "figures": frozenset({"checkpoints", "probes", "name"}),
    "arm": frozenset({"checkpoints", "probes", "seed"}),
    "run": frozenset({"checkpoints"}),
}


_LATER: Mapping[str, Any] = {"training.accumulate": 1}
"""Keys with a default that came after 0.1.0, and what every run did before: it says so in no config."""


def identity_of(config: Mapping[str, Any], question: Question) -> dict[str, Any]:
    """Return the dotted keys of a config, of any version of bnexp, that count for a question, and their values."""
    uncounted = _UNCOUNTED[question]
    sections = {key.partition(".")[0] for key in config}
    whole = {**{key: value for key, value in _LATER.items() if key.partition(".")[0] in sections}, **config}
    return {key: value for key, value in whole.items() if key.partition(".")[0] not in uncounted}


def first_difference(then: "Config", now: "Config") -> tuple[str, Any, Any] | None:
    """Return the first key that keeps two configs from being one run's, with both values; None where there is none."""
    before, after = (identity_of(dict(dotted(config.model_dump(mode="json"))), "run") for config in (then, now))
    keys = dict.fromkeys([*before, *after])
    return next(((key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)), None)
