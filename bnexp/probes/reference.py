"""The page about the probes: `python -m bnexp.probes.reference > docs/probes.md`."""

import inspect
import sys
import textwrap
from collections.abc import Iterable

from bnexp.config.probes_section import ProbeSchedule, ProbesConfig
from bnexp.config.reference import markdown_table
from bnexp.probes.probe import Figure, Probe
from bnexp.probes.registry import PROBES

_INTRODUCTION = """\
# The probes

A probe measures the inside of the network while it trains, and changes nothing in it: with any set of probes the
weights come out bit for bit the same.

*Generated from the probes by `make docs`; a test keeps it current.*

`probes:` in a config says which of them look, and when:

```yaml
probes:
  activations: {every: 20}               # steps 1, 20, 40, ...
  gradients: {per_decade: 10}            # log-spaced: 1, 2, 3, 4, 5, 6, 8, 10, 13, ...
  histograms: off
  coupling: {every_epochs: 1}            # after each epoch
  landscape: {at: [1, 100, 1000], points: 16}
```

Cheap probes look by default; the others cost more and are off until they have a schedule. The share of the time that
went into measuring is logged as `measuring_share/train`, and stands in `summary.json`. `every_epochs` looks at the last
step of an epoch, whose batch may be shorter than the others (`data.drop_last: true` leaves it out). Figures over the
batch, such as `effective_rank`, are then those of fewer examples. [config.md](config.md) explains every key.

`bnexp probe RUN` asks the stored weights of a finished run afterwards, with the batch and the learning rate of the step
that would come next. `bnexp probe RUN --probe classes` passes the test set through them instead: recall, precision and
the confusion matrix by class.

Every figure is called `quantity/where`, so that TensorBoard shows all layers of one quantity side by side; its page of
custom charts, which `bnexp board` opens, draws the most telling ones. Where a name has `<item>`, there is such a figure
for each item of the network, such as `activation_std/block1.relu`. A *layer* is a linear or convolutional item, the
head among them, and a *norm* an item that normalizes. In formulas W is the weight of a layer, and `|...|` a magnitude
or a Euclidean norm.
"""
_COLUMNS = ("figure", "meaning", "formula", "unit and range")


def probes_reference() -> str:
    """Return `docs/probes.md`: what each probe measures and when, and every figure that it gives."""
    defaults = ProbesConfig()
    sections = [
        f"## {name}\n\n{inspect.getdoc(probe)}\n\n{_when(probe, getattr(defaults, name))}\n\n{_figures(probe.figures)}"
        for name, probe in PROBES.items()
    ]
    return "\n".join([_INTRODUCTION, *sections])


def _when(probe: type[Probe], schedule: ProbeSchedule) -> str:
    """Return when a probe looks by default, and its own options."""
    when = "Off by default." if schedule.off else f"Looks every {schedule.every} steps by default."
    options = [key for key in type(schedule).model_fields if key not in ProbeSchedule.model_fields]
    if options:
        when += " Options: " + ", ".join(f"`{key}: {getattr(schedule, key)}`" for key in options) + "."
    if probe.needs_step:
        when += " It measures a step of the optimizer, so `bnexp probe` cannot ask it of stored weights."
    return textwrap.fill(when, 120, break_on_hyphens=False)


def _figures(figures: Iterable[Figure]) -> str:
    """Return a table of figures, without the columns that are empty for all of them."""
    rows = [
        (f"`{figure.name}`", figure.meaning, f"`{figure.formula}`" if figure.formula else "", figure.range)
        for figure in figures
    ]
    columns = [column for column in zip(_COLUMNS, *rows, strict=True) if any(column[1:])]
    head, *lines = zip(*columns, strict=True)
    return markdown_table(head, lines)


if __name__ == "__main__":
    sys.stdout.write(probes_reference())
