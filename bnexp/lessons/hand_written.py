"""The lesson `hand-written`: batch normalization in a few lines of one's own, trained beside torch's.

A network of one hidden layer, tanh, 100 wide, in batches of 32, its running averages kept by hand with the momentum
0.001, and the standard deviation kept in place of the variance.
"""

from collections.abc import Mapping

import torch
from torch import nn

from bnexp.document.lesson import Experiment, Heading, Lesson, Lines, Part, Table, Text
from bnexp.document.numerals import Cell, decimal
from bnexp.lessons.digit_network import (
    BATCH_SIZE,
    HELD_OUT,
    MOMENTUM,
    STEPS,
    WIDTH,
    Digits,
    HandWritten,
    Mended,
    Trained,
    load_digits,
    make_network,
    recalibrated,
    score,
    train,
)
from bnexp.lessons.request import Request

TORCH_MOMENTUM = 0.1
HAND, TORCH, MENDED = "by hand", "torch's own", "by hand, mended"


def lesson(request: Request) -> Lesson:
    """Return the lesson; three networks are trained from the same weights on the same batches.

    Raises:
        BnexpError: the digits, which come with a package, are not there.
    """
    digits = load_digits()
    norms: dict[str, nn.Module] = {
        HAND: HandWritten(WIDTH),
        TORCH: nn.BatchNorm1d(WIDTH, momentum=MOMENTUM, dtype=torch.float64),
        MENDED: Mended(WIDTH),
    }
    arms = {name: train(make_network(norm, request.seed), digits, request.seed) for name, norm in norms.items()}
    return Lesson(
        "hand-written",
        "it trains like torch's own, and differs where one does not look: at the root, and at inference",
        [*_written(), *_first_batch(arms), *_training(arms), *_kept(arms), *_inference(arms, digits)],
        Experiment(
            (
                "bnexp train configs/demo.yaml --set 'model.norm=bn(momentum=0.001)' --set training.epochs=2 --name "
                "slow",
                "bnexp train configs/demo.yaml --set 'model.norm=bn(momentum=0.1)' --set training.epochs=2 --name "
                "usual",
                "bnexp compare slow usual",
            ),
            "The training loss is the same to the last digit, for running averages have no part in training. The "
            "validation accuracy is not: after so few steps the slow averages still hold most of their start.",
        ),
    )


def _written() -> list[Part]:
    rows: list[tuple[str, list[Cell]]] = [
        ("divides by", ["std, unbiased: B - 1", "sqrt(var + eps), biased: B", "as torch"]),
        ("eps", ["none", "1e-5", "1e-5"]),
        ("keeps", ["the mean of stds", "the mean of unbiased variances", "as torch"]),
        ("momentum", [f"{MOMENTUM:g}"] * 3),
        ("bias before it", ["none"] * 3),
    ]
    return [
        Text(
            f"linear -> bn -> tanh -> linear, {WIDTH} wide, in batches of {BATCH_SIZE}, on real digits (mnist5k), "
            "three times from the same weights on the same batches. `by hand` is how batch normalization is often "
            "written for a first network: a mean, a std, two running averages. `by hand, mended` is the same with "
            "what torch does.",
            {"width": WIDTH, "batch_size": BATCH_SIZE, "momentum": MOMENTUM},
        ),
        Table("ways", "three ways to write it", (HAND, TORCH, MENDED), rows),
    ]


def _first_batch(arms: Mapping[str, Trained]) -> list[Part]:
    by_hand, torchs = arms[HAND].first_output, arms[TORCH].first_output
    ratio = (by_hand.norm() / torchs.norm()).item()
    expected = ((BATCH_SIZE - 1) / BATCH_SIZE) ** 0.5
    return [
        Heading("1. The first batch"),
        Text(
            f"Divided by the larger, unbiased deviation, the output by hand is {decimal(ratio, 6)} of torch's: "
            f"sqrt((B - 1) / B) = {decimal(expected, 6)}, but for eps. The learned gain makes up for that.",
            {"ratio_of_outputs": ratio, "expected_ratio": expected},
        ),
    ]


