"""Which examples make a batch: a function of the seed and the step alone."""

import math
from itertools import chain
from pathlib import Path

import pytest
import torch

from bnexp.blueprint import draw
from bnexp.config.memory import keeps_inputs, memory_of
from bnexp.config.plan import make_plan
from bnexp.data.batches import TrainBatches
from bnexp.data.load import Dataset
from bnexp.data.parts import Part
from bnexp.data.preprocess import Affine
from bnexp.data.sources.facts import dataset_info
from bnexp.training.build import build

HALVED = Affine(torch.tensor(4 / 255), torch.tensor(-2.0))


def numbered_dataset(examples, offset=0):
    """Return a dataset whose labels are the numbers of the examples, and whose images say the same."""
    numbers = torch.arange(examples)
    train = Part((numbers % 256).to(torch.uint8).view(-1, 1, 1, 1), numbers + offset)
    return Dataset(train, train, train, HALVED)


@pytest.fixture
def plan_for(make_config):
    """Return a plan for so many training examples: the synthetic set of 100, less 10 for validation."""

    def plan(batch_size=16, limit=None, **data):
        config = make_config(data={"batch_size": batch_size, "limit": limit, **data})
        return make_plan(config, dataset_info(config.data, Path("unused")))

    return plan


def labels_of(batches, steps):
    return [batches.at(step)[1].tolist() for step in steps]


def test_every_example_comes_exactly_once_an_epoch_and_the_last_batch_is_the_rest(plan_for):
    plan = plan_for(16)
    batches = TrainBatches(numbered_dataset(90), plan, seed=0)
    assert plan.steps_per_epoch == 6
    for epoch in range(3):
        drawn = labels_of(batches, range(epoch * 6, epoch * 6 + 6))
        assert [len(batch) for batch in drawn] == [16] * 5 + [10]
        assert sorted(chain.from_iterable(drawn)) == list(range(90))


def test_dropping_the_last_batch_leaves_only_full_ones_and_other_examples_each_epoch(plan_for):
    plan = plan_for(16, drop_last=True)
    batches = TrainBatches(numbered_dataset(90), plan, seed=0)
    assert plan.steps_per_epoch == 5
    epochs = [labels_of(batches, range(epoch * 5, epoch * 5 + 5)) for epoch in range(2)]
    seen = [set(chain.from_iterable(drawn)) for drawn in epochs]
    assert [len(batch) for drawn in epochs for batch in drawn] == [16] * 10
    assert [len(examples) for examples in seen] == [80, 80]
    assert seen[0] != seen[1]


def test_any_step_can_be_taken_up(plan_for):
    plan, dataset = plan_for(16), numbered_dataset(90)
    in_order = labels_of(TrainBatches(dataset, plan, seed=3), range(18))
    jumping = TrainBatches(dataset, plan, seed=3)
    for step in (17, 0, 11, 12, 5, 6, 5):
        assert jumping.at(step)[1].tolist() == in_order[step]


def test_two_datasets_of_the_same_size_come_in_the_same_order_whatever_else_is_drawn(plan_for):
    first = TrainBatches(numbered_dataset(90), plan_for(16), seed=0)
    other = TrainBatches(numbered_dataset(90, offset=1000), plan_for(16), seed=0)
    for step in range(12):
        torch.rand(step)
        assert (other.at(step)[1] - 1000).tolist() == first.at(step)[1].tolist()


def test_the_batch_size_cuts_the_same_order_differently(plan_for):
    dataset = numbered_dataset(90)
    small = chain.from_iterable(labels_of(TrainBatches(dataset, plan_for(16), seed=0), range(6)))
    large = chain.from_iterable(labels_of(TrainBatches(dataset, plan_for(40), seed=0), range(3)))
    assert list(small) == list(large)


def test_epochs_and_seeds_come_in_different_orders(plan_for):
    plan, dataset = plan_for(90), numbered_dataset(90)
    orders = [tuple(TrainBatches(dataset, plan, seed).at(epoch)[1].tolist()) for seed in (0, 1) for epoch in range(3)]
    assert len(set(orders)) == 6


def test_an_order_is_not_the_order_of_the_set(plan_for):
    order = TrainBatches(numbered_dataset(90), plan_for(90), seed=0).at(0)[1]
    # The rank correlation of a random order is near 0, with a standard deviation of 1 / sqrt(89).
    correlation = torch.corrcoef(torch.stack([order.double(), torch.arange(90).double()]))[0, 1]
    assert abs(correlation.item()) < 5 / 89**0.5


