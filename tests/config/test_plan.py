import math
import re
from bisect import bisect_right
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bnexp.config.data_section import DATASETS, DatasetInfo
from bnexp.config.loading import check_values
from bnexp.config.plan import Plan, make_plan
from bnexp.data.sources.facts import dataset_info
from bnexp.errors import ConfigError

MLP = {"arch": "mlp", "hidden": [8], "block": "linear -> norm -> relu"}
CNN = {"arch": "cnn", "stages": [8], "block": "conv -> norm -> relu"}
RESNET = {"arch": "resnet", "depth": 8, "block": "conv -> norm -> add -> relu"}


def config_of(size=2_000, norm="ln", training=None, model=MLP, **data):
    """Check a config over `size` synthetic examples."""
    return check_values(
        {
            "name": "x",
            "data": {"dataset": "synthetic", "synthetic": {"size": size}, **data},
            "model": {**model, "norm": norm},
            "optimizer": {"name": "sgd"},
            "training": training or {"epochs": 3},
        },
        {},
        "made",
    )


def plan_of(**options):
    config = config_of(**options)
    return make_plan(config, dataset_info(config.data, Path("unused")))


def refusal(**options):
    with pytest.raises(ConfigError) as caught:
        plan_of(**options)
    return str(caught.value)


@given(
    size=st.integers(100, 100_000),
    batch_size=st.integers(2, 90),
    val_fraction=st.floats(0.05, 0.1),
    drop_last=st.booleans(),
    epochs=st.integers(1, 20),
    limit=st.none() | st.integers(90, 200_000),
)
def test_every_example_is_counted_once(size, batch_size, val_fraction, drop_last, epochs, limit):
    plan = plan_of(
        size=size,
        batch_size=batch_size,
        val_fraction=val_fraction,
        drop_last=drop_last,
        limit=limit,
        training={"epochs": epochs},
    )
    assert abs(plan.val_examples - size * val_fraction) <= 0.5
    assert plan.train_examples == min(size - plan.val_examples, limit or size)
    batches = [min(batch_size, plan.train_examples - start) for start in range(0, plan.train_examples, batch_size)]
    if drop_last:
        batches = [batch for batch in batches if batch == batch_size]
    assert plan.steps_per_epoch == len(batches)
    assert plan.last_batch == batches[-1]
    assert plan.total_steps == epochs * len(batches)
    assert plan.epoch_at(plan.total_steps) == epochs


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("accumulate", [1, 2, 4, 7, 100])
@pytest.mark.parametrize(("size", "batch_size"), [(100, 16), (100, 18), (100, 90)])
def test_the_steps_of_epochs_take_each_batch_once(size, batch_size, accumulate, drop_last):
    training = {"epochs": 3, "accumulate": accumulate}
    plan = plan_of(size=size, batch_size=batch_size, training=training, drop_last=drop_last)
    steps = range(1, plan.total_steps + 1)
    numbers = [number for step in steps for number in plan.batches_of(step)]
    assert numbers == list(range(3 * plan.batches_per_epoch))
    assert all(1 <= len(plan.batches_of(step)) <= accumulate for step in steps)
    used = plan.train_examples - (plan.train_examples % batch_size if drop_last else 0)
    assert sum(map(plan.examples_of, steps)) == 3 * used
    assert plan.epoch_at(plan.total_steps) == 3


def test_steps_count_by_themselves():
    assert plan_of(training={"steps": 17}).total_steps == 17


@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist", "mnist5k"])
def test_a_named_dataset_has_its_own_counts(values, dataset):
    values["data"] = {"dataset": dataset, "batch_size": 128}
    info = DATASETS[dataset]
    plan = make_plan(check_values(values, {}, "made"), info)
    assert plan.train_examples + plan.val_examples == info.train_examples
    assert plan.test_examples == info.test_examples
    assert plan.steps_per_epoch == math.ceil(plan.train_examples / 128)


# A batch of one example

# 2,000 examples, a tenth of them for validation: 1,800 = 7 * 257 + 1.
ONE_LEFT_OVER = {"size": 2_000, "batch_size": 257}


