"""`hand-written`: its layers against torch's own, what is held out, and what the lesson claims, for two seeds."""

import pytest
import torch
from torch import nn

from bnexp.lessons.hand_written import (
    BATCH_SIZE,
    HAND,
    MENDED,
    MOMENTUM,
    TORCH,
    HandWritten,
    lesson,
    load_digits,
    make_network,
    recalibrated,
    score,
)
from bnexp.lessons.request import LessonOptions, request_of


@pytest.mark.parametrize("seed", [0, 1])
def test_what_the_lesson_claims(seed: int) -> None:
    numbers = lesson(request_of("hand-written", LessonOptions(seed=seed))).numbers
    assert numbers["ratio_of_outputs"] == pytest.approx(numbers["expected_ratio"], abs=1e-4)
    assert numbers["loss_apart_mended"] < 1e-12
    assert 1e-6 < numbers["loss_apart_by_hand"] < 0.1
    losses = numbers["losses"]
    assert all(row[MENDED] == pytest.approx(row[TORCH], abs=1e-12) for row in losses)
    assert losses[-1][HAND] < losses[0][HAND] / 2
    assert numbers["running_std_by_hand"] < numbers["root_of_running_var"]
    rows = {row["statistics"]: row for row in numbers["inference"]}
    as_kept, anew = rows["torch's own, as kept"], rows["torch's own, taken anew over all training examples"]
    assert anew["loss"] < as_kept["loss"]
    assert anew["accuracy"] > as_kept["accuracy"]


FEATURES = 6


def batches(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [3 * torch.randn(BATCH_SIZE, FEATURES, dtype=torch.float64, generator=generator) + 1 for _ in range(count)]


def test_mended_is_torchs_own_in_training_backward_and_at_inference() -> None:
    ours, theirs = HandWritten(FEATURES, mended=True), nn.BatchNorm1d(FEATURES, momentum=MOMENTUM, dtype=torch.float64)
    for x in batches(5):
        leaves = [x.clone().requires_grad_() for _ in range(2)]
        outputs = [module(leaf) for module, leaf in zip((ours, theirs), leaves, strict=True)]
        torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-12)
        gradients = [
            torch.autograd.grad((y**3).sum(), [leaf, *module.parameters()])
            for y, leaf, module in zip(outputs, leaves, (ours, theirs), strict=True)
        ]
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name])
    x = batches(6)[-1]
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=0, atol=1e-12)


def test_by_hand_is_its_formula_in_training_and_at_inference() -> None:
    layer = HandWritten(FEATURES)
    mean, std = torch.zeros(FEATURES, dtype=torch.float64), torch.ones(FEATURES, dtype=torch.float64)
    for x in batches(5):
        y = layer(x)
        torch.testing.assert_close(y, (x - x.mean(0)) / x.std(0), rtol=0, atol=1e-12)
        mean, std = 0.999 * mean + 0.001 * x.mean(0), 0.999 * std + 0.001 * x.std(0)
    torch.testing.assert_close(layer.running_mean, mean)
    torch.testing.assert_close(layer.running_std, std)
    kept = {name: value.clone() for name, value in layer.state_dict().items()}
    x = batches(6)[-1]
    torch.testing.assert_close(layer.eval()(x), (x - mean) / std, rtol=0, atol=1e-12)
    for name, value in layer.state_dict().items():
        torch.testing.assert_close(value, kept[name], rtol=0, atol=0)


def test_the_digits_held_out_are_not_trained_on_and_the_inputs_are_standardized_by_the_rest() -> None:
    digits = load_digits()
    assert len(digits.train) == len(digits.train_labels) == 3000
    assert len(digits.held_out) == len(digits.held_out_labels) == 1000
    assert digits.train.mean().item() == pytest.approx(0, abs=1e-6)
    assert digits.train.std(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert abs(digits.held_out.mean().item()) > 1e-5
    assert (torch.cdist(digits.held_out[:50], digits.train).min(dim=1).values > 0).all()


def test_recalibrated_statistics_are_those_of_all_examples_and_scoring_changes_nothing() -> None:
    digits = load_digits()
    network = make_network(nn.BatchNorm1d(100, dtype=torch.float64), seed=0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    mended = recalibrated(network, digits)
    hidden = network[0](digits.train)
    torch.testing.assert_close(mended[1].running_mean, hidden.mean(0))
    torch.testing.assert_close(mended[1].running_var, hidden.var(0))
    loss, accuracy = score(network, digits, training=True)
    assert 0 <= accuracy <= 1
    assert loss == pytest.approx(torch.tensor(10.0).log().item(), abs=0.1)  # an even guess, before any training
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
