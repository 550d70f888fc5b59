"""The test set class by class: formulas in NumPy, and the network's own predictions."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.data.sources.class_names import _NAMES, class_names
from bnexp.errors import BnexpError
from bnexp.inspection import classes as module
from bnexp.inspection.classes import Confusion, confusion_counts, measure_classes
from bnexp.session.life import start
from bnexp.session.terms import Terms

HAND_MADE = Confusion(0, (), ((3, 1, 0, 0), (2, 8, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0)))
"""Four classes: the third is never recognized and nothing is taken for it, and the fourth has no examples."""


def test_a_case_made_by_hand() -> None:
    assert HAND_MADE.examples == 15
    assert HAND_MADE.accuracy == pytest.approx(11 / 15)
    assert [HAND_MADE.recall(label) for label in range(4)] == [0.75, 0.8, 0.0, None]
    assert [HAND_MADE.precision(label) for label in range(4)] == [0.5, pytest.approx(8 / 9), None, None]
    assert HAND_MADE.balanced_accuracy == pytest.approx((0.75 + 0.8 + 0.0) / 3)
    assert HAND_MADE.mistakes() == [(1, 0, 2), (0, 1, 1), (2, 0, 1)]


def test_counts_and_figures_are_those_of_the_definitions() -> None:
    generator = np.random.default_rng(1)
    labels, predicted = generator.integers(0, 7, 500), generator.integers(0, 7, 500)
    counts = confusion_counts(torch.from_numpy(labels), torch.from_numpy(predicted), 7)
    expected = np.array([[np.sum((labels == i) & (predicted == j)) for j in range(7)] for i in range(7)])
    np.testing.assert_array_equal(counts.numpy(), expected)
    found = Confusion(0, (), tuple(map(tuple, counts.tolist())))
    recalls = [np.mean(predicted[labels == label] == label) for label in range(7)]
    assert [found.recall(label) for label in range(7)] == pytest.approx(recalls)
    assert [found.precision(i) for i in range(7)] == pytest.approx(
        [np.mean(labels[predicted == i] == i) for i in range(7)]
    )
    assert found.accuracy == pytest.approx(np.mean(labels == predicted))
    assert found.balanced_accuracy == pytest.approx(np.mean(recalls))


@pytest.mark.parametrize("weights", ["final", "best"])
def test_a_run_is_scored_as_at_the_end_of_its_training(
    make_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    terms = Terms(runs_dir=tmp_path, data_dir=tmp_path, device="cpu")
    trained = start(draw(make_config(data={"eval_batch_size": 7}, training={"epochs": 3}), tmp_path), terms)
    found = measure_classes(trained.folder, weights=weights, data_dir=tmp_path, device="cpu")
    assert found.accuracy == pytest.approx(trained.summary["test"][weights]["accuracy"])
    assert found.step == trained.summary[weights]["step"]
    assert found.names == ()
    monkeypatch.setattr(module, "_logits", lambda run, part: torch.tensor([[0.0, 1.0], [torch.nan, 0.0]]))
    with pytest.raises(BnexpError, match="for 1 of 2 test examples these weights put out values that are not finite"):
        measure_classes(trained.folder, weights=weights, data_dir=tmp_path, device="cpu")


def test_classes_are_named_by_the_published_set_or_by_their_folder(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    assert {dataset: len(set(names)) for dataset, names in _NAMES.items()} == {
        **dict.fromkeys(("fashion_mnist", "kmnist", "cifar10"), 10),
        "cifar100": 100,
    }
    # `fine_label_names` in the archive's `meta` is in the order of the alphabet, as torchvision and Keras have it.
    fine = class_names(make_config(data={"dataset": "cifar100", "synthetic": None}).data, tmp_path)
    assert list(fine) == sorted(fine)
    assert {label: fine[label] for label in (0, 23, 54, 99)} == {0: "apple", 23: "cloud", 54: "orchid", 99: "worm"}
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        (tmp_path / "pets" / name / "1.png").touch()
    data = make_config(data={"dataset": "image_folder", "path": "pets", "image_size": [4, 4], "synthetic": None}).data
    assert class_names(data, tmp_path) == ("cat", "dog")
