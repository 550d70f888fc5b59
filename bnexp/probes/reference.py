"""The page about the probes: `python -m bnexp.probes.reference > docs/probes.md`."""

import inspect
import re
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
batch, such as `effective_rank`, are then those of fewer examples. With `training.accumulate` they are those of the last
batch of a step, and gradients those of all its batches. The own passes of `covariate_shift`, `landscape` and
`invariance` scale no loss: with fp16 a small gradient may come out as 0 there. [config.md](config.md) explains every
key.

`bnexp probe RUN` asks the stored weights of a finished run, with the batch and the learning rate of the step that would
come next; what measures a step of the optimizer it cannot ask. `bnexp probe RUN --probe classes` passes the test set
through them instead: recall, precision and the confusion matrix by class.

Every figure is called `quantity/where`, so that TensorBoard shows all layers of one quantity side by side; its page of
custom charts, which `bnexp board` opens, draws the most telling ones. Where a name has `<item>`, there is such a figure
for each item of the network, such as `activation_std/block1.relu`. A *layer* is a linear or convolutional item, the
head among them, and a *norm* an item that normalizes. In formulas W is the weight of a layer, and `|...|` a magnitude
or a Euclidean norm. Below each table stands whether arms that differ in their norm may be compared by a figure, at the
same step.
"""
_WITHOUT_A_PROBE = """
## Without a probe

| figure | meaning | unit and range |
| --- | --- | --- |
| `epoch` | epochs up to this step | 0 and up |
| `loss/train`, `accuracy/train` | mean over the examples since the last row, each at its own step | nats; 0 to 1 |
| `loss/val`, `accuracy/val` | of the whole validation part, in inference mode | nats; 0 to 1 |
| `loss/test`, `accuracy/test` | of the test set, with the final weights | nats; 0 to 1 |
| `loss/test_best`, `accuracy/test_best` | of the test set, with the weights that were best on `val` | nats; 0 to 1 |
| `loss/val_recomputed`, `accuracy/val_recomputed` | as `val`, with recomputed running statistics | nats; 0 to 1 |
| `loss/val_best_recomputed`, `accuracy/val_best_recomputed` | the same of the best weights | nats; 0 to 1 |
| `loss/test_recomputed`, `accuracy/test_recomputed` | as `test`, with recomputed running statistics | nats; 0 to 1 |
| `loss/test_best_recomputed`, `accuracy/test_best_recomputed` | the same of the best weights | nats; 0 to 1 |
| `loss/val_ema`, `accuracy/val_ema` | as `val`, with averaged weights (`training.ema`) | nats; 0 to 1 |
| `loss/val_best_ema`, `accuracy/val_best_ema` | with their average at the best step | nats; 0 to 1 |
| `loss/test_ema`, `accuracy/test_ema` | as `test`, with averaged weights | nats; 0 to 1 |
| `loss/test_best_ema`, `accuracy/test_best_ema` | with their average at the best step | nats; 0 to 1 |
| `loss/val_ema_recomputed`, `accuracy/val_ema_recomputed` | as `val_ema`, statistics recomputed | nats; 0 to 1 |
| `loss/val_best_ema_recomputed`, `accuracy/val_best_ema_recomputed` | the same of the best step | nats; 0 to 1 |
| `loss/test_ema_recomputed`, `accuracy/test_ema_recomputed` | as `test_ema`, statistics recomputed | nats; 0 to 1 |
| `loss/test_best_ema_recomputed`, `accuracy/test_best_ema_recomputed` | the same of the best step | nats; 0 to 1 |
| `learning_rate/optimizer` | learning rate of the step | above 0 |
| `loss_scale/optimizer` | factor on the loss, with fp16 | above 0 |
| `skipped_steps/optimizer` | steps so far whose loss or gradient was not finite, and that were skipped | 0 and up |
| `step_ms/train`, `examples_per_s/train` | time of a step, examples in a second; without measuring | ms; 1 / s |
| `measuring_share/train` | part of the time that went into probes | 0 to 1 |

Where classes are unequal, in the validation part or the test set, there is a balanced accuracy beside each accuracy of
theirs: the mean over the classes of the fraction that is answered right. Always to answer the largest class gives one
over the number of classes there. Unequal means that the largest class has over 1.5 times the examples of the smallest;
`meta.json` has the counts.

Running statistics are recomputed, at the end of a run that has some, over 5,000 training examples for the weights as
they are: they lag behind none ([evaluation_modes](#evaluation_modes)). Averaged weights have no running statistics of
their own: without `_recomputed` they are scored with those of the weights that were trained.

Arms may be compared by all of these, times on the same machine, with two exceptions. `loss/train` and `accuracy/train`
are of a network in training mode, with dropout and the statistics of batches where an arm has them; and the loss scale
is only about the range of fp16. What one run gives, another seed may not: `bnexp compare` takes several.
"""
_COLUMNS = ("figure", "meaning", "formula", "unit and range")


def probes_reference() -> str:
    """Return `docs/probes.md`: what each probe measures and when, and every figure that it gives."""
    defaults = ProbesConfig()
    sections = [
        f"## {name}\n\n{inspect.getdoc(probe)}\n\n{_when(probe, getattr(defaults, name))}\n\n{_figures(probe.figures)}"
        f"\n{_between_arms(probe.figures)}"
        for name, probe in PROBES.items()
    ]
    return "\n".join([_INTRODUCTION, *sections]) + _WITHOUT_A_PROBE


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


def _between_arms(figures: Iterable[Figure]) -> str:
    """Return whether arms may be compared by each figure, and what it does not tell; figures alike stand together."""
    alike = dict[tuple[str, str], list[str]]()
    for figure in figures:
        alike.setdefault((figure.comparable, figure.silent_on), []).append(f"`{figure.name}`")
    lines = ["Whether arms may be compared by it, and what it does not tell:", ""]
    for (comparable, silent_on), names in alike.items():
        answer = re.sub(r"^(yes|no)\b", r"**\1**", comparable)
        item = f"- {', '.join(names)}: {answer}. Does not tell {silent_on}."
        lines.append(textwrap.fill(item, 120, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(probes_reference())
