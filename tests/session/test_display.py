"""What is shown while a network trains."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from bnexp.config.plan import Plan
from bnexp.session.display import LineDisplay, LiveDisplay, figures, left
from bnexp.training.clock import Clock

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
