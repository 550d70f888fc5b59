"""What the section `data` takes and refuses."""

import pytest
from pydantic import ValidationError

from bnexp.config.data_section import DataConfig

REFUSED = {
    "a folder without its path": ({"dataset": "image_folder"}, "image_folder needs data.path"),
    "an npz without its path": ({"dataset": "npz"}, "npz needs data.path"),
    "a path of a named set": ({"dataset": "mnist", "path": "x"}, "data.path goes with .* found mnist"),
    "a size of arrays": ({"dataset": "npz", "path": "x", "image_size": [8, 8]}, "data.image_size goes with"),
    "broken images of arrays": ({"dataset": "npz", "path": "x", "skip_broken": True}, "data.skip_broken goes with"),
    "an eps of nothing": ({"dataset": "mnist", "whiten_eps": 0.1}, "data.whiten_eps goes with .* standardize"),
    "an eps of 0": ({"dataset": "mnist", "preprocess": "zca_whiten", "whiten_eps": 0}, "greater than 0"),
    "a size of 0": ({"dataset": "image_folder", "path": "x", "image_size": [0, 8]}, "greater than or equal to 1"),
    "one side": ({"dataset": "image_folder", "path": "x", "image_size": [8]}, "image_size"),
    "an unknown preprocessing": ({"dataset": "mnist", "preprocess": "whiten"}, "preprocess"),
    "an unknown augmentation": ({"dataset": "mnist", "augment": "flip"}, "augment"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_go_together_is_refused(kind):
    values, message = REFUSED[kind]
    with pytest.raises(ValidationError, match=message):
        DataConfig.model_validate(values)


def test_today_as_before_by_default():
    data = DataConfig(dataset="mnist")
    assert (data.preprocess, data.augment, data.whitens) == ("standardize", "none", False)


def test_a_whitening_and_a_folder_take_their_options():
    data = DataConfig(
        dataset="image_folder", path="x", image_size=[32, 48], skip_broken=True, preprocess="pca_whiten", whiten_eps=0.1
    )
    assert (data.image_size, data.whitens) == ((32, 48), True)
