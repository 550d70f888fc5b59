"""The event file, read back with TensorBoard's own readers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader, LegacyEventFileLoader
from tensorboard.plugins.hparams import metadata
from tensorboard.util.tensor_util import make_ndarray

from bnexp.measure.tally import counts_of, tally
from bnexp.runs.rows import BINS
from bnexp.session.board import TensorBoardWriter, histogram
from effort import examples


@pytest.fixture
def write(tmp_path):
    """Return a function that lets a writer be used, closes it, and gives the one event file."""

    def use(*calls):
        writer = TensorBoardWriter(tmp_path)
        for call in calls:
            call(writer)
        writer.close()
        (path,) = tmp_path.iterdir()
        assert path.name.startswith("events.out.tfevents.")
        return str(path)

    return use


def counted(values):
    return counts_of(tally(torch.from_numpy(values)).tolist())


def accumulated(path):
    accumulator = EventAccumulator(path, size_guidance={"scalars": 0, "histograms": 0})
    accumulator.Reload()
    return accumulator


def events_with_values(path):
    return [event for event in LegacyEventFileLoader(path).Load() if event.summary.value]


def draw(size, dtype=np.float32):
    return np.random.default_rng(0).normal(3, 2, size).astype(dtype)


def test_scalars_come_back_with_their_steps(write):
    path = write(lambda w: [w.scalars(step, {"loss/train": step / 4, "lr": 0.5}) for step in (1, 5, 9)])
    accumulator = accumulated(path)
    assert accumulator.Tags()["scalars"] == ["loss/train", "lr"]
    assert [(event.step, event.value) for event in accumulator.Scalars("loss/train")] == [
        (1, 0.25),
        (5, 1.25),
        (9, 2.25),
    ]
    assert [event.value for event in accumulator.Scalars("lr")] == [0.5] * 3


def test_scalars_are_rounded_to_float32_and_no_further(write):
    value = accumulated(write(lambda w: w.scalars(1, {"a": 0.1}))).Scalars("a")[0].value
    assert value == float(np.float32(0.1))


def test_scalars_that_are_not_finite_stay_what_they_are(write):
    path = write(lambda w: w.scalars(1, {"a": math.nan, "b": math.inf, "c": -math.inf}))
    accumulator = accumulated(path)
    assert math.isnan(accumulator.Scalars("a")[0].value)
    assert accumulator.Scalars("b")[0].value == math.inf
    assert accumulator.Scalars("c")[0].value == -math.inf


def test_all_scalars_of_a_step_are_one_event_and_none_are_none(write):
    path = write(
        lambda w: w.scalars(1, {f"name{number}": 0.5 for number in range(50)}),
        lambda w: w.scalars(2, {}),
        lambda w: w.histograms(3, {}),
    )
    (event,) = events_with_values(path)
    assert (event.step, len(event.summary.value)) == (1, 50)


def test_a_histogram_comes_back_as_numpy_counts_it(write):
    values = draw((40, 25))
    path = write(lambda w: w.histograms(7, {"activation/block1.linear": counted(values)}))
    (event,) = accumulated(path).Histograms("activation/block1.linear")
    doubles = values.astype(np.float64)
    counts, edges = np.histogram(doubles, bins=BINS)
    found = event.histogram_value
    assert event.step == 7
    assert (found.min, found.max, found.num) == (doubles.min(), doubles.max(), 1000)
    assert found.sum == pytest.approx(doubles.sum())
    assert found.sum_squares == pytest.approx((doubles**2).sum())
    assert found.bucket == [0, *counts]
    assert found.bucket_limit == pytest.approx(list(edges))


def test_the_histogram_page_shows_numpys_buckets(write):
    # What the page draws: rows of left edge, right edge and count, migrated by TensorBoard from the event.
    values = draw(500)
    path = write(lambda w: w.histograms(1, {"a": counted(values)}))
    (value,) = (value for event in EventFileLoader(path).Load() for value in event.summary.value)
    left, right, shown = make_ndarray(value.tensor).T
    counts, edges = np.histogram(values.astype(np.float64), bins=BINS)
    np.testing.assert_array_equal(shown, counts)
    np.testing.assert_allclose(left, edges[:-1], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(right, edges[1:], rtol=1e-6, atol=1e-6)


def test_values_that_are_not_finite_are_counted_and_left_out(write):
    values = np.array([1, math.nan, 2, math.inf, -math.inf, 4], dtype=np.float32)
    finite = np.array([1, 2, 4], dtype=np.float32)
    path = write(lambda w: w.histograms(3, dict(zip("abc", map(counted, (values, finite, values[1:2])), strict=True))))
    accumulator = accumulated(path)
    assert accumulator.Tags()["histograms"] == ["a", "b"]
    assert accumulator.Histograms("a")[0].histogram_value == accumulator.Histograms("b")[0].histogram_value
    assert accumulator.Tags()["scalars"] == ["non_finite/a", "non_finite/c"]
    assert [(event.step, event.value) for event in accumulator.Scalars("non_finite/a")] == [(3, 3)]
    assert [event.value for event in accumulator.Scalars("non_finite/c")] == [1]


def test_a_histogram_of_nothing_is_left_out(write):
    path = write(lambda w: w.histograms(1, {"a": counted(np.empty(0, dtype=np.float32))}))
    assert events_with_values(path) == []


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 3e38, 1e-45])
def test_equal_values_are_one_bucket(value):
    found = histogram(counted(np.full((4, 3), value, dtype=np.float32)))
    assert list(found.bucket) == [0, 12]
    assert found.bucket_limit[0] == found.min == found.max == np.float32(value)
    assert found.bucket_limit[1] > found.bucket_limit[0]


def test_neighbours_in_float32_find_their_bins():
    # numpy refuses 64 bins between two float32 that are next to each other: "Too many bins for data range".
    one = np.float32(1)
    values = np.array([one, one, np.nextafter(one, np.float32(2))], dtype=np.float32)
    found = histogram(counted(values))
    assert (found.bucket[1], found.bucket[-1], sum(found.bucket)) == (2, 1, 3)


finite_float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(deadline=None, max_examples=examples(200), database=None, derandomize=True)
@given(arrays.arrays(np.float32, st.integers(1, 30), elements=finite_float32))
def test_whatever_the_values_every_one_is_counted_between_rising_edges(values):
    found = histogram(counted(values))
    edges = np.array(found.bucket_limit)
    assert sum(found.bucket) == found.num == len(values)
    assert found.bucket[0] == 0
    assert len(found.bucket) == len(edges)
    assert (np.diff(edges) > 0).all()
    assert edges[0] == found.min == values.min()
    assert edges[-1] >= found.max == values.max()
    doubles = values.astype(np.float64)
    assert found.sum == pytest.approx(math.fsum(doubles), rel=1e-12, abs=1e-12 * np.abs(doubles).sum())
    assert found.sum_squares == pytest.approx(math.fsum(doubles**2), rel=1e-12)
    # The counts up to an edge that is well between two values are the number of values below it.
    total = np.cumsum(found.bucket)
    for edge, below in zip(edges[1:-1], total[1:-1], strict=True):
        if np.abs(doubles - edge).min() > 1e-9 * np.abs(doubles).max():
            assert below == (doubles < edge).sum()


def test_hyperparameters_lie_in_the_same_file_with_their_metrics(write):
    values = {"optimizer.lr": 0.1, "data.batch_size": 32, "model.norm": "bn", "data.drop_last": True}
    path = write(
        lambda w: w.hyperparameters(values, ["accuracy/val", "loss/test"]),
        lambda w: w.scalars(10, {"accuracy/val": 0.75}),
    )
    plugin_data = {
        value.tag: value.metadata.plugin_data.content
        for event in LegacyEventFileLoader(path).Load()
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == metadata.PLUGIN_NAME
    }
    assert set(plugin_data) == {metadata.EXPERIMENT_TAG, metadata.SESSION_START_INFO_TAG}
    experiment = metadata.parse_experiment_plugin_data(plugin_data[metadata.EXPERIMENT_TAG])
    assert [info.name.tag for info in experiment.metric_infos] == ["accuracy/val", "loss/test"]
    assert {info.name for info in experiment.hparam_infos} == set(values)
    start = metadata.parse_session_start_info_plugin_data(plugin_data[metadata.SESSION_START_INFO_TAG])
    found = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    assert found == values
    assert [event.value for event in accumulated(path).Scalars("accuracy/val")] == [0.75]


def test_a_row_of_the_end_that_was_written_before_a_kill_is_not_written_again(tmp_path):
    # All steps were done and the test row was written, but no summary.json: resuming scores the test set again.
    test = {"epoch": 2.0, "accuracy/test": 0.75}
    first = TensorBoardWriter(tmp_path)
    first.scalars(9, {"epoch": 2.0, "loss/val": 0.5})
    first.scalars(9, test)
    first.close()
    again = TensorBoardWriter(tmp_path)
    again.resume_after(9, ["accuracy/test", "loss/val"])
    again.scalars(9, {**test, "loss/test": 0.25})  # what a torn row lost is written now
    again.close()
    for loader in (EventFileLoader, LegacyEventFileLoader):
        events = [event for path in sorted(tmp_path.iterdir()) for event in loader(str(path)).Load()]
        tags = [value.tag for event in events for value in event.summary.value]
        assert [tags.count(tag) for tag in ("accuracy/test", "loss/val", "loss/test")] == [1, 1, 1]


def test_an_older_file_that_is_damaged_hides_nothing(tmp_path):
    (tmp_path / "events.out.tfevents.0000000001.host.1.0").write_bytes(b"no records" * 9)
    writer = TensorBoardWriter(tmp_path)
    writer.resume_after(3, [])
    writer.scalars(3, {"accuracy/test": 0.5})
    writer.close()
    newest = max(path for path in tmp_path.iterdir() if "0000000001" not in path.name)
    assert [event.value for event in accumulated(str(newest)).Scalars("accuracy/test")] == [0.5]
