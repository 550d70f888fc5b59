"""What a config's dataset holds, without loading it."""

from pathlib import Path

import pytest

from bnexp.config.data_section import DATASETS, SyntheticData, data_config
from bnexp.data.sources.facts import dataset_info
from bnexp.errors import ConfigError

NOWHERE = Path("/does/not/exist")


@pytest.mark.parametrize("name", DATASETS)
def test_a_named_dataset_has_its_own_size_without_a_look_at_the_disk(name):
    assert dataset_info(data_config(name), NOWHERE) == DATASETS[name]


def test_a_synthetic_dataset_has_the_size_that_is_asked_for():
    data = SyntheticData(dataset="synthetic", synthetic={"classes": 3, "shape": [3, 8, 9], "size": 999})
    info = dataset_info(data, NOWHERE)
    assert (info.classes, info.shape, info.train_examples, info.test_examples) == (3, (3, 8, 9), 999, 199)


def test_more_features_than_can_be_whitened_are_refused_with_the_numbers():
    def described(side):
        synthetic = {"shape": [3, side, side]}
        return SyntheticData(dataset="synthetic", preprocess="zca_whiten", synthetic=synthetic)

    assert dataset_info(described(64), NOWHERE).shape == (3, 64, 64)
    with pytest.raises(ConfigError, match=r"zca_whiten: 3 x 65 x 65 = 12,675 features .* 1\.3 GB; .* at most 12,288"):
        dataset_info(described(65), NOWHERE)
