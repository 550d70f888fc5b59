"""The lesson `shift`: internal covariate shift of a small network while it trains, by two measures.

Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167, named it and gave it as the reason for batch normalization.
Santurkar et al. 2018, https://arxiv.org/abs/1805.11604, measured it by gradients, injected noise after batch norm, and
disputed that reason; Bjorck et al. 2018, https://arxiv.org/abs/1806.02375, have the larger learning rates as theirs.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.nn import functional

from bnexp.document.lesson import Experiment, Heading, Lesson, Lines, Part, Table, Text
from bnexp.document.numerals import decimal
from bnexp.lessons.request import Request
from bnexp.lessons.shifting_network import (
    ARMS,
    BATCH_SIZE,
    BN,
    FEATURES,
    HIDDEN,
    LAST,
    LEARNING_RATE,
    NOISE,
    NONE,
    STEPS,
    WATCHED,
    WIDTH,
    Arm,
    Task,
    Trained,
    draw,
    movement,
    train,
)

PERCENTILES = (15, 50, 85)
"""Those of figure 1 of Ioffe & Szegedy 2015."""


def _bn_of_torch(z: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return functional.batch_norm(z, None, None, gamma, beta, training=True)


def lesson(request: Request) -> Lesson:
    """Return the lesson on a network and a task drawn from the seed."""
    task = draw(request.seed)
    trained = {name: train(task, arm) for name, arm in ARMS.items()}
    return Lesson(
        "shift",
        "inputs move, and less with batch norm; whether it helps for that reason is disputed",
        [
            _setting(),
            *_percentiles(trained),
            *_movement(trained),
            *_gradients(trained),
            *_noise(trained),
            _against_torch(task, trained[BN]),
        ],
        _experiment(),
    )


def _setting() -> Text:
    return Text(
        f"A network of {HIDDEN} hidden layers of {WIDTH} tanh units learns to tell two classes apart, from {FEATURES} "
        f"features. It takes {STEPS} steps of gradient descent, with batches of {BATCH_SIZE} and the learning rate "
        f"{LEARNING_RATE}; once without normalization, once with batch norm before each tanh. Both start from the same "
        f"weights and see the same batches. After each step, the same {WATCHED} examples are sent through the network, "
        "and the last hidden layer is watched.",
        {"learning_rate": LEARNING_RATE},
    )


def _percentiles(trained: Mapping[str, Trained]) -> list[Part]:
    steps = list(range(STEPS + 1))
    unit = {name: [z[:, 0] for z in trained[name].before_tanh] for name in (NONE, BN)}
    percentiles = {
        f"{name}, {percent} %": [z.quantile(percent / 100).item() for z in values]
        for name, values in unit.items()
        for percent in PERCENTILES
    }
    shown = {name: values for name, values in percentiles.items() if "50" not in name}
    rows = []
    for step in range(0, STEPS + 1, 10):
        cells = [
            value
            for values in unit.values()
            for value in (values[step].mean().item(), values[step].std(correction=0).item())
        ]
        rows.append((f"{step}", [*cells, trained[NONE].losses[step], trained[BN].losses[step]]))
    _, beta, gamma = (one[..., 0] for one in trained[BN].parameters[LAST])
    mean, std = rows[-1][1][2], rows[-1][1][3]
    return [
        Heading("1. The input of one tanh"),
        Lines(
            "percentiles", "one unit of the last hidden layer: percentiles of what its tanh sees", "step", steps, shown
        ),
        Table(
            "unit",
            "the same unit, and the loss",
            [f"mean, {NONE}", f"std, {NONE}", f"mean, {BN}", f"std, {BN}", f"loss, {NONE}", f"loss, {BN}"],
            rows,
            corner="step",
        ),
        Text(
            "Ioffe & Szegedy 2015 show this picture, for a sigmoid: with batch norm the curves are steadier. At this "
            "place they have to be: over any batch the mean is beta and the standard deviation gamma (but for eps), "
            f"two parameters. After {STEPS} steps, the mean is {decimal(mean)} and beta {decimal(beta.item())}, the "
            f"standard deviation {decimal(std)} and gamma {decimal(gamma.item())}. It is what batch norm does, and not "
            "yet a finding on how the network learns.",
            {"beta": beta.item(), "gamma": gamma.item(), "all_percentiles": percentiles},
        ),
    ]


def _movement(trained: Mapping[str, Trained]) -> list[Part]:
    moved = {name: (movement(trained[name].before_tanh), movement(trained[name].below)) for name in (NONE, BN)}
    (_, without), (_, with_bn) = moved.values()
    more, less = (NONE, BN) if without > with_bn else (BN, NONE)
    ratio = max(without, with_bn) / min(without, with_bn)
    return [
        Heading("2. The inputs of the layer"),
        Text(
            "What the layer itself sees is the output of the layers below. How far do the means of these "
            f"{WIDTH} features move? At each step by |mean - mean before| / std before, here summed over {STEPS} steps "
            "and averaged over the features:"
        ),
        Table(
            "movement",
            "movement in standard deviations, of the last hidden layer",
            ["what its tanh sees", "what the layer sees"],
            [(name, list(two)) for name, two in moved.items()],
            corner="arm",
        ),
        Text(
            f"They move in both networks, with `{more}` {decimal(ratio, 1)} times as far as with `{less}`. (The layers "
            "below have a batch norm of their own, which holds what this layer sees.)",
            {"movement_ratio": ratio},
        ),
    ]


def _gradients(trained: Mapping[str, Trained]) -> list[Part]:
    cosines = {name: _mean(trained[name].cosines) for name in (NONE, BN)}
    distances = {name: _mean(trained[name].distances) for name in (NONE, BN)}
    return [
        Heading("3. What the movement does to the gradient"),
        Text(
            "Santurkar et al. 2018 ask what the movement means for the step that the layer is about to take. They "
            "compare two gradients of its parameters, on the same batch: G, and G' after the layers below have taken "
            "their step and nothing else has. If the layers below disturbed nothing, the cosine of the two would be 1 "
            "and their distance 0."
        ),
        Table(
            "gradients",
            "cosine of G and G', mean over the steps, and their distance",
            ["steps 1 to 10", f"{STEPS - 9} to {STEPS}", f"all {STEPS}", "|G - G'| / |G|"],
            [
                (name, [_mean(one[:10]), _mean(one[-10:]), cosines[name], distances[name]])
                for name, one in ((name, trained[name].cosines) for name in (NONE, BN))
            ],
            corner="arm",
        ),
        Text(
            f"{_by_gradients(cosines, distances)} Ask again with --seed 1, 2, 3, which "
            "draw other weights and other examples: the answer can change.",
            {"cosines": {name: trained[name].cosines for name in (NONE, BN)}},
        ),
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _by_gradients(cosines: Mapping[str, float], distances: Mapping[str, float]) -> str:
    """Say in which arm the gradients shift more."""
    closer, nearer = cosines[BN] > cosines[NONE], distances[BN] < distances[NONE]
    if closer != nearer:
        return "The two figures do not agree on which arm has the larger shift here."
    return f"By both figures, the gradients shift {'less' if closer else 'more'} with batch norm here."


def _noise(trained: Mapping[str, Trained]) -> list[Part]:
    moved = {name: movement(one.below) for name, one in trained.items()}
    ends = {name: one.losses[-1] for name, one in trained.items()}
    by_movement, by_loss = sorted(moved, key=moved.__getitem__), sorted(ends, key=ends.__getitem__)
    agree = by_movement == by_loss
    return [
        Heading("4. More movement on purpose"),
        Text(
            "Santurkar et al. 2018 also put noise after batch norm: each unit's values are scaled and shifted, by "
            f"other numbers at each step (here within {NOISE} of 1 and of 0), so that the next layer's inputs move "
            "all the time. The loss is measured with the noise."
        ),
        Table(
            "noise",
            "three arms",
            ["movement", "cosine of G, G'", "loss at the start", f"loss after {STEPS} steps"],
            [(name, [moved[name], _mean(one.cosines), one.losses[0], ends[name]]) for name, one in trained.items()],
            corner="arm",
        ),
        Text(
            f"From the least movement to the most: {_in_order(by_movement)}. From the lowest loss to the highest: "
            f"{_in_order(by_loss)}. "
            + (
                "The orders are the same here, which one draw may give by chance."
                if agree
                else "The orders differ: in this network, how far the inputs move does not settle how well it learns."
            ),
            {"noise_within": NOISE},
        ),
        Text(
            "Ioffe & Szegedy 2015 gave the smaller movement as the reason why batch norm speeds training up. Later "
            "work disputes that. Santurkar et al. 2018 found the shift of gradients similar or worse with batch norm, "
            "and that noise after it does not take its gain away; they see the reason in a smoother loss. Bjorck et "
            "al. 2018 see it in the larger learning rates that it allows. One small "
            f"network, over {STEPS} steps and at one learning rate, decides none of this."
        ),
    ]


def _in_order(names: Sequence[str]) -> str:
    return "; ".join(f"`{name}`" for name in names)


def _against_torch(task: Task, trained: Trained) -> Text:
    """Train once more with torch's own batch normalization and say how far the losses are apart."""
    again = train(task, Arm(_bn_of_torch))
    difference = max(abs(one - other) for one, other in zip(trained.losses, again.losses, strict=True))
    return Text(
        "Trained with torch's own batch normalization in place of the formula, the network has the same losses at all "
        f"steps, up to {difference:.1e}.",
        {"difference_to_torch": difference},
    )


def _experiment() -> Experiment:
    probe = "--set probes.covariate_shift.every=9"
    return Experiment(
        (
            f"bnexp train configs/demo.yaml {probe} --set model.norm=none --name no",
            f"bnexp train configs/demo.yaml {probe} --set model.norm=bn --name bn",
            "bnexp train configs/demo.yaml --set model.norm=noisy_bn --name noisy",
            "bnexp compare no bn noisy",
            "bnexp board",
        ),
        "The probe measures both shifts in a network of sigmoids on digits. On the board, `input_shift` is smaller "
        "with bn, and `gradient_shift` larger; yet bn learns faster. `noisy_bn`, whose inputs move most of all, learns "
        "about as fast as bn.",
    )