def test_inputs_are_preprocessed_and_belong_to_their_labels(plan_for):
    inputs, labels = TrainBatches(numbered_dataset(90), plan_for(16), seed=0).at(2)
    assert inputs.shape == (16, 1, 1, 1)
    torch.testing.assert_close(inputs.flatten(), (labels / 255 - 0.5) / 0.25)


@pytest.mark.parametrize("preprocess", ["none", "scale", "center", "standardize"])
def test_inputs_prepared_once_are_those_of_each_batch_bit_for_bit(make_config, preprocess):
    data = {"dataset": "synthetic", "preprocess": preprocess, "synthetic": {"shape": [3, 5, 7], "size": 100}}
    run = build(draw(make_config(data=data), Path("unused")), data_dir=Path("unused"), device="cpu")
    ways = [TrainBatches(run.dataset, run.plan, seed=3, prepared=prepared) for prepared in (False, True)]
    for batch in range(run.plan.batches_per_epoch + 1):
        (x, y), (prepared_x, prepared_y) = (way.at(batch) for way in ways)
        assert torch.equal(x, prepared_x)
        assert torch.equal(y, prepared_y)
        assert x.stride() == prepared_x.stride()


def test_inputs_are_prepared_once_where_that_pays_and_changes_nothing(make_config):
    def prepared(epochs=8, **data):
        config = make_config(data=data, training={"epochs": epochs})
        blueprint = draw(config, Path("unused"))
        values = math.prod(blueprint.info.shape)
        kept = keeps_inputs(config, blueprint.plan, values)
        estimated = memory_of(config, blueprint.plan, blueprint.layout).dataset
        as_bytes = sum((values + 8) * getattr(blueprint.plan, f"{part}_examples") for part in ("train", "val", "test"))
        assert estimated - as_bytes == (4 * values * blueprint.plan.train_examples if kept else 0)
        assert build_is_prepared(blueprint) == kept
        return kept

    def build_is_prepared(blueprint):
        return build(blueprint, data_dir=Path("unused"), device="cpu").batches._prepared

    assert prepared()
    assert not prepared(epochs=7)
    assert not prepared(augment="shift")
    assert not prepared(preprocess="zca_whiten")


# Augmented


@pytest.mark.parametrize("augment", ["crop_flip", "shift"])
def test_augmentation_changes_training_images_only_and_no_label_or_order(make_config, augment):
    arms = [
        build(draw(make_config(data={"augment": name}), Path("unused")), data_dir=Path("unused"), device="cpu")
        for name in ("none", augment)
    ]
    (plain, labels), (changed, same_labels) = (run.batches.at(3) for run in arms)
    assert torch.equal(labels, same_labels)
    assert not torch.equal(plain, changed)
    for part in ("val", "test"):
        first, second = (getattr(run.dataset, part) for run in arms)
        assert torch.equal(arms[0].dataset.inputs(first.images), arms[1].dataset.inputs(second.images))


@pytest.mark.parametrize("augment", ["crop_flip", "shift"])
def test_arms_that_differ_in_their_network_see_the_same_augmented_batches(make_config, augment):
    data = {"augment": augment}
    models = [{}, {"norm": "ln", "hidden": [5]}]
    arms = [
        build(draw(make_config(data=data, model=model), Path("unused")), data_dir=Path("unused"), device="cpu")
        for model in models
    ]
    for step in (0, 4, 9):
        torch.rand(step)
        assert torch.equal(arms[0].batches.at(step)[0], arms[1].batches.at(step)[0])


def test_augmented_steps_can_be_taken_up_and_differ(plan_for):
    train = Part(torch.arange(90 * 64).remainder(251).to(torch.uint8).view(90, 1, 8, 8), torch.arange(90))
    dataset = Dataset(train, train, train, HALVED)
    in_order = TrainBatches(dataset, plan_for(90), 3, "crop_flip")
    batches = [in_order.at(step)[0] for step in range(6)]
    jumping = TrainBatches(dataset, plan_for(90), 3, "crop_flip")
    for step in (5, 0, 3, 5):
        assert torch.equal(jumping.at(step)[0], batches[step])
    assert len({batch[0].numpy().tobytes() for batch in batches}) == 6