def _training(arms: Mapping[str, Trained]) -> list[Part]:
    steps = (1, 10, 30, 60, STEPS)
    rows = [(str(step), [arm.losses[step - 1] for arm in arms.values()]) for step in steps]
    apart = {
        name: max(abs(a - b) for a, b in zip(arms[name].losses, arms[TORCH].losses, strict=True))
        for name in (HAND, MENDED)
    }
    window = 10
    smooth = {
        name: [sum(arm.losses[at - window : at]) / window for at in range(window, STEPS + 1, window)]
        for name, arm in arms.items()
        if name != MENDED
    }
    return [
        Heading("2. Training"),
        Table("losses", "loss of the batch at a step", tuple(arms), rows, corner="step"),
        Lines("loss_curves", f"loss, mean of {window} steps", "step", list(range(window, STEPS + 1, window)), smooth),
        Text(
            f"Over {STEPS} steps the loss by hand is never further than {decimal(apart[HAND])} from torch's: it "
            f"trains as well. Mended it is torch's own to {apart[MENDED]:.1e}: rounding. So much for training; what "
            "it kept on the way is another matter.",
            {"steps": STEPS, "loss_apart_by_hand": apart[HAND], "loss_apart_mended": apart[MENDED]},
        ),
    ]


def _kept(arms: Mapping[str, Trained]) -> list[Part]:
    """Compare what was kept, and that with what it should be."""
    share = (1 - MOMENTUM) ** STEPS
    usual = (1 - TORCH_MOMENTUM) ** STEPS
    by_hand, torchs = (arms[name].network[1].state_dict() for name in (HAND, TORCH))
    kept_std = by_hand["running_std"].mean().item()
    kept_root = torchs["running_var"].sqrt().mean().item()
    return [
        Heading("3. What was kept for inference"),
        Text(
            f"A momentum of {MOMENTUM:g} remembers about {1 / MOMENTUM:,.0f} batches. After {STEPS} steps, (1 - "
            f"momentum)^{STEPS} = {decimal(share)} of the running averages is still the 0 and 1 that they began with; "
            f"with torch's default {TORCH_MOMENTUM:g} it would be {usual:.1e}. And a mean of stds is less than the "
            f"root of a mean of variances: {decimal(kept_std)} against {decimal(kept_root)}, over the {WIDTH} units.",
            {
                "share_of_the_start": share,
                "share_of_the_start_by_default": usual,
                "default_momentum": TORCH_MOMENTUM,
                "running_std_by_hand": kept_std,
                "root_of_running_var": kept_root,
            },
        ),
    ]


def _inference(arms: Mapping[str, Trained], digits: Digits) -> list[Part]:
    hand, torchs = arms[HAND].network, arms[TORCH].network
    scores = {
        "by hand, as kept": score(hand, digits, training=False),
        "torch's own, as kept": score(torchs, digits, training=False),
        "torch's own, taken anew over all training examples": score(
            recalibrated(torchs, digits), digits, training=False
        ),
        f"torch's own, of each batch of {BATCH_SIZE} (training mode)": score(torchs, digits, training=True),
    }
    best = min(loss for loss, _ in scores.values())
    as_kept = scores["torch's own, as kept"][0]
    return [
        Heading("4. Inference"),
        Table(
            "inference",
            f"{HELD_OUT:,} digits held out, by the statistics that are used",
            ("loss", "accuracy"),
            [(name, list(values)) for name, values in scores.items()],
            corner="statistics",
        ),
        Text(
            "The weights are the same in the last three rows; the statistics alone change the loss from "
            f"{decimal(as_kept)} to {decimal(best)}. Statistics that are too young are an error of the evaluation, "
            "not of the network: train longer, raise the momentum, or take them anew over the training set.",
            {"loss_as_kept": as_kept, "least_loss": best},
        ),
    ]
