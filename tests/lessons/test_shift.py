"""`shift`: the small network against torch's modules, and its measures against those of the probe."""

import itertools

import pytest
import torch
from torch import nn

from bnexp.document.terminal import to_text
from bnexp.lessons.request import LessonOptions, request_of
from bnexp.lessons.shift import (
    ARMS,
    BN,
    HIDDEN,
    LAST,
    LEARNING_RATE,
    NOISE,
    NONE,
    STEPS,
    WATCHED,
    WIDTH,
    Task,
    Trained,
    cosine,
    draw,
    lesson,
    movement,
    relative_distance,
    train,
)
from bnexp.probes import covariate_shift


@pytest.fixture(scope="module")
def task() -> Task:
    return draw(4)


@pytest.fixture(scope="module")
def trained(task: Task) -> dict[str, Trained]:
    return {name: train(task, ARMS[name]) for name in (NONE, BN)}


def network_of_torch(task: Task, arm: str) -> nn.Sequential:
    network = nn.Sequential().double()
    for number, weight in enumerate(task.weights):
        linear = nn.Linear(*weight.shape, bias=arm == NONE or number == HIDDEN, dtype=torch.float64)
        linear.weight.data = weight.T.clone()
        if linear.bias is not None:
            linear.bias.data.zero_()
        network.append(linear)
        if number < HIDDEN:
            network.extend(([nn.BatchNorm1d(WIDTH, dtype=torch.float64)] if arm == BN else []) + [nn.Tanh()])
    return network


@pytest.mark.parametrize("arm", [NONE, BN])
def test_it_trains_as_a_network_of_torch_does(task: Task, trained: dict[str, Trained], arm: str) -> None:
    network = network_of_torch(task, arm)
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE)

    def loss(examples: slice | torch.Tensor) -> torch.Tensor:
        return nn.functional.soft_margin_loss(network(task.x[examples])[:, 0], task.target[examples])

    losses = [loss(slice(WATCHED)).item()]
    for batch in task.batches:
        optimizer.zero_grad()
        loss(batch).backward()
        optimizer.step()
        losses.append(loss(slice(WATCHED)).item())
    assert trained[arm].losses == pytest.approx(losses, abs=1e-9)


def test_the_second_gradient_is_that_after_the_layers_below_alone_have_stepped(
    task: Task, trained: dict[str, Trained]
) -> None:
    network = network_of_torch(task, NONE)
    layers = [module for module in network if isinstance(module, nn.Linear)]

    def gradients() -> list[torch.Tensor]:
        network.zero_grad()
        batch = task.batches[0]
        nn.functional.soft_margin_loss(network(task.x[batch])[:, 0], task.target[batch]).backward()
        return [one.grad.clone() for layer in layers for one in layer.parameters()]

    before = gradients()
    below = [one for layer in layers[:LAST] for one in layer.parameters()]
    for one, by in zip(below, before, strict=False):
        one.data -= LEARNING_RATE * by
    mine = slice(len(below), len(below) + 2)
    first, second = before[mine], gradients()[mine]
    assert trained[NONE].cosines[0] == pytest.approx(covariate_shift.cosine(first, second).item(), abs=1e-9)
    assert trained[NONE].distances[0] == pytest.approx(relative_distance(first, second), abs=1e-9)


def test_movement_is_what_the_probe_calls_input_shift(trained: dict[str, Trained]) -> None:
    seen = [values.sort(dim=0).values for values in trained[NONE].below]
    shifts = [covariate_shift.input_shift(now, before).item() for before, now in itertools.pairwise(seen)]
    assert movement(trained[NONE].below) == pytest.approx(sum(shifts))
    assert len(seen) == STEPS + 1


def test_with_batch_norm_mean_and_std_before_the_tanh_are_beta_and_gamma(trained: dict[str, Trained]) -> None:
    _, beta, gamma = trained[BN].parameters[LAST]
    last = trained[BN].before_tanh[-1]
    torch.testing.assert_close(last.mean(dim=0), beta, rtol=0, atol=1e-9)
    torch.testing.assert_close(last.std(dim=0, correction=0), gamma.abs(), rtol=1e-3, atol=0)


def test_cosine_and_distance_of_simple_vectors() -> None:
    first, second = [torch.tensor([3.0]), torch.tensor([[0.0, 0]])], [torch.tensor([0.0]), torch.tensor([[0, 4.0]])]
    assert cosine(first, second) == 0
    assert cosine(first, [2 * one for one in first]) == 1
    assert relative_distance(first, second) == pytest.approx(5 / 3)


def test_classes_are_balanced_and_noise_stays_within_its_bound(task: Task) -> None:
    assert task.target.sum() == 0
    assert task.noise.abs().max() <= NOISE


@pytest.mark.parametrize("seed", [0, 1, 2, pytest.param(3, marks=pytest.mark.long)])
def test_what_is_said_of_the_arms_follows_from_the_numbers(seed: int) -> None:
    one = lesson(request_of("shift", LessonOptions(seed=seed)))
    numbers, text = one.numbers, " ".join(to_text(one).split())
    assert numbers["difference_to_torch"] < 1e-9
    # The title says that inputs move less with batch norm.
    (without, with_bn) = (row["what the layer sees"] for row in numbers["movement"])
    assert 0 < with_bn < without
    assert f"with `no norm` {without / with_bn:.1f} times as far as with `bn`" in text
    plain, normalized = numbers["gradients"]
    signs = {
        normalized[f"all {STEPS}"] > plain[f"all {STEPS}"],
        normalized["|G - G'| / |G|"] < plain["|G - G'| / |G|"],
    }
    if seed in (1, 2, 3):
        assert normalized[f"all {STEPS}"] < plain[f"all {STEPS}"]  # "in all three of those draws"
    said = {True: "the gradients shift less with", False: "the gradients shift more with"}
    assert (said[signs.pop()] if len(signs) == 1 else "do not agree") in text
    by = {
        key: [row["arm"] for row in sorted(numbers["noise"], key=lambda row, key=key: row[key])]
        for key in ("movement", f"loss after {STEPS} steps")
    }
    for order in by.values():
        assert "; ".join(f"`{name}`" for name in order) + "." in text
    assert ("The orders differ" in text) == (len({tuple(order) for order in by.values()}) == 2)
    assert max(row["loss at the start"] for row in numbers["noise"]) > 1.5 * max(
        row[f"loss after {STEPS} steps"] for row in numbers["noise"]
    )
