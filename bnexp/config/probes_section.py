"""The section `probes` of the config: the measurements inside the network and their schedules."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_serializer, model_validator

from bnexp.config.section import Float, Int, Section, is_due


class ProbeSchedule(Section):
    """Steps at which a probe looks: all that any of its keys names. Without any, or with `off`, it never looks."""

    every: Int | None = Field(None, ge=0)
    """steps between two looks, the first step always among them; 0 for none"""
    per_decade: Int | None = Field(None, ge=1, le=1000)
    """looks while the steps grow tenfold, evenly spaced in their logarithm, the first step always among them"""
    every_epochs: Float | None = Field(None, gt=0)
    """epochs between two looks"""
    at: tuple[Annotated[Int, Field(ge=1)], ...] | None = None
    """steps, counted from 1"""

    @field_validator("every")
    @classmethod
    def _none_of_these(cls, every: int | None) -> int | None:
        return every or None

    @model_validator(mode="after")
    def _options_need_a_schedule(self) -> Self:
        schedule = list(ProbeSchedule.model_fields)
        options = ", ".join(sorted(self.model_fields_set.difference(schedule)))
        if options and self.off:
            when = f"none of {', '.join(schedule)}"
            raise ValueError(f"{options} without a time to look, found {when}; such as every_epochs: 1")
        return self

    @model_serializer(mode="wrap")
    def _write_off(self, serialize: Callable[[Self], Any]) -> Any:
        return "off" if self.off else serialize(self)

    @property
    def off(self) -> bool:
        """Whether the probe never looks."""
        return not (self.every or self.per_decade or self.every_epochs or self.at)

    @property
    def steps(self) -> tuple[object, ...]:
        """What decides the steps at which the probe looks: the same where they are the same."""
        return self.every, self.per_decade, self.every_epochs, tuple(self.at or ())

    def looks_at(self, step: int, steps_per_epoch: int) -> bool:
        """Tell whether the probe looks at this step, counted from 1."""
        return (
            step in (self.at or ())
            or (self.every is not None and (step == 1 or step % self.every == 0))
            or (self.every_epochs is not None and is_due(step, self.every_epochs, steps_per_epoch))
            or (self.per_decade is not None and _is_log_spaced(step, self.per_decade))
        )


def _is_log_spaced(step: int, per_decade: int) -> bool:
    """Tell whether some power of 10^(1/per_decade) rounds to this step."""
    nearest = round(per_decade * math.log10(step))
    return any(round(10 ** (power / per_decade)) == step for power in (nearest - 1, nearest, nearest + 1))


class EvaluationModesSchedule(ProbeSchedule):
    """Schedule of `evaluation_modes`, and how many examples it takes."""

    examples: Int = Field(1000, ge=1)
    """examples of the validation part that are scored; those of the mode `single` one at a time"""
    recomputed_over: Int = Field(5000, ge=2)
    """training examples over which the statistics of the mode `recomputed` are taken"""


class CouplingSchedule(ProbeSchedule):
    """Schedule of `coupling`, and how many examples and companions it takes."""

    examples: Int = Field(16, ge=1)
    """examples whose logits are followed"""
    draws: Int = Field(8, ge=2, le=1000)
    """batches of companions that each of them meets"""


class CovariateShiftSchedule(ProbeSchedule):
    """Schedule of `covariate_shift`, and how many examples and units it takes."""

    examples: Int = Field(256, ge=2)
    """training examples, the same at every look, whose distributions are compared"""
    units: Int = Field(64, ge=1)
    """units of each layer's input that are compared, spread over it; of images, values of channels at positions"""


class LandscapeSchedule(ProbeSchedule):
    """Schedule of `landscape`, and how far it goes along the gradient."""

    smallest: Float = Field(0.5, gt=0, le=1_000_000)
    """shortest way along the gradient, in learning rates"""
    largest: Float = Field(4.0, gt=0, le=1_000_000)
    """longest way along the gradient, in learning rates"""
    points: Int = Field(8, ge=2, le=1000)
    """ways from the shortest to the longest, evenly spaced"""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.smallest >= self.largest:
            raise ValueError(f"smallest must lie below largest, found {self.smallest:g} and {self.largest:g}")
        return self


class CostSchedule(ProbeSchedule):
    """Schedule of `cost`, and how often each item is timed."""

    repeats: Int = Field(3, ge=1, le=1000)
    """times that each item is timed; the median counts"""


class InvarianceSchedule(ProbeSchedule):
    """Schedule of `invariance`, and the factor on the weights."""

    factor: Float = Field(10.0, gt=0)
    """factor on the weights of a layer"""


def _or_off(section: type[ProbeSchedule]) -> BeforeValidator:
    """Let `probes.activations: off` stand for a schedule without any time to look."""

    def off(value: object) -> object:
        return {} if value is False or value in ("off", "no", "none") else value

    return BeforeValidator(off, json_schema_input_type=section | Literal["off", "no", "none", False])


Schedule = Annotated[ProbeSchedule, _or_off(ProbeSchedule)]
EvaluationModes = Annotated[EvaluationModesSchedule, _or_off(EvaluationModesSchedule)]
Coupling = Annotated[CouplingSchedule, _or_off(CouplingSchedule)]
CovariateShift = Annotated[CovariateShiftSchedule, _or_off(CovariateShiftSchedule)]
Landscape = Annotated[LandscapeSchedule, _or_off(LandscapeSchedule)]
Cost = Annotated[CostSchedule, _or_off(CostSchedule)]
Invariance = Annotated[InvarianceSchedule, _or_off(InvarianceSchedule)]


class ProbesConfig(Section):
    """Measurements inside the network while it trains. A probe changes nothing in the training."""

    activations: Schedule = ProbeSchedule(every=100)
    """outputs of each item: mean, std, percentiles, dead and saturated fraction, effective rank"""
    gradients: Schedule = ProbeSchedule(every=100)
    """gradient norms, in the whole and by layer, against the weights, and of the first layer to the last"""
    updates: Schedule = ProbeSchedule(every=100)
    """how far a step moves each layer's weights, their norm, and the effective learning rate"""
    norm_state: Schedule = ProbeSchedule(every=100)
    """gamma and beta, running against batch statistics, and where eps dominates"""
    histograms: Schedule = ProbeSchedule(every=500)
    """histograms of activations and gradients, in TensorBoard only"""
    evaluation_modes: EvaluationModes = EvaluationModesSchedule()
    """loss and accuracy with running, batch, recomputed and single-example statistics"""
    coupling: Coupling = CouplingSchedule()
    """how much an example's logits move when only its companions in the batch change"""
    covariate_shift: CovariateShift = CovariateShiftSchedule()
    """drift of each layer's inputs, and of its gradient when the layers below take their step"""
    landscape: Landscape = LandscapeSchedule()
    """loss, gradient predictiveness and smoothness along the gradient"""
    cost: Cost = CostSchedule()
    """time that norms, layers and activations take, forward and backward, and peak memory"""
    invariance: Invariance = InvarianceSchedule()
    """change of the function and of a layer's gradient when the layer's weights are scaled"""

    def schedules(self) -> dict[str, ProbeSchedule]:
        """Return the schedule of each probe by its name, those that never look left out."""
        return {name: schedule for name, schedule in self if not schedule.off}
