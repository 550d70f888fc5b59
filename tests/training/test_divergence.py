"""`on_divergence`: what becomes of a step that is not finite, and where in the network that began."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.measure.restore import copy_of_weights
from bnexp.session.display import Display
from bnexp.session.metadata import summary_of
from bnexp.training.build import TrainingRun, build
from bnexp.training.divergence import Guard, RunningStatistics, buffers_are_finite, first_non_finite
from bnexp.training.loop import train
from bnexp.training.optimizer import MOST_SKIPS_IN_A_ROW, LossScaler
from bnexp.training.progress import Progress
from written_rows import Rows

MakeConfig = Callable[..., Config]


def experiment(make_config: MakeConfig, policy: str, **sections: dict[str, object]) -> TrainingRun:
    config = make_config(**{"training": {"on_divergence": policy, "epochs": 2, "log_every": 1}, **sections})
    return build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")


def poison_input(run: TrainingRun, *steps: int) -> None:
    """Let the first layer give nan in the training passes of these steps, counted from 1."""
    seen = {"passes": 0}

    def poisoned(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if not (module.training and torch.is_grad_enabled()):
            return output * float("nan") if seen["passes"] in steps and module.training else None
        seen["passes"] += 1
        return output * float("nan") if seen["passes"] in steps else None

    run.items["block1.linear"].register_forward_hook(poisoned)


def trained(run: TrainingRun) -> tuple[Progress, Rows]:
    rows = Rows()
    progress = Progress.start(run, rows)
    train(run, progress)
    return progress, rows


def test_stop_names_what_the_forward_pass_poisoned(make_config: MakeConfig) -> None:
    run = experiment(make_config, "stop")
    poison_input(run, 4)
    progress, _ = trained(run)
    assert progress.diverged
    assert progress.ended
    assert progress.divergence is not None
    assert (progress.divergence.step, progress.divergence.layer) == (4, "block1.linear")
    assert set(progress.divergence.poisoned) == {
        f"block{block}.bn.{buffer}" for block in (1, 2) for buffer in ("running_mean", "running_var")
    }
    assert summary_of(run, progress, None)["status"] == "diverged"


def test_a_skipped_step_leaves_no_trace_but_its_place(make_config: MakeConfig) -> None:
    """It is the training in which weights, optimizer and running statistics at that step stay as they were."""
    run = experiment(make_config, "skip_step")
    poison_input(run, 4)
    progress, rows = trained(run)

    other = experiment(make_config, "skip_step")

    class SkipsTheFourth(Display):
        """Puts back after the fourth step what it did."""

        def __init__(self) -> None:
            self.before: list[Tensor] = []

        def step(self, step: int, clock: object) -> None:
            state = [*other.network.parameters(), *other.network.buffers()]
            state += [
                value
                for kept in other.train_step.optimizer.state.values()
                for value in kept.values()
                if torch.is_tensor(value)
            ]
            if step == 4:
                with torch.no_grad():
                    for tensor, before in zip(state, self.before, strict=True):
                        tensor.copy_(before)
            self.before = [tensor.clone() for tensor in state]

    reference = Progress.start(other, Rows())
    train(other, reference, SkipsTheFourth().step)

    assert all(torch.equal(value, other.network.state_dict()[name]) for name, value in run.network.state_dict().items())
    assert not progress.diverged
    assert (progress.steps, progress.skipped) == (12, 1)
    assert progress.divergence is not None
    assert progress.divergence.step == 4
    assert progress.divergence.poisoned, "named, although it was put back"
    assert [row["skipped_steps/optimizer"] for row in rows.rows if "loss/train" in row] == [0] * 3 + [1] * 9
    losses = {row["step"]: row["loss/train"] for row in rows.rows if "loss/train" in row}
    assert [step for step, loss in losses.items() if not math.isfinite(loss)] == [4]
    summary = summary_of(run, progress, None)
    assert (summary["status"], summary["skipped_steps"]) == ("finished", 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_one_statistic_that_is_not_finite_is_seen_and_none_changes_by_a_bit(dtype: torch.dtype) -> None:
    network = nn.Sequential(nn.BatchNorm1d(33), nn.Linear(33, 7), nn.BatchNorm1d(7)).to(dtype)
    statistics, kind = RunningStatistics(network), torch.finfo(dtype)
    assert (statistics._check is None) == (dtype == torch.bfloat16), "torch has the check, or it has another name now"
    bytes_of = [buffer.view(torch.uint8) for buffer in network.buffers() if buffer.is_floating_point()]
    for buffer in (each for each in network.buffers() if each.is_floating_point()):
        for place in (0, len(buffer) - 1):
            for value in (kind.max, -kind.max, kind.smallest_normal / 4, -0.0, math.nan, math.inf, -math.inf):
                buffer[place] = value
                before = [each.clone() for each in bytes_of]
                assert statistics.are_finite() == (statistics.zero()[0].item() == 0) == math.isfinite(value)
                assert all(map(torch.equal, before, bytes_of))
            buffer[place] = kind.max
    assert RunningStatistics(nn.Linear(2, 2)).are_finite()


def test_statistics_of_any_shape_are_looked_at() -> None:
    network = nn.Module()
    for name, shape in (("scale", ()), ("mean", (3,)), ("covariance", (2, 2))):
        network.register_buffer(name, torch.ones(shape))
    statistics = RunningStatistics(network)
    assert statistics.zero() == [0.0]
    for buffer in network.buffers():
        buffer.fill_(math.inf)
        assert statistics.zero()[0].isnan()
        buffer.fill_(1.0)


def overflow_variance(run: TrainingRun, step: int) -> None:
    """Let the variance of the first layer's outputs overflow in one training pass: all outputs stay finite."""
    seen = {"passes": 0}

    def enlarged(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if module.training and torch.is_grad_enabled():
            seen["passes"] += 1
        return output * 1e30 if module.training and seen["passes"] == step else None

    run.items["block1.linear"].register_forward_hook(enlarged)


@pytest.mark.parametrize("policy", ["stop", "skip_step", "continue"])
@pytest.mark.parametrize("norm", ["bn", "ghost_bn(size=8)", "batch_renorm", "vn", "evonorm_b0"])
def test_a_poisoned_statistic_is_found_at_its_step(make_config: MakeConfig, norm: str, policy: str) -> None:
    """The loss stays finite, and the validation part is not scored before step 12."""
    evaluation = {"eval_every_epochs": 2, "epochs": 2, "log_every": 1, "on_divergence": policy}
    run = experiment(make_config, policy, model={"norm": norm}, training=evaluation)
    overflow_variance(run, 4)
    progress, rows = trained(run)
    name = norm.partition("(")[0]
    buffer = "running_std" if norm == "batch_renorm" else "running_var"
    assert progress.divergence is not None
    found = progress.divergence
    assert (found.step, found.layer, found.quantity) == (4, f"block1.{name}", "running statistics")
    assert f"block1.{name}.{buffer}" in found.poisoned
    assert math.isfinite(rows.rows[3]["loss/train"]) == (policy != "skip_step")  # a skipped step has no average
    assert (progress.steps, progress.skipped) == {"stop": (3, 0), "skip_step": (12, 1), "continue": (12, 0)}[policy]
    assert progress.diverged == (policy != "skip_step")
    assert buffers_are_finite(run.network) == (policy == "skip_step")


@pytest.mark.parametrize(("norm", "layer"), [("bn", "block1.bn"), ("vn", "block1.vn")])
def test_a_learning_rate_of_1e30_is_found_with_the_step_that_follows(
    make_config: MakeConfig, norm: str, layer: str
) -> None:
    training = {"on_divergence": "stop", "epochs": 2, "eval_every_epochs": 2, "log_every": 1}
    optimizer = {"name": "sgd", "lr": 1e30}
    progress, _ = trained(experiment(make_config, "stop", model={"norm": norm}, training=training, optimizer=optimizer))
    assert progress.divergence is not None
    found = progress.divergence
    assert (found.step, found.layer, found.quantity) == (2, layer, "running statistics")


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 3e38])
def test_any_value_that_is_not_finite_is_seen_wherever_it_stands(make_config: MakeConfig, value: float) -> None:
    run = experiment(make_config, "stop")
    guard, loss = Guard(run, Progress.start(run, Rows())), torch.tensor(1 / 3)
    for norm in ("block1.bn", "block2.bn"):
        for buffer in (run.items[norm].running_mean, run.items[norm].running_var):
            for place in range(len(buffer)):
                before = buffer[place].item()
                assert guard.transfer(loss) == (loss.item(), True)
                buffer[place] = value
                assert guard.transfer(loss) == (loss.item(), math.isfinite(value))
                buffer[place] = before


