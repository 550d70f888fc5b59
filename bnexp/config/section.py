"""Shared parts of the config's sections: their base class, their types, and functions that every section needs."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict

_ROUNDING = 1e-9
"""Lets 0.7 epochs of 10 steps, which is 7.000000000000001 in floating point, end after step 7."""


def _whole(value: object) -> object:
    """Let `5e4`, which YAML reads as a float, pass where a whole number is meant."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def read_switch(value: object) -> object:
    """Read the words `true` and `false`, which is all that the options of an item can hold."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


Int = Annotated[int, Strict(), BeforeValidator(_whole)]
Float = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Bool = Annotated[bool, Strict()]
Switch = Annotated[Bool, BeforeValidator(read_switch)]


class Section(BaseModel):
    """A section of the config; it cannot be changed, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def listed(meanings: Mapping[Any, str]) -> str:
    """Return names and their meanings as a part of a sentence."""
    return "; ".join(f"`{name}`: {meaning}" for name, meaning in meanings.items())


def is_due(step: int, every_epochs: float, steps_per_epoch: int) -> bool:
    """Tell whether another `every_epochs` epochs end with this step, counted from 1.

    It is asked several times a step: the arithmetic of `times_until` stands here again, in half the time of two calls.
    """
    every_steps = max(every_epochs * steps_per_epoch, 1.0)
    return math.floor(step / every_steps + _ROUNDING) > math.floor((step - 1) / every_steps + _ROUNDING)


def times_until(step: int, every_epochs: float, steps_per_epoch: int) -> int:
    """Count the periods of `every_epochs` epochs that end by this step; a period lasts a step at least."""
    every_steps = max(every_epochs * steps_per_epoch, 1.0)
    return math.floor(step / every_steps + _ROUNDING)
