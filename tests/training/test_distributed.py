"""Several processes that divide every batch, held against one process that has the whole batch."""

import contextlib
import copy
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bnexp.blueprint import draw
from bnexp.config.block import parse_item
from bnexp.config.schema import Config
from bnexp.errors import ConfigError
from bnexp.measure.restore import streams_of
from bnexp.models.dropout import Dropout
from bnexp.norms.registry import build_norm
from bnexp.training.distributed import DividedStep, pass_in_parts, refuse_indivisible
from bnexp.training.optimizer import LossScaler
from bnexp.training.world import World
from pairs import found_by_both

pytestmark = pytest.mark.xdist_group("pairs")
NORMS = ["none", "ln", "sync_bn", "bn"]
SHAPES = {"features": (6,), "maps": (3, 2, 2)}
CASES = list(itertools.product(NORMS, SHAPES, ["float64", "float32"]))
TOLERANCE = {"float64": 1e-6, "float32": 1e-5}


def network_of(norm: str, shape: str, dtype: str) -> tuple[nn.Module, nn.Module]:
    """Return a network with a norm in its middle, and the norm."""
    torch.manual_seed(3)
    size = SHAPES[shape]
    layer: nn.Module = nn.Linear(6, 6) if len(size) == 1 else nn.Conv2d(3, 3, 3, padding=1)
    middle = nn.Identity() if norm == "none" else build_norm(parse_item(norm), size)
    network = nn.Sequential(layer, middle, nn.Tanh(), nn.Flatten(), nn.Linear(math.prod(size), 4))
    return network.to(getattr(torch, dtype)), middle


def batches_of(shape: str, dtype: str) -> list[tuple[Tensor, Tensor]]:
    """Return two batches of sizes that two processes cannot divide evenly, far from mean 0."""
    generator = torch.Generator().manual_seed(4)
    return [
        (
            1
            + torch.randn(examples, *SHAPES[shape], generator=generator, dtype=torch.float64).to(getattr(torch, dtype)),
            torch.randint(4, (examples,), generator=generator),
        )
        for examples in (7, 5)
    ]


def figures_of(network: nn.Module, logits: Tensor, loss: float) -> dict[str, Tensor]:
    gradients = {f"gradient {name}": parameter.grad for name, parameter in network.named_parameters()}
    return {
        **{name: gradient.detach().double() for name, gradient in gradients.items() if gradient is not None},
        **{name: buffer.double() for name, buffer in network.named_buffers()},
        "logits": logits.detach().double(),
        "loss": torch.tensor(loss, dtype=torch.float64),
    }


def divided(world: World, norm: str, shape: str, dtype: str) -> dict[str, Tensor]:
    """Return what a step of two batches finds, each divided between the processes."""
    network, middle = network_of(norm, shape, dtype)
    step = DividedStep(
        network,
        network,
        torch.optim.SGD(network.parameters(), lr=0.0),
        LossScaler("fp32", torch.device("cpu")),
        contextlib.nullcontext(),
        world=world,
        norms=[middle] if norm == "bn" else [],
    )
    (x, y), last = batches_of(shape, dtype)
    step.accumulate(x, y, of=12)
    logits, _, share = step.gradients(*last)
    loss, zero = world.agreed(share.item(), 0.0)
    assert zero == 0
    found = figures_of(network, logits, loss)
    step.update()
    return {**found, **{name: buffer.double() for name, buffer in network.named_buffers()}}


def whole(norm: str, shape: str, dtype: str) -> dict[str, Tensor]:
    """Return the same of one process, by torch's own layers alone."""
    network, _ = network_of("bn" if norm == "sync_bn" else norm, shape, dtype)
    batches, losses, outputs = batches_of(shape, dtype), [], []
    for x, y in batches:
        logits = network(x).float()
        losses.append(cross_entropy(logits, y, reduction="sum") / 12)
        outputs.append(logits)
    torch.stack(losses).sum().backward()
    return figures_of(network, torch.cat(outputs), sum(loss.item() for loss in losses))


def of_all(world: World) -> dict[str, Any]:
    """Return what is found in one of two processes."""
    found: dict[str, Any] = {str(case): divided(world, *case) for case in CASES}
    found["loss"] = world.agreed(math.inf if world.rank else 1.0, 0.0)
    found["statistics"] = world.agreed(1.0, math.nan if world.rank else 0.0)
    taken: list[int] = []
    stops = world.stop_together(lambda: 15 * world.rank, taken.append)
    found["stops before the next step is judged"] = stops()
    world.agreed(0.0, 0.0)
    found["stops"], found["taken"] = stops(), taken
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return found_by_both(tmp_path_factory.mktemp("pair"), of_all)


