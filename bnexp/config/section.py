"""What every section of the config is made of."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict


def _whole(value: object) -> object:
    """Let `5e4`, which YAML reads as a float, pass where a whole number is meant."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Int = Annotated[int, Strict(), BeforeValidator(_whole)]
Float = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Bool = Annotated[bool, Strict()]


def listed(options: Mapping[Any, str]) -> str:
    """Return names and their meanings as a part of a sentence."""
    return "; ".join(f"`{name}`: {meaning}" for name, meaning in options.items())


class Section(BaseModel):
    """A section of the config; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
