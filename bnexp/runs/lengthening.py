"""Say which runs can be made longer after their end, and what then counts of their records.

A run that is made longer becomes, bit for bit, the one that was asked for with the longer training at once. That can be
where no step depends on how many follow it. meta.json keeps where the run had ended before, in `lengthened_from`: its
test set was scored there, and the summary.json of then counts no more.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bnexp.config.nested import dotted
from bnexp.errors import ConfigError
from bnexp.runs.identity import besides_the_model, identity_of

if TYPE_CHECKING:
    from bnexp.config.plan import Plan
    from bnexp.config.schema import Config  # what only lists runs does not wait for pydantic

LENGTH = ("training.epochs", "training.steps")
"""The keys that say how long a training is."""
LENGTHENED = "lengthened_from"
"""The key of meta.json: a record of each end before the last."""
_SPREAD = ("cosine", "onecycle")
"""Schedules that spread over the whole training."""


def why_fixed(config: "Config") -> str | None:
    """Say why no run of a config can be made longer; None where that can be."""
    name = config.schedule.name
    if name in _SPREAD:
        return f"schedule {name} spreads over the whole training, so that a longer one differs from its first steps on"
    return None


def length_of(config: "Config") -> str:
    """Write how long a training is, such as `4 epochs`."""
    training = config.training
    return f"{training.epochs:,} epochs" if training.steps is None else f"{training.steps:,} steps"


def with_length(config: "Config", longer: "Config") -> "Config":
    """Return a config with the length of another one, which differs in nothing else but how its network is written.

    Raises:
        ConfigError: it cannot be made longer, or the other differs in more.
    """
    before, after = (
        besides_the_model(identity_of(dict(dotted(one.model_dump(mode="json"))), "arm")) for one in (config, longer)
    )
    others = [key for key in {**before, **after} if key not in ("name", *LENGTH)]
    differs = next((f"{key} is another" for key in others if before.get(key) != after.get(key)), None)
    if why := why_fixed(config) or differs:
        raise ConfigError(f"a run of {length_of(config)} cannot become one of {length_of(longer)}: {why}")
    return as_long_as(config, longer)


def as_long_as(config: "Config", other: "Config") -> "Config":
    """Return a config with the length of another one."""
    length = {"epochs": other.training.epochs, "steps": other.training.steps}
    return config.model_copy(update={"training": config.training.model_copy(update=length)})


def passes(step: int, ended: int, plan: "Plan", log_every: int) -> bool:
    """Tell whether a longer training comes through the state that a run of `ended` steps had after `step`.

    After its last step a run is evaluated, and writes a row, also where neither is due; a longer one is and does not.
    """
    return step < ended or (step % log_every == 0 and plan.regularly_at(step, plan.eval_every_epochs))


def can_lengthen(steps: Iterable[int], ended: int, plan: "Plan", log_every: int) -> bool:
    """Tell whether one of the checkpoints after these steps is of a longer training, too."""
    return any(passes(step, ended, plan, log_every) for step in steps)


def lengthened_from(meta: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the records of former ends in meta.json, as far as they are sound."""
    records = meta.get(LENGTHENED)
    return [one for one in records if isinstance(one, dict)] if isinstance(records, list) else []


def former_ends(meta: Mapping[str, Any]) -> tuple[int, ...]:
    """Return after which steps a run had ended before it was made longer, by its meta.json."""
    return tuple(steps for one in lengthened_from(meta) if isinstance(steps := one.get("steps"), int))


def is_superseded(summary_sha256: str, meta: Mapping[str, Any]) -> bool:
    """Tell whether a summary.json is that of a former end; a kill on the way leaves it there."""
    return any(one.get("summary_sha256") == summary_sha256 for one in lengthened_from(meta))