def test_a_last_batch_of_one_is_refused_for_batch_statistics_with_the_numbers():
    said = refusal(norm="bn", **ONE_LEFT_OVER)
    assert "1800 = 7 x 257 + 1" in said
    assert "with bn: one vector has no batch statistics" in said
    assert "data.drop_last=true" in said


@pytest.mark.parametrize("norm", ["none", "ln"])
def test_a_last_batch_of_one_is_no_trouble_without_batch_statistics(norm):
    assert plan_of(norm=norm, **ONE_LEFT_OVER).last_batch == 1


def test_a_last_batch_of_one_can_be_dropped():
    plan = plan_of(norm="bn", drop_last=True, **ONE_LEFT_OVER)
    assert (plan.steps_per_epoch, plan.last_batch) == (7, 257)


@pytest.mark.parametrize("drop_last", [True, False])
def test_batches_of_one_are_refused_for_batch_statistics(drop_last):
    assert "data.batch_size 1 with bn" in refusal(norm="bn", batch_size=1, drop_last=drop_last)
    assert plan_of(norm="ln", batch_size=1, drop_last=drop_last).steps_per_epoch == 1_800


@given(st.integers(10, 5_000), st.integers(1, 4_000), st.booleans())
def test_a_plan_never_meets_batch_statistics_with_one_example(size, batch_size, drop_last):
    try:
        plan = plan_of(norm="bn", size=size, batch_size=batch_size, drop_last=drop_last)
    except ConfigError:
        val_examples = round(size * 0.1)
        left = size - val_examples
        assert batch_size > left or batch_size == 1 or (left % batch_size == 1 and not drop_last)
    else:
        assert min(plan.batch_size, plan.last_batch) > 1


ALONE = [
    {"norm": "bn", "batch_size": 1},
    {"norm": "bn", **ONE_LEFT_OVER},
    {"norm": "ghost_bn(size=33)", "batch_size": 100},
]


@pytest.mark.parametrize("alone", ALONE)
def test_the_reason_is_that_of_vectors_or_of_images(alone):
    assert "its mean is itself and its variance 0; " in refusal(**alone)
    for images in (CNN, RESNET):
        said = refusal(model=images, **alone)
        assert "of its own positions: instance normalization, in training only; " in said
        assert "no batch statistics" not in said


# Ghost batches


def test_a_ghost_batch_larger_than_the_batch_is_refused():
    said = refusal(norm="ghost_bn(size=128)", batch_size=100)
    assert "data.batch_size 100 with ghost_bn(size=128)" in said
    assert "expected a size of at most 100, or bn" in said
    assert plan_of(norm="ghost_bn(size=100)", batch_size=100).batch_size == 100


def test_a_ghost_batch_of_one_is_refused_with_the_sum():
    said = refusal(norm="ghost_bn(size=33)", batch_size=100)
    assert "data.batch_size 100 with ghost_bn(size=33): 100 = 3 x 33 + 1" in said
    # 1,800 = 17 x 100 + 100, and 1,800 = 7 x 250 + 50 with 50 = 7 x 7 + 1.
    said = refusal(norm="ghost_bn(size=7)", batch_size=250)
    assert said.startswith("the last batch of each epoch: 50 with ghost_bn(size=7): 50 = 7 x 7 + 1")
    assert "data.drop_last=true" in said
    assert plan_of(norm="ghost_bn(size=7)", batch_size=250, drop_last=True).last_batch == 250


@given(st.integers(2, 300), st.integers(2, 300), st.booleans())
def test_a_plan_never_meets_a_ghost_batch_of_one_example(size, batch_size, drop_last):
    try:
        plan = plan_of(norm=f"ghost_bn(size={size})", batch_size=batch_size, drop_last=drop_last)
    except ConfigError:
        lasts = [1_800 % batch_size] if not drop_last else []
        assert size > batch_size or any(last % size == 1 or last == 1 for last in [batch_size, *lasts])
    else:
        assert all(batch % size != 1 for batch in (plan.batch_size, plan.last_batch))


# Sizes that cannot be


