"""The section `data`: what it takes and refuses for each dataset, and the facts about datasets."""

import pytest

from bnexp.config.data_section import (
    DATASET_NAMES,
    DATASET_SUMMARIES,
    DATASETS,
    OWN_DATASETS,
    ImageFolderData,
    data_config,
)
from bnexp.config.loading import check_values, dump_config
from bnexp.errors import ConfigError

REFUSED = {
    "a folder without its path": ({"dataset": "image_folder"}, "data.path is missing: the folder"),
    "an npz without its path": ({"dataset": "npz"}, "data.path is missing: the file"),
    "an empty path": ({"dataset": "npz", "path": ""}, "data.path: expected the name of a folder or file"),
    "a path of a named set": ({"dataset": "mnist", "path": "x"}, "data.path.*image_folder or npz, and this is mnist"),
    "a size of arrays": ({"dataset": "npz", "path": "x", "image_size": [8, 8]}, "data.image_size.*: image_folder, and"),
    "broken images of arrays": ({"dataset": "npz", "path": "x", "skip_broken": True}, "data.skip_broken goes with"),
    "patterns of arrays": ({"dataset": "npz", "path": "x", "synthetic": {}}, "data.synthetic.*: synthetic, and this"),
    "an eps of nothing": ({"dataset": "mnist", "whiten_eps": 0.1}, "data.whiten_eps goes with .* standardize"),
    "an eps of 0": ({"dataset": "mnist", "preprocess": "zca_whiten", "whiten_eps": 0}, "whiten_eps: .* above 0"),
    "a size of 0": ({"dataset": "image_folder", "path": "x", "image_size": [0, 8]}, "image_size.0: .* at least 1"),
    "one side": ({"dataset": "image_folder", "path": "x", "image_size": [8]}, "image_size: expected a list of 2"),
    "an unknown preprocessing": ({"dataset": "mnist", "preprocess": "whiten"}, "data.preprocess"),
    "an unknown augmentation": ({"dataset": "mnist", "augment": "flip"}, "data.augment"),
    "no dataset": ({}, "data.dataset is missing; expected mnist, .* or npz"),
    "a set under another key": ({"name": "FashionMNIST"}, "in place of name it is dataset: fashion_mnist"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_go_together_is_refused(values, kind):
    values["data"], message = REFUSED[kind]
    with pytest.raises(ConfigError, match=message):
        check_values(values, {}, "made")


def test_today_as_before_by_default():
    data = data_config("mnist")
    assert (data.preprocess, data.augment, data.whitens) == ("standardize", "none", False)


def test_a_whitening_and_a_folder_take_their_options():
    data = data_config(
        "image_folder", path="x", image_size=[32, 48], skip_broken=True, preprocess="pca_whiten", whiten_eps=0.1
    )
    assert isinstance(data, ImageFolderData)
    assert (data.image_size, data.whitens) == ((32, 48), True)


LAST_KEYS = {
    "mnist": "  download: true\n  skip_broken: false\n",
    "npz": "  download: true\n  path: x\n  skip_broken: false\n",
    "image_folder": "  download: true\n  path: x\n  skip_broken: false\n",
    "synthetic": "  download: true\n  skip_broken: false\n  synthetic:\n    classes: 10\n",
}


@pytest.mark.parametrize("dataset", LAST_KEYS)
def test_resolved_configs_have_the_keys_that_they_always_had(values, dataset):
    """Arms of runs are told apart by these keys, so a key more or less would part old runs from new ones."""
    values["data"] = {"dataset": dataset, "skip_broken": False} | ({"path": "x"} if dataset in OWN_DATASETS else {})
    config = check_values(values, {}, "made")
    assert LAST_KEYS[dataset] in dump_config(config)
    assert check_values(config.model_dump(mode="json", exclude_none=True), {}, "made") == config


def test_every_declared_dataset_is_described():
    assert set(DATASET_NAMES) == set(DATASETS) | set(OWN_DATASETS) == set(DATASET_SUMMARIES)


@pytest.mark.parametrize("name", DATASETS)
def test_shapes_and_sizes_can_be_trained_on(name):
    info = DATASETS[name]
    assert len(info.shape) == 3
    assert min(*info.shape, info.train_examples, info.test_examples) >= 1
    assert info.classes >= 2
    assert info.summary
