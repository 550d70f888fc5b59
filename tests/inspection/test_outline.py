"""The outline that `bnexp check` shows: a row per item with its shape, parameters and why its bias was left out."""

from itertools import pairwise

import pytest
import torch

from bnexp.config.items import NORM_NAMES
from bnexp.config.layout import layout_of
from bnexp.config.model import CnnConfig, MlpConfig, ResnetConfig
from bnexp.config.schema import PlainInit
from bnexp.inspection.outline import OutlineRow, outline
from bnexp.measure.recorder import outputs_of
from bnexp.models.build import build_model, leaves, without_numbers

SHAPE, CLASSES = (2, 3, 3), 4  # 18 inputs
CANCELS = "no bias: bn subtracts the mean of each feature, a bias cancels"
OFF = "no bias: model.bias is false"


def mlp(block, hidden=(10, 8), bias="auto"):
    return layout_of(MlpConfig(arch="mlp", hidden=hidden, block=block, bias=bias), SHAPE, CLASSES)


def outline_of(block, hidden=(10, 8), bias="auto"):
    layout = mlp(block, hidden, bias)
    return outline(build_model(layout, PlainInit(), seed=0), layout, bias)


def test_rows_give_names_shapes_parameters_and_notes():
    assert outline_of("linear -> bn -> relu") == [
        OutlineRow("block1.linear", (10,), 18 * 10, CANCELS),
        OutlineRow("block1.bn", (10,), 2 * 10, ""),
        OutlineRow("block1.relu", (10,), 0, ""),
        OutlineRow("block2.linear", (8,), 10 * 8, CANCELS),
        OutlineRow("block2.bn", (8,), 2 * 8, ""),
        OutlineRow("block2.relu", (8,), 0, ""),
        OutlineRow("head", (CLASSES,), 8 * CLASSES + CLASSES, ""),
    ]


def test_a_bias_cancelled_by_the_next_block_is_noted_and_the_last_one_is_not():
    notes = {row.name: row.note for row in outline_of("bn -> relu -> linear")}
    assert notes["block1.linear"] == CANCELS
    assert notes["block2.linear"] == ""


def test_a_bias_switched_off_is_noted_as_such():
    rows = outline_of("linear -> ln -> relu", bias=False)
    assert [row.note for row in rows if row.name.endswith("linear")] == [OFF, OFF]
    before_bn = outline_of("linear -> bn -> relu", bias=False)
    assert before_bn[0].note == OFF


def test_the_note_names_the_norm_as_the_network_does():
    rows = outline_of("linear -> bn -> linear -> bn", hidden=(6,))
    assert rows[0].note.startswith("no bias: bn1 ")
    assert rows[2].note.startswith("no bias: bn2 ")


@pytest.mark.parametrize("hidden", [(7,), (5, 9), (6, 6, 6)])
@pytest.mark.parametrize(
    ("block", "norms", "biases"), [("linear -> relu", 0, 1), ("linear -> bn", 1, 0), ("linear -> ln", 1, 1)]
)
def test_the_parameters_add_up_to_the_formula(block, norms, biases, hidden):
    layout = mlp(block, hidden)
    network = build_model(layout, PlainInit(), seed=0)
    widths = [18, *hidden]
    weights = sum(before * after for before, after in pairwise(widths))
    total = weights + (biases + 2 * norms) * sum(hidden) + (hidden[-1] + 1) * CLASSES
    assert sum(row.parameters for row in outline(network, layout)) == total
    assert sum(parameter.numel() for parameter in network.parameters()) == total


@pytest.mark.parametrize("norm", [name for name in NORM_NAMES if name != "none"])
def test_a_network_without_numbers_has_the_outline_of_the_real_one(norm):
    block = f"conv(weight_norm=true) -> {norm} -> relu -> dropout"
    layout = layout_of(CnnConfig(arch="cnn", stages=[[8], [8]], block=block), (3, 8, 8), CLASSES)
    bare, network = without_numbers(layout), build_model(layout, PlainInit(), seed=0)
    assert outline(bare, layout) == outline(network, layout)
    assert all(parameter.is_meta for parameter in bare.parameters())
    assert [(row.name, row.shape) for row in outline(bare, layout)] == computed(network, (3, 8, 8))


def computed(network, shape):
    """Return the name and shape of what each item gives out in a real forward pass, in the order of computation."""
    with torch.no_grad():
        outputs = outputs_of(leaves(network), lambda: network.eval()(torch.rand(2, *shape)))
    return [(name, tuple(output.shape[1:])) for name, output in outputs.items()]


FAMILIES = {"mlp": MlpConfig, "cnn": CnnConfig, "resnet": ResnetConfig}
BRANCH = "conv -> bn -> relu -> dropout -> conv -> bn -> add -> tlu"
NETWORKS = {
    "mlp": {"arch": "mlp", "hidden": (7, 5), "block": "linear -> bn -> tlu -> dropout"},
    "max pooling": {"arch": "cnn", "stages": [[4, 6], [5]], "block": "conv -> bn -> relu"},
    "average pooling, flat head": {
        **{"arch": "cnn", "stages": [4, 6], "blocks": 2, "pool": "avg", "head": "flatten"},
        "block": "conv(kernel=5) -> relu -> ln",
    },
    "strides": {"arch": "cnn", "stages": [[4], [6, 6]], "pool": "stride", "block": "bn -> relu -> conv(stride=2)"},
    "two layers": {"arch": "cnn", "stages": [[4], [6]], "block": "conv -> conv(kernel=1, stride=2) -> gn(groups=2)"},
    "padded shortcuts": {"arch": "resnet", "stages": (1, 2), "width": 4, "block": BRANCH},
    "projections": {"arch": "resnet", "stages": (2, 1), "width": 4, "shortcut": "projection", "block": BRANCH},
    "pre-activation": {"arch": "resnet", "depth": 8, "width": 4, "block": "bn -> relu -> conv -> bn -> conv -> add"},
    "skip gain": {"arch": "resnet", "stages": (1, 1), "width": 4, "skip_gain": True, "block": BRANCH},
    "zero gamma": {"arch": "resnet", "stages": (1, 1), "width": 4, "zero_gamma": True, "block": BRANCH},
}


@pytest.mark.parametrize("side", [20, 17])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_layout_has_the_items_and_shapes_of_a_real_forward_pass(name, side):
    model, shape = FAMILIES[NETWORKS[name]["arch"]](**NETWORKS[name]), (3, side, side + 1)
    layout = layout_of(model, shape, CLASSES)
    network = build_model(layout, PlainInit(), seed=0)
    rows = outline(network, layout)
    assert [(row.name, row.shape) for row in rows] == computed(network, shape)
    assert sum(row.parameters for row in rows) == sum(parameter.numel() for parameter in network.parameters())


def test_the_outline_of_a_network_that_no_machine_holds_takes_no_memory():
    layout = layout_of(MlpConfig(arch="mlp", hidden=(100_000, 100_000), block="linear -> bn -> relu"), SHAPE, CLASSES)
    total = 18 * 100_000 + 100_000**2 + 4 * 100_000 + 100_000 * CLASSES + CLASSES
    assert sum(row.parameters for row in outline(without_numbers(layout), layout)) == total