def test_a_batch_larger_than_the_training_set_is_refused_with_the_sum():
    assert "data.batch_size 1801 is larger than the training set of 1800 examples" in refusal(batch_size=1_801)
    said = refusal(batch_size=600, limit=500)
    assert "500 examples (2000 less 200 for validation, data.limit 500); expected at most 500" in said


@pytest.mark.parametrize(
    ("fraction", "left"), [(1e-9, "leaves 2000 to train on and 0"), (0.9999, "leaves 0 to train on")]
)
def test_a_split_with_an_empty_part_is_refused(fraction, left):
    assert left in refusal(val_fraction=fraction)


# Evaluations


def steps_of(plan):
    found = tuple(step for step in range(1, plan.total_steps + 1) if plan.evaluates_at(step))
    counts = [plan.evaluations_until(step) for step in range(plan.total_steps + 1)]
    assert counts == [bisect_right(found, step) for step in range(plan.total_steps + 1)]
    return found


def schedule(total_steps, steps_per_epoch, every):
    return steps_of(Plan(1, 1, 1, 1, 1, steps_per_epoch, total_steps, every))


@given(st.integers(1, 300), st.integers(1, 100), st.floats(1e-300, 1e300))
def test_evaluations_are_in_order_within_the_training_and_at_its_end(total_steps, steps_per_epoch, every):
    steps = schedule(total_steps, steps_per_epoch, every)
    assert list(steps) == sorted(set(steps))
    assert steps[-1] == total_steps
    assert steps[0] >= 1


@given(st.integers(1, 12), st.integers(1, 60), st.integers(1, 12))
def test_whole_epochs_are_evaluated_at_their_ends(epochs, steps_per_epoch, every):
    expected = {epoch * steps_per_epoch for epoch in range(every, epochs + 1, every)} | {epochs * steps_per_epoch}
    assert schedule(epochs * steps_per_epoch, steps_per_epoch, every) == tuple(sorted(expected))


@given(st.integers(1, 12), st.integers(1, 60), st.integers(1, 50))
def test_parts_of_an_epoch_are_as_many_as_asked_for_and_evenly_spread(epochs, steps_per_epoch, parts):
    assume(parts <= steps_per_epoch)
    steps = schedule(epochs * steps_per_epoch, steps_per_epoch, 1 / parts)
    assert len(steps) == epochs * parts
    distances = [second - first for first, second in zip((0, *steps), steps, strict=False)]
    assert max(distances) - min(distances) <= 1
    assert {epoch * steps_per_epoch for epoch in range(1, epochs + 1)} <= set(steps)


def test_more_evaluations_than_steps_are_one_for_each_step():
    assert schedule(20, 5, 1e-9) == tuple(range(1, 21))


def test_the_config_reaches_the_plan():
    plan = plan_of(batch_size=100, training={"epochs": 3, "eval_every_epochs": 0.5})
    assert plan.steps_per_epoch == 18
    assert steps_of(plan) == (9, 18, 27, 36, 45, 54)
    assert plan.epoch_at(27) == 1.5


GHOST_TOO_LARGE = {"norm": "ghost_bn(size=128)", "batch_size": 100}


def test_every_refusal_names_a_key():
    for options in ({"batch_size": 1_801}, {"val_fraction": 1e-9}, {"norm": "bn", "batch_size": 1}, GHOST_TOO_LARGE):
        assert re.match(r"data\.\w+ ", refusal(**options))


def test_a_very_long_training_is_planned_at_once():
    plan = Plan(1, 1, 1, 1, 1, 10, 10**9, 1e-300)
    assert plan.evaluations_until(10**9) == 10**9
    assert plan.evaluates_at(123_456_789)


def test_a_validation_part_of_the_dataset_is_taken_whole_and_nothing_is_split_off():
    info = DatasetInfo("own", (1, 2, 2), 2, train_examples=100, test_examples=7, val_examples=30)
    plan = make_plan(config_of(val_fraction=0.5, batch_size=10), info)
    assert (plan.train_examples, plan.val_examples, plan.test_examples) == (100, 30, 7)
    with pytest.raises(ConfigError, match=r"101 is larger than the training set of 100 examples \(100\)"):
        make_plan(config_of(batch_size=101), info)
