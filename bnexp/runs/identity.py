"""Decide which keys of a config identify a run; all that compares configs asks here.

Three questions have three answers, and differ for a reason:

| question | asked by | keys that do not count |
| --- | --- | --- |
| `figures`: what moves figures? | TensorBoard's hyperparameters | checkpoints, probes, name, `data.download`, `GRAPH` |
| `arm`: are these runs seeds of one strategy? | `compare`, `ls`, `train` | checkpoints, probes, seed, `_UNSEEN` |
| `run`: can one run have had both configs? | `train`, `--resume` | checkpoints, data.eval_batch_size, `GRAPH` |

- `checkpoints` never count: saving a run changes neither its weights nor what is measured.
- `probes` observe the network without disturbing it: they add figures and change none. To resume with other probes
  would still leave one metrics.jsonl whose rows do not hold the same figures, so they count for a run.
- `data.eval_batch_size` moves scores by no more than rounding, but for those with recomputed statistics, which are
  taken over batches of this size. A run that lacks the memory may be resumed with another, and stays of its arm.
- `data.download` says whether to fetch what is missing. `--resume` would not heed a new one, so it counts for a run.
- `training.graph` says how a GPU is asked for a step, not what it computes: the bits are the same.
- `training.log_every` says over how many steps the rows of loss/train average, so it moves TensorBoard's curves and no
  figure of an arm: its training loss is the mean over the whole last epoch.
- `training.steps` of whole epochs is the same length as `training.epochs`: as an arm, both are the latter.
- `training.memory_format` moves none by more than rounding, as another machine does: one arm, but not one run, whose
  bits it decides.
- `name` moves no figure, but two names are two strategies to whoever gave them, and it names the run's folder.
- `seed` moves figures. An arm is what its runs share, a mean over seeds.
- The number of processes that divided a batch is no key of a config: it is in meta.json. Where norms take the
  statistics of each part (bn), it is another training, and counts for an arm, as `batch.processes`, and for a run.
  Elsewhere (sync_bn, ln, no norm) it moves no more than the last bits, as another machine does.
- The code of a norm or an activation that bnexp does not have is no key of a config either: its checksum, and the
  version of its package, are in meta.json, and count for every question, as `plugins.NAME` (runs/plugins.py).
- `model` may be written in several ways: `norm: bn` or bn in the block, `bias: auto` or false before it. What is built
  is the layout, and a run records a digest of it (`network_of`), beside one of the function that it computes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from bnexp.config.nested import dotted

if TYPE_CHECKING:
    from bnexp.config.block import Item
    from bnexp.config.layout import Layout, Placed, Shape
    from bnexp.config.schema import Config  # what only lists runs does not wait for pydantic

Question = Literal["figures", "arm", "run"]

EVAL_BATCH_SIZE = "data.eval_batch_size"
GRAPH = "training.graph"
_UNSEEN = (EVAL_BATCH_SIZE, "data.download", "training.log_every", "training.memory_format", GRAPH)
"""Keys that move no figure which is compared between arms."""
_UNCOUNTED: Mapping[Question, frozenset[str]] = {
    "figures": frozenset({"checkpoints", "probes", "name", "data.download", GRAPH}),
    "arm": frozenset({"checkpoints", "probes", "seed", *_UNSEEN}),
    "run": frozenset({"checkpoints", EVAL_BATCH_SIZE, GRAPH}),
}


_LATER: Mapping[str, Any] = {
    "training.accumulate": 1,
    "training.deterministic": True,
    "training.label_smoothing": 0.0,
    "training.memory_format": "auto",
}
"""Keys that came after 0.1.0 with a default that is a value, and what every run did before: it says so in no config."""

OFTEN_VARIED = ["model.block", "model.norm", "model.activation", "optimizer.lr", "data.batch_size"]
"""The keys in which arms differ most often: the five columns that TensorBoard's HParams page shows unasked."""


def identity_of(config: Mapping[str, Any], question: Question, steps_per_epoch: int | None = None) -> dict[str, Any]:
    """Return the dotted keys of a config, of any version of bnexp, that count for a question, and their values.

    A key without a value is left out, as stored configs leave it out: whoever never heard of `training.ema` has none.
    With `steps_per_epoch`, a number of steps that ends with an epoch is given as `training.epochs`.
    """
    uncounted, counted = _UNCOUNTED[question], dict[str, Any]()
    for key, value in _LATER.items():
        section = key.partition(".")[0]
        if key not in {*config, *uncounted} and any(other.partition(".")[0] == section for other in config):
            counted[key] = value
    for key, value in config.items():
        if value is not None and key not in uncounted and key.partition(".")[0] not in uncounted:
            counted[key] = value
    steps = counted.get("training.steps")
    if steps_per_epoch and isinstance(steps, int) and steps % steps_per_epoch == 0:
        counted["training.epochs"] = counted.pop("training.steps") // steps_per_epoch
    return counted


