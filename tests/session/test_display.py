"""What is shown while a network trains."""

import io
import math
import operator
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from bnexp.blueprint import draw
from bnexp.config.plan import Plan
from bnexp.config.schema import Config
from bnexp.session import life
from bnexp.session.display import LineDisplay, LiveDisplay, figures, left
from bnexp.session.terms import Terms
from bnexp.training.clock import Clock
from bnexp.training.log import StepLog

PLAN = Plan(
    train_examples=100,
    val_examples=10,
    test_examples=10,
    batch_size=10,
    last_batch=10,
    steps_per_epoch=10,
    total_steps=30,
    eval_every_epochs=1.0,
)


def test_what_is_left_counts_the_test_set() -> None:
    assert left(PLAN, 0) == (30, 5)
    assert left(PLAN, 10) == (20, 4)
    assert left(PLAN, 30) == (0, 2)


def test_a_pipe_gets_one_line_per_evaluation() -> None:
    lines: list[str] = []
    display = LineDisplay("arm seed0", PLAN, lines.append)
    clock = Clock(lambda: 0.0)
    for step in range(1, 31):
        if step % 5 == 0:
            row = {"loss/train": step / 100, "accuracy/train": 0.5}
            display.scalars(step, row | ({"loss/val": 1.0, "accuracy/val": step / 100} if step % 10 == 0 else {}))
        display.step(step, clock)
    assert len(lines) == 3
    assert lines[1].startswith("arm seed0  epoch 2.0/3  step 20/30  loss 0.2000  accuracy 50.00%")
    assert "val accuracy 20.00%" in lines[1]
    assert all("\n" not in line for line in lines)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_live_display_fits_the_window_and_shows_the_latest(width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, color_system=None)
    times = iter(range(100))
    display = LiveDisplay("arm seed0", PLAN, console, now=lambda: float(next(times)))
    display.scalars(5, {"loss/train": 0.125, "gradient_norm/total": 2.5})
    display.step(5, Clock(lambda: 0.0))
    display.close()
    shown = out.getvalue()
    assert "epoch 0.5/3  step 5/30" in shown
    assert "loss 0.1250" in shown
    assert all(cell_len(line.plain) <= width for line in Text.from_ansi(shown).split())


def test_the_live_display_redraws_a_few_times_a_second_at_most() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    hand = [0.0]
    display = LiveDisplay("arm seed0", PLAN, console, now=lambda: hand[0])
    drawn = []
    for step in range(1, 30):
        hand[0] += 0.03
        before = len(out.getvalue())
        display.step(step, Clock(lambda: 0.0))
        drawn.append(len(out.getvalue()) > before)
    display.close()
    assert sum(drawn) == pytest.approx(29 * 0.03 / 0.1, abs=2)


def test_a_very_large_loss_is_written_in_few_digits() -> None:
    assert figures({"loss/train": 1.5922789e31, "loss/val": 0.5}) == "loss 1.59e+31  val loss 0.5000"


def test_a_line_has_no_figure_of_an_earlier_step() -> None:
    lines: list[str] = []
    display = LineDisplay("arm seed0", PLAN, lines.append)
    display.scalars(1, {"gradient_norm/total": 2.5})
    display.step(1, Clock(lambda: 0.0))
    for step in (10, 20):
        display.scalars(step, {"loss/val": 0.5, "accuracy/val": 0.75})
        display.step(step, Clock(lambda: 0.0))
    display.scalars(30, {"loss/val": 0.5, "accuracy/val": 0.75, "gradient_norm/total": 1.5})
    display.step(30, Clock(lambda: 0.0))
    assert ["gradient norm" in line for line in lines] == [False, False, True]
    assert "gradient norm 1.5" in lines[2]


def test_every_line_has_the_training_loss_since_the_last_though_an_epoch_is_shorter_than_log_every(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    lines: list[str] = []
    losses: list[tuple[float, int]] = []

    class Listening(LineDisplay):
        def step(self, step: int, clock: Clock) -> None:
            assert isinstance(self.log, StepLog)
            pending = self.log.recent_loss()
            if pending is not None:
                losses.append((self.log._losses[-1] if self.log._losses else math.nan, step))
            super().step(step, clock)

    config = make_config(training={"epochs": 3, "log_every": 1000})
    life.start(
        draw(config, tmp_path),
        Terms(tmp_path, tmp_path, "cpu", show=lambda name, plan: Listening(name, plan, lines.append)),
    )
    steps = draw(config, tmp_path).plan.steps_per_epoch
    assert len(lines) == 3
    shown = [float(line.split("  loss ")[1].split()[0]) for line in lines]
    assert all("  accuracy " in line for line in lines)
    sizes = [16] * (steps - 1) + [draw(config, tmp_path).plan.last_batch]
    for epoch in (0, 1):  # the last step writes a row, which takes the losses
        first = [loss for loss, _ in losses[epoch * steps : (epoch + 1) * steps]]
        expected = sum(map(operator.mul, first, sizes)) / sum(sizes)
        assert shown[epoch] == pytest.approx(expected, abs=1e-4)
    assert shown[2] < shown[0]


class Recorded:
    """A log whose mean loss is 0.25."""

    def recent_loss(self) -> float | None:
        return 0.25

    def recent(self, most: int) -> None:
        return None


def test_the_live_display_shows_the_loss_of_now_and_dates_what_is_older() -> None:
    out = io.StringIO()
    times = iter(range(100))
    display = LiveDisplay(
        "arm", PLAN, Console(file=out, force_terminal=True, width=200, color_system=None), lambda: float(next(times))
    )
    display.watch(Recorded())
    clock = Clock(lambda: 0.0)

    def drawn(step: int) -> str:
        before = len(out.getvalue())
        display.step(step, clock)
        return out.getvalue()[before:]

    display.scalars(1, {"gradient_norm/total": 2.5})
    first = drawn(1)
    assert "loss 0.2500" in first
    assert "gradient norm" not in drawn(2)
    display.scalars(5, {"loss/train": 0.125, "accuracy/train": 0.5, "gradient_norm/total": 1.5})
    assert "loss 0.1250  accuracy 50.00%  gradient norm 1.5" in drawn(5)
    assert "loss 0.2500  step 5: loss 0.1250  accuracy 50.00%  gradient norm 1.5" in drawn(6)
    display.scalars(10, {"loss/val": 0.5, "accuracy/val": 0.75})
    display.scalars(11, {"loss/train": 0.1, "accuracy/train": 0.6})
    later = drawn(12)
    assert "step 11: loss 0.1000  accuracy 60.00%  epoch 1.0: val loss 0.5000  val accuracy 75.00%" in later
    assert "gradient norm" not in later
    display.close()