def test_the_average_of_a_row_leaves_skipped_steps_out(make_config: MakeConfig) -> None:
    averages = []
    for log_every in (1, 6):
        training = {"on_divergence": "skip_step", "epochs": 1, "log_every": log_every}
        run = experiment(make_config, "skip_step", training=training, data={"drop_last": True})
        poison_input(run, 2)
        _, rows = trained(run)
        losses = [row["loss/train"] for row in rows.rows if "loss/train" in row]
        averages.append(sum(loss for loss in losses if math.isfinite(loss)) / sum(map(math.isfinite, losses)))
    assert averages[0] == pytest.approx(averages[1])


def test_a_gradient_that_is_not_finite_is_skipped_and_named(make_config: MakeConfig) -> None:
    run = experiment(make_config, "skip_step")
    calls = {"count": 0}

    def overflow(gradient: Tensor) -> Tensor:
        calls["count"] += 1
        return gradient * float("inf") if calls["count"] == 3 else gradient

    run.items["block2.linear"].weight.register_hook(overflow)
    progress, _ = trained(run)
    assert progress.divergence is not None
    assert (progress.divergence.step, progress.divergence.layer, progress.divergence.quantity) == (
        3,
        "block2.linear",
        "gradient",
    )
    assert progress.divergence.poisoned == ()
    assert (progress.skipped, progress.diverged) == (1, False)
    assert all(parameter.isfinite().all() for parameter in run.network.parameters())


