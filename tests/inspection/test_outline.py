"""The outline that `bnexp check` shows: a row per item with its shape, parameters and why its bias was left out."""

from itertools import pairwise

import pytest
import torch

from bnexp.config.items import NORM_NAMES
from bnexp.config.layout import layout_of
from bnexp.config.model import CnnConfig, MlpConfig
from bnexp.config.schema import PlainInit
from bnexp.inspection.outline import OutlineRow, outline
from bnexp.models.build import build_model, without_numbers

SHAPE, CLASSES = (2, 3, 3), 4  # 18 inputs
CANCELS = "no bias: bn subtracts the mean of each feature, a bias cancels"
OFF = "no bias: model.bias is false"


def build(block, hidden=(10, 8), bias="auto"):
    model = MlpConfig(arch="mlp", hidden=hidden, block=block, bias=bias)
    return build_model(layout_of(model, SHAPE, CLASSES), PlainInit(), seed=0)


def test_rows_give_names_shapes_parameters_and_notes():
    assert outline(build("linear -> bn -> relu"), SHAPE) == [
        OutlineRow("block1.linear", (10,), 18 * 10, CANCELS),
        OutlineRow("block1.bn", (10,), 2 * 10, ""),
        OutlineRow("block1.relu", (10,), 0, ""),
        OutlineRow("block2.linear", (8,), 10 * 8, CANCELS),
        OutlineRow("block2.bn", (8,), 2 * 8, ""),
        OutlineRow("block2.relu", (8,), 0, ""),
        OutlineRow("head", (CLASSES,), 8 * CLASSES + CLASSES, ""),
    ]


def test_a_bias_cancelled_by_the_next_block_is_noted_and_the_last_one_is_not():
    notes = {row.name: row.note for row in outline(build("bn -> relu -> linear"), SHAPE)}
    assert notes["block1.linear"] == CANCELS
    assert notes["block2.linear"] == ""


def test_a_bias_switched_off_is_noted_as_such():
    rows = outline(build("linear -> ln -> relu", bias=False), SHAPE, bias=False)
    assert [row.note for row in rows if row.name.endswith("linear")] == [OFF, OFF]
    before_bn = outline(build("linear -> bn -> relu", bias=False), SHAPE, bias=False)
    assert before_bn[0].note == OFF


def test_the_note_names_the_norm_as_the_network_does():
    rows = outline(build("linear -> bn -> linear -> bn", hidden=(6,)), SHAPE)
    assert rows[0].note.startswith("no bias: bn1 ")
    assert rows[2].note.startswith("no bias: bn2 ")


@pytest.mark.parametrize("hidden", [(7,), (5, 9), (6, 6, 6)])
@pytest.mark.parametrize(
    ("block", "norms", "biases"), [("linear -> relu", 0, 1), ("linear -> bn", 1, 0), ("linear -> ln", 1, 1)]
)
def test_the_parameters_add_up_to_the_formula(block, norms, biases, hidden):
    network = build(block, hidden=hidden)
    widths = [18, *hidden]
    weights = sum(before * after for before, after in pairwise(widths))
    total = weights + (biases + 2 * norms) * sum(hidden) + (hidden[-1] + 1) * CLASSES
    assert sum(row.parameters for row in outline(network, SHAPE)) == total
    assert sum(parameter.numel() for parameter in network.parameters()) == total


@pytest.mark.parametrize("training", [True, False])
def test_looking_changes_nothing(training):
    network = build("linear -> bn -> relu -> dropout").train(training)
    before = {name: value.clone() for name, value in network.named_buffers()}
    outline(network, SHAPE)
    assert {module.training for module in network.modules()} == {training}
    for name, value in network.named_buffers():
        assert torch.equal(value, before[name]), name
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("norm", [name for name in NORM_NAMES if name != "none"])
def test_a_network_without_numbers_has_the_outline_of_the_real_one(norm):
    block = f"conv(weight_norm=true) -> {norm} -> relu -> dropout"
    layout = layout_of(CnnConfig(arch="cnn", stages=[[8], [8]], block=block), (3, 8, 8), CLASSES)
    bare = without_numbers(layout)
    assert outline(bare, (3, 8, 8)) == outline(build_model(layout, PlainInit(), seed=0), (3, 8, 8))
    assert all(parameter.is_meta for parameter in bare.parameters())


def test_the_outline_of_a_network_that_no_machine_holds_takes_no_memory():
    layout = layout_of(MlpConfig(arch="mlp", hidden=(100_000, 100_000), block="linear -> bn -> relu"), SHAPE, CLASSES)
    total = 18 * 100_000 + 100_000**2 + 4 * 100_000 + 100_000 * CLASSES + CLASSES
    assert sum(row.parameters for row in outline(without_numbers(layout), SHAPE)) == total