def first_difference(then: "Config", now: "Config") -> tuple[str, Any, Any] | None:
    """Return the first key that keeps two configs from being one run's, with both values; None where there is none."""
    before, after = (identity_of(dict(dotted(config.model_dump(mode="json"))), "run") for config in (then, now))
    keys = dict.fromkeys([*before, *after])
    return next(((key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)), None)


def besides_the_model(counted: Mapping[str, Any]) -> dict[str, Any]:
    """Return what counts of a config but how its network is written: beside equal layouts, that is no difference."""
    return {key: value for key, value in counted.items() if key.partition(".")[0] != "model"}


def parts_of(meta: Mapping[str, Any]) -> int:
    """Return in how many parts of a batch its statistics were taken, by meta.json: 1 for the whole."""
    processes = meta.get("processes")
    parts = processes.get("parts") if isinstance(processes, dict) else None
    return parts if isinstance(parts, int) and parts > 1 else 1


def network_of(layout: "Layout", batch_size: int, parts: int = 1) -> dict[str, str]:
    """Return two digests of a network, for meta.json.

    `layout`: equal where the same modules are built at the same places, so that from one seed all bits are the same.
    `function`: equal where training and evaluation compute the same from the same weights, up to rounding, whatever the
    norm is called: `sync_bn` in one process and `ghost_bn` of the whole batch are `bn`; of one group, `gn` is
    `ln(affine=channel)`; of a channel each, `in`. `bn` with another momentum is another function at evaluation.
    Batches whose statistics are taken in several parts, one of each process, give other digests.
    """
    built, computed = ([_part_form(part, batch_size, exact=exact) for part in layout.parts] for exact in (True, False))
    head = [layout.head, layout.features, layout.classes, *([parts] if parts > 1 else [])]
    forms = {"layout": [*built, head], "function": [*computed, head]}
    return {name: hashlib.sha256(json.dumps(form).encode()).hexdigest() for name, form in forms.items()}


def _part_form(part: Any, batch_size: int, *, exact: bool) -> list[Any]:
    """Return what a block, or a pooling, is made of; not exact, as the function that it computes."""
    facts = [part.place, part.shape_in, *(getattr(part, name, None) for name in ("kind", "zero_gamma", "skip_gain"))]
    paths: tuple[Sequence[Placed], ...] = (getattr(part, "items", ()), getattr(part, "shortcut", ()))
    if exact:
        return [facts, *([[_built(placed), placed.bias] for placed in path] for path in paths)]
    return [facts, *(_computed(path, batch_size) for path in paths)]


def _built(placed: "Placed") -> list[Any]:
    options, source = placed.item.options.model_dump(), placed.item.kind.source
    form = [placed.name, placed.item.name, options, placed.shape_in, placed.shape_out, placed.stride, placed.kernel]
    return form if source is None else [*form, source.sha256, source.distribution]


def _computed(path: "Sequence[Placed]", batch_size: int) -> list[Any]:
    """Return the function of each item of a path; a bias that the next one cancels in every example is none."""
    norms = [_norm_function(placed.item, placed.shape_in, batch_size) for placed in path]
    following = [*norms, None][1:]
    return [
        norm or [_built(placed), placed.bias and not (after is not None and after[0] == "channel")]
        for placed, norm, after in zip(path, norms, following, strict=True)
    ]


def _norm_function(item: "Item", shape: "Shape", batch_size: int) -> list[Any] | None:
    """Return a name and the options that count for a norm known under several names; None for every other item."""
    options = item.options.model_dump()
    eps, affine, groups = options.get("eps"), options.get("affine"), options.get("groups")
    on_vectors = len(shape) == 1
    if item.name in ("bn", "sync_bn") or (item.name == "ghost_bn" and options["size"] >= batch_size):
        return ["bn", eps, affine, options["momentum"], options.get("frozen", "none")]
    if (
        (item.name == "gn" and groups == 1)
        or (item.name == "ln" and (on_vectors or affine in ("channel", False)))
        or (item.name == "ln_c" and on_vectors)
    ):
        return ["example", eps, bool(affine)]
    if not on_vectors and (item.name == "in" or (item.name == "gn" and groups == shape[0])):
        return ["channel", eps, affine]
    return None
