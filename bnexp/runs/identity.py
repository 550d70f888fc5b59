"""Whether two configs can be one run's: no figure depends on when checkpoints are written, so that may differ."""

from typing import Any

from bnexp.config.schema import Config
from bnexp.config.section import dotted


def first_difference(then: Config, now: Config) -> tuple[str, Any, Any] | None:
    """Return the first key in which two configs differ, and what each of them says; None where they are one run's."""
    before, after = (dict(dotted(one.model_dump(mode="json", exclude={"checkpoints"}))) for one in (then, now))
    keys = dict.fromkeys([*before, *after])
    return next(((key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)), None)
