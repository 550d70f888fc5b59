"""A look at a network outside its training: the moments of a step that is not taken."""

from collections.abc import Sequence

import torch
from torch.nn import functional

from bnexp.measure.subject import Look
from bnexp.measure.undisturbed import undisturbed
from bnexp.probes.probe import Probe
from bnexp.training.build import Experiment
from bnexp.training.optimizer import learning_rate


def look_once(run: Experiment, probes: Sequence[Probe], taken: int) -> dict[str, float]:
    """Return what probes see at the step that would come after `taken` steps; the network stays as it is.

    The batch and the learning rate are those of that step; after the last step of the plan, the rate of the last one.
    """
    lr = learning_rate(run.config.schedule, run.config.optimizer.lr, min(taken, run.plan.total_steps - 1), run.plan)
    look = Look(run.subject, taken + 1, lr, *run.batches.at(taken))
    run.network.train()
    with undisturbed(run.network):
        for probe in probes:
            probe.before(look)
        with run.precision:
            logits = run.network(look.x)
        run.scaler.backward(functional.cross_entropy(logits.float(), look.y))
        run.scaler.unscale(run.optimizer)
        readings = [probe.after_backward(look) for probe in probes]
    run.optimizer.zero_grad()
    readings += [probe.after_step(look) for probe in probes]
    scalars = {name: value for reading in readings for name, value in reading.scalars.items()}
    if not scalars:
        return {}
    return dict(zip(scalars, torch.stack([value.float() for value in scalars.values()]).tolist(), strict=True))