def distances(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    assert found.keys() == expected.keys()
    return {name: float((value - found[name]).abs().max()) for name, value in expected.items()}


@pytest.mark.parametrize("case", [case for case in CASES if case[0] != "bn"], ids=" ".join)
def test_gradients_and_statistics_are_those_of_the_whole_batch(
    both: list[dict[str, Any]], case: tuple[str, ...]
) -> None:
    expected = whole(*case)
    for found in both:
        assert max(distances(found[str(case)], expected).values()) < TOLERANCE[case[2]]


@pytest.mark.parametrize("shape", SHAPES)
def test_bn_takes_the_statistics_of_each_part_and_keeps_those_of_process_0(
    both: list[dict[str, Any]], shape: str
) -> None:
    case = ("bn", shape, "float64")
    first, second = (found[str(case)] for found in both)
    apart = distances(first, whole(*case))
    assert min(apart[name] for name in ("gradient 0.weight", "1.running_mean", "1.running_var", "loss")) > 1e-3
    # By hand: each process's part through the same network.
    network, _ = network_of(*case)
    other = copy.deepcopy(network)
    total = 0.0
    for x, y in batches_of(shape, "float64"):
        cut = len(x) // 2
        for part, own in ((slice(0, cut), network), (slice(cut, None), other)):
            loss = cross_entropy(own(x[part]).float(), y[part], reduction="sum") / 12
            loss.backward()
            total += loss.item()
    for name, parameter in network.named_parameters():
        gradient = parameter.grad + other.get_parameter(name).grad
        torch.testing.assert_close(first[f"gradient {name}"], gradient, atol=1e-6, rtol=1e-6)
    for name, buffer in network.named_buffers():
        torch.testing.assert_close(first[name], buffer.double())
        torch.testing.assert_close(second[name], buffer.double())
    assert float(first["loss"]) == pytest.approx(total, rel=1e-6)


def test_what_one_process_finds_all_decide_by(both: list[dict[str, Any]]) -> None:
    for found in both:
        assert found["loss"] == (math.inf, 0.0)
        assert math.isnan(found["statistics"][1])
        assert not found["stops before the next step is judged"]
        assert found["stops"]
        assert found["taken"] == [15]


def test_parts_cover_a_batch_and_differ_by_one_example_at_most() -> None:
    for size, examples in itertools.product((1, 2, 3, 4), range(1, 13)):
        world = World(0, size, 0)
        parts = [range(examples)[world.part_of(examples, rank)] for rank in range(size)]
        assert [number for part in parts for number in part] == list(range(examples))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["bn", "ghost_bn(size=2)", "batch_renorm", "noisy_bn", "vn"])
def test_a_whole_batch_passes_as_its_parts_do_in_a_step(text: str) -> None:
    torch.manual_seed(0)
    world, x = World(0, 2, 0), torch.randn(9, 3, 2, 2)
    norms = [build_norm(parse_item(text), (3, 2, 2)) for _ in range(3)]
    pass_in_parts(norms[0], world)
    outputs = []
    for norm, rank in zip(norms[1:], (0, 1), strict=True):  # as each process has it
        part = world.part_of(len(x), rank)
        for stream in streams_of(norm).values():
            stream.part = (part.start, len(x))
        outputs.append(norm(x[part]))
    assert torch.equal(norms[0](x), torch.cat(outputs))
    for name, buffer in norms[0].named_buffers():
        assert torch.equal(buffer, norms[1].get_buffer(name)), name
    for stream, other in zip(streams_of(norms[0]).values(), streams_of(norms[1]).values(), strict=True):
        assert torch.equal(stream.get_state(), other.get_state())
    whole_batch = build_norm(parse_item(text), (3, 2, 2))
    norms[0].in_parts = False
    for stream in (*streams_of(norms[0]).values(), *streams_of(whole_batch).values()):
        stream.set_state(None)
    for norm in (norms[0], whole_batch):
        for buffer, fresh in zip(norm.buffers(), build_norm(parse_item(text), (3, 2, 2)).buffers(), strict=True):
            buffer.copy_(fresh)
    assert torch.equal(norms[0](x), whole_batch(x))


def test_dropout_of_the_parts_is_that_of_the_whole_batch() -> None:
    x, world, masks = torch.ones(7, 5), World(0, 2, 0), []
    for rank in range(2):
        dropout, part = Dropout(0.5, seed=1), world.part_of(7, rank)
        dropout.stream.part = (part.start, 7)
        masks.append(dropout(x[part]))
    assert torch.equal(torch.cat(masks), Dropout(0.5, seed=1)(x))


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        (
            {"data": {"batch_size": 1}, "model": {"norm": "ln"}},
            "data.batch_size 1: 2 processes take a part each; expected",
        ),
        (
            {"data": {"batch_size": 29}},
            "the last batch of each epoch: 3: .* of which bn needs 2 examples or more; expected",
        ),
        ({"training": {"compile": True}}, "training.compile: several processes train without it; expected false"),
        ({"training": {"graph": "on"}}, "training.graph on: several processes train without it; expected auto or off"),
        (
            {"model": {"norm": "ghost_bn(size=7)"}},
            r"data.batch_size 16 with ghost_bn\(size=7\): of the part .* 1 example",
        ),
    ],
)
def test_what_two_processes_cannot_divide_is_refused(
    make_config: Callable[..., Config], sections: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        refuse_indivisible(draw(make_config(**sections), Path("data")), 2)


@pytest.mark.parametrize(("word", "device"), [("auto", "cpu"), ("cpu", "cpu"), ("cuda", "cuda")])
def test_each_process_takes_a_device_of_its_own(word: str, device: str) -> None:
    if torch.cuda.is_available() and word != "cpu":
        device = "cuda:1"
    assert World(1, 2, 1).device_word(word) == device
    with pytest.raises(ConfigError, match="--device cuda:0: 2 processes cannot share it; expected cuda"):
        World(1, 2, 1).device_word("cuda:0")