def test_too_many_skipped_steps_in_a_row_end_the_run(make_config: MakeConfig) -> None:
    run = experiment(make_config, "skip_step", training={"on_divergence": "skip_step", "epochs": 50, "log_every": 1})
    with torch.no_grad():
        run.items["head"].weight.fill_(float("nan"))
    before = copy_of_weights(run.network)
    progress, _ = trained(run)
    assert (progress.diverged, progress.ended) == (True, True)
    assert progress.steps == progress.skipped == MOST_SKIPS_IN_A_ROW + 1
    assert all(torch.equal(value, before[name]) for name, value in run.network.named_buffers() if "running" in name)


def test_continue_takes_every_step_and_says_where_it_began(make_config: MakeConfig) -> None:
    run = experiment(make_config, "continue")
    poison_input(run, 4)
    progress, rows = trained(run)
    assert progress.steps == 12
    assert rows.rows[-1]["step"] == 12
    assert progress.divergence is not None
    assert progress.divergence.step == 4
    assert progress.diverged
    assert not progress.ended
    assert not torch.isfinite(run.items["head"].weight).all()


def test_fp16_leaves_gradients_to_the_scaling(make_config: MakeConfig) -> None:
    run = experiment(make_config, "skip_step")
    run.train_step.scaler = LossScaler("fp16", torch.device("cpu"))
    calls = {"count": 0}

    def overflow(gradient: Tensor) -> Tensor:
        calls["count"] += 1
        return gradient * float("inf") if calls["count"] == 3 else gradient

    run.items["block2.linear"].weight.register_hook(overflow)
    poison_input(run, 6)
    progress, rows = trained(run)
    assert (run.train_step.scaler.skipped, progress.skipped) == (1, 1)
    assert rows.rows[-1]["skipped_steps/optimizer"] == 2
    assert summary_of(run, progress, None)["skipped_steps"] == 2
    assert all(parameter.isfinite().all() for parameter in run.network.parameters())


def test_a_run_that_continues_and_finds_back_has_finished(make_config: MakeConfig) -> None:
    run = experiment(make_config, "continue", model={"norm": "none"})
    poison_input(run, 4)
    for parameter in run.network.parameters():
        parameter.register_hook(lambda gradient: gradient.nan_to_num(0.0))
    progress, _ = trained(run)
    assert progress.divergence is not None
    assert progress.divergence.step == 4
    assert not progress.diverged
    assert summary_of(run, progress, None)["status"] == "finished"


@pytest.fixture
def run(make_config: MakeConfig) -> TrainingRun:
    return build(draw(make_config(), Path("unused")), data_dir=Path("unused"), device="cpu")


@torch.no_grad()
def test_a_poisoned_weight_is_named_in_the_order_of_computation(run: TrainingRun) -> None:
    run.items["head"].weight[0, 0] = float("nan")
    assert first_non_finite(run.network, run.items, run.batches.at(0)[0]) == ("head", "weight")
    run.items["block2.linear"].weight[3, 3] = float("inf")
    assert first_non_finite(run.network, run.items, run.batches.at(0)[0]) == ("block2.linear", "weight")


@torch.no_grad()
def test_an_overflow_is_named_as_an_output(run: TrainingRun) -> None:
    run.items["block2.linear"].weight.fill_(3e38)
    assert first_non_finite(run.network, run.items, run.batches.at(0)[0]) == ("block2.linear", "output")


@torch.no_grad()
def test_poisoned_running_statistics_are_named_in_inference_mode(run: TrainingRun) -> None:
    run.items["block1.bn"].running_var[0] = float("nan")
    x = run.batches.at(0)[0]
    run.network.train()
    assert first_non_finite(run.network, run.items, x) == ("loss", "value")
    run.network.eval()
    assert first_non_finite(run.network, run.items, x) == ("block1.bn", "running statistics")


def test_looking_leaves_buffers_and_hooks_as_they_were(run: TrainingRun) -> None:
    run.network.train()
    before = {name: buffer.clone() for name, buffer in run.network.named_buffers()}
    assert first_non_finite(run.network, run.items, run.batches.at(0)[0]) == ("loss", "value")
    assert all(torch.equal(buffer, before[name]) for name, buffer in run.network.named_buffers())
    assert not any(module._forward_hooks for module in run.network.modules())


@torch.no_grad()
def test_running_statistics_that_overflowed_in_training_are_not_called_the_cause(run: TrainingRun) -> None:
    run.items["block1.linear"].weight.fill_(1e30)
    x = run.batches.at(0)[0]
    run.network.train()(x)  # the variance overflows, and with it the running one
    assert not buffers_are_finite(run.network)
    layer, quantity = first_non_finite(run.network, run.items, x)
    assert (layer, quantity) != ("block1.bn", "running statistics")
    assert quantity in ("output", "value")
