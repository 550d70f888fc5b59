"""Evaluation: averages over examples, in inference mode, leaving no trace."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.data.parts import Part
from bnexp.measure.evaluation import evaluate, mean_recall
from bnexp.training.build import TrainingRun, build


@pytest.fixture
def run(make_config: Callable[..., Config]) -> TrainingRun:
    config = make_config(model={"block": "linear -> norm -> act -> dropout(p=0.5)"})
    return build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")


def test_scores_are_averages_over_examples_whatever_the_batch(run: TrainingRun) -> None:
    part = run.dataset.test
    run.network.eval()
    with torch.no_grad():
        logits = run.network(run.dataset.inputs(part.images))
    loss = functional.cross_entropy(logits.double(), part.labels).item()
    accuracy = (logits.argmax(1) == part.labels).double().mean().item()
    for batch_size in (1, 3, 7, len(part), 1000):
        score = evaluate(run.network, run.dataset, part, batch_size, contextlib.nullcontext())
        assert score.loss == pytest.approx(loss, rel=1e-5)
        assert score.accuracy == pytest.approx(accuracy)


def test_evaluation_changes_nothing_and_restores_each_module_s_mode(run: TrainingRun) -> None:
    run.network.train()
    run.items["block1.bn"].eval()  # a frozen norm must stay frozen
    before = {name: value.clone() for name, value in run.network.state_dict().items() if torch.is_tensor(value)}
    modes = {name: module.training for name, module in run.network.named_modules()}
    random_state = torch.get_rng_state()
    evaluate(run.network, run.dataset, run.dataset.val, 4, contextlib.nullcontext())
    after = run.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert modes == {name: module.training for name, module in run.network.named_modules()}
    assert torch.equal(random_state, torch.get_rng_state())


def test_the_mode_is_restored_also_after_an_error(run: TrainingRun) -> None:
    run.network.train()
    with pytest.raises(RuntimeError):
        evaluate(run.network, run.dataset, _of_wrong_width(run), 4, contextlib.nullcontext())
    assert run.network.training


def _of_wrong_width(run: TrainingRun):
    return type(run.dataset.val)(run.dataset.val.images[..., :2], run.dataset.val.labels)


def test_equal_classes_have_no_balanced_accuracy(run: TrainingRun) -> None:
    score = evaluate(run.network, run.dataset, run.dataset.val, 7, contextlib.nullcontext())
    assert score.balanced_accuracy is None
    assert set(score.figures()) == {"loss", "accuracy"}


@pytest.mark.parametrize(
    ("counts", "unequal"), [((10, 10), False), ((2, 3), False), ((1, 2, 2), False), ((10, 15), False), ((10, 16), True)]
)
def test_classes_are_unequal_from_half_as_many_more_on(counts: tuple[int, ...], unequal: bool) -> None:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    part = Part(torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8), labels)
    assert part.class_counts == counts
    assert part.has_unequal_classes == unequal


def test_the_mean_recall_leaves_out_classes_without_examples() -> None:
    assert mean_recall([90, 0, 1], [90, 0, 10]) == pytest.approx(0.55, rel=1e-12)


def test_balanced_accuracy_is_the_mean_recall_of_unequal_classes(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    labels = {"train": [0] * 70 + [1] * 20 + [2] * 10, "test": [0] * 30 + [1] * 5 + [2] * 2}
    arrays = {f"x_{part}": generator.integers(0, 256, (len(y), 4, 4), dtype=np.uint8) for part, y in labels.items()}
    np.savez(tmp_path / "own.npz", **arrays, **{f"y_{part}": y for part, y in labels.items()})
    config = make_config(data={"dataset": "npz", "path": "own.npz", "synthetic": None, "val_fraction": 0.3})
    run = build(draw(config, tmp_path), data_dir=tmp_path, device="cpu")
    for part in (run.dataset.val, run.dataset.test):
        score = evaluate(run.network, run.dataset, part, 7, contextlib.nullcontext())
        with torch.inference_mode():
            guessed = run.network.eval()(run.dataset.inputs(part.images)).argmax(dim=1)
        recalls = [(guessed[part.labels == label] == label).double().mean().item() for label in range(3)]
        assert score.balanced_accuracy == pytest.approx(sum(recalls) / 3, rel=1e-12)
        assert score.accuracy == pytest.approx((guessed == part.labels).double().mean().item(), rel=1e-12)
        assert score.accuracy != score.balanced_accuracy
