"""What a config's dataset holds, without loading it."""

from pathlib import Path

import pytest

from bnexp.config.data_section import DataConfig
from bnexp.config.datasets import DATASETS
from bnexp.sources.info import dataset_info

NOWHERE = Path("/does/not/exist")


@pytest.mark.parametrize("name", DATASETS)
def test_a_named_dataset_has_its_own_size_without_a_look_at_the_disk(name):
    assert dataset_info(DataConfig(dataset=name), NOWHERE) == DATASETS[name]


def test_a_synthetic_dataset_has_the_size_that_is_asked_for():
    data = DataConfig(dataset="synthetic", synthetic={"classes": 3, "shape": [3, 8, 9], "size": 999})
    info = dataset_info(data, NOWHERE)
    assert (info.classes, info.shape, info.train_examples, info.test_examples) == (3, (3, 8, 9), 999, 199)
