"""Evaluation: averages over examples, in inference mode, leaving no trace."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.measure.evaluation import evaluate
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
