import pytest

from bnexp.config.datasets import DATASET_NAMES, DATASET_SUMMARIES, DATASETS, OWN_DATASETS


def test_every_declared_dataset_is_described():
    assert set(DATASET_NAMES) == set(DATASETS) | set(OWN_DATASETS) == set(DATASET_SUMMARIES)


@pytest.mark.parametrize("name", DATASETS)
def test_shapes_and_sizes_can_be_trained_on(name):
    info = DATASETS[name]
    assert len(info.shape) == 3
    assert min(*info.shape, info.train_examples, info.test_examples) >= 1
    assert info.classes >= 2
    assert info.summary
