"""Stacked runs in one process: each leaves the folder of a run by itself, ends by itself, and can be resumed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.errors import BnexpError, Interrupted
from bnexp.runs.folder import read_json
from bnexp.runs.run import read_run
from bnexp.session import life, lockstep, resume
from bnexp.session.display import Display
from bnexp.session.lockstep import Outcome, train_together
from bnexp.session.signals import StopRequest
from bnexp.session.terms import Terms
from bnexp.training.ahead import Stretch
from bnexp.training.clock import Clock
from bnexp.training.stacked import Stack
from written_rows import final_weights, rows_of

MakeConfig = Callable[..., Config]
SEEDS = (0, 1, 2)


class Calls(Display):
    """Calls something after each step, or each stretch of steps."""

    def __init__(self, call: Callable[[int], object]) -> None:
        self._call = call

    def step(self, step: int, clock: Clock) -> None:
        self._call(step)


class Place:
    """Where seeds are trained together, and what came of each."""

    def __init__(self, folder: Path, config: Callable[[int], Config]) -> None:
        self.folder, self.config = folder, config
        self.stop = StopRequest()
        self.outcomes: dict[int, Outcome] = {}

    def __getitem__(self, seed: int) -> Path:
        return self.folder / f"seed{seed}"

    def terms(self, call: Callable[[int], object] = lambda step: None, stacked: int = len(SEEDS)) -> Terms:
        return Terms(data_dir=self.folder, device="cpu", show=lambda name, plan: Calls(call), stacked=stacked)

    def begin(self, *calls: Callable[[int], object]) -> None:
        """Begin all seeds, with what is called after the steps of the first, the second, ..."""
        prints = [draw(self.config(seed), self.folder) for seed in SEEDS]
        lives = [life.begin(prints[k], self.terms(*calls[k : k + 1]), self.stop, self[k]) for k in SEEDS]
        train_together(lives, self.stop, self.outcomes.__setitem__)

    def go_on(self, seeds: Sequence[int] = SEEDS) -> None:
        self.stop = StopRequest()
        lives = [resume.resuming(self[seed], self.terms(stacked=len(seeds)), self.stop) for seed in seeds]
        train_together(lives, self.stop, self.outcomes.__setitem__)

    def statuses(self) -> list[str]:
        return [read_run(self[seed]).status for seed in SEEDS]


@pytest.fixture
def place(make_config: MakeConfig, tmp_path: Path) -> Place:
    training = {"epochs": 2, "log_every": 2}
    return Place(tmp_path, lambda seed: make_config(seed=seed, training=training, checkpoints={"every_epochs": 1}))


def files_in(folder: Path) -> set[str]:
    kinds = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {"events" if "tfevents" in path.name else str(path) for path in kinds}


def same_as_alone(place: Place, seed: int) -> None:
    """Find the folder of a stacked seed like that of the run by itself, up to rounding."""
    terms = Terms(place.folder / "alone", data_dir=place.folder, device="cpu")
    alone = life.start(draw(place.config(seed), place.folder), terms).folder
    assert files_in(place[seed]) == files_in(alone)
    expected, found = rows_of(alone), rows_of(place[seed])
    assert [row.keys() for row in found] == [row.keys() for row in expected]
    for theirs, ours in zip(expected, found, strict=True):
        assert list(ours.values()) == pytest.approx(list(theirs.values()), rel=1e-3, abs=1e-4)
    for theirs in alone.glob("checkpoints/*.pt"):
        ours = place[seed] / "checkpoints" / theirs.name
        assert ours.stat().st_size == pytest.approx(theirs.stat().st_size, rel=0.05)
    weights = final_weights(alone)
    assert all((final_weights(place[seed])[name] - tensor).abs().max() < 1e-4 for name, tensor in weights.items())


def test_each_leaves_the_folder_of_a_run_by_itself(place: Place) -> None:
    place.begin()
    assert place.statuses() == ["finished"] * 3
    for seed in SEEDS:
        same_as_alone(place, seed)
        meta = read_json(place[seed] / "meta.json") or {}
        assert (meta["stacked"], meta["seed"]) == (3, seed)
        assert read_run(place[seed]).environment["stacked"] == "yes"


def test_a_signal_ends_all_after_their_step_and_each_is_resumed_alone_or_stacked(place: Place) -> None:
    place.begin(lambda step: place.stop.take(15) if step >= 6 else None)
    assert place.statuses() == ["interrupted"] * 3
    assert all(isinstance(outcome, Interrupted) and outcome.exit_code == 143 for outcome in place.outcomes.values())
    assert all(read_run(place[seed]).can_resume for seed in SEEDS)
    resume.resume(place[0], Terms(data_dir=place.folder, device="cpu"))
    place.go_on((1, 2))
    assert place.statuses() == ["finished"] * 3
    for seed in SEEDS:
        same_as_alone(place, seed)
    assert (read_json(place[0] / "meta.json") or {})["stacked"] == 1
    assert (read_json(place[1] / "meta.json") or {})["sessions"][0]["stacked"] == 3


def test_an_error_of_one_ends_that_one_alone(place: Place) -> None:
    def fail(step: int) -> None:
        if step >= 8:
            raise BnexpError("a failure")

    place.begin(lambda step: None, fail)
    assert place.statuses() == ["finished", "failed", "finished"]
    assert "a failure" in str(place.outcomes[1])


def test_a_bug_or_too_little_memory_in_the_common_step_ends_all_with_their_records(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(stack: Stack, stretches: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Stack, "__call__", exhausted)
    place.begin()
    assert place.statuses() == ["failed"] * 3
    assert all("out of memory" in str(outcome) for outcome in place.outcomes.values())
    monkeypatch.undo()
    place.go_on()
    assert place.statuses() == ["finished"] * 3


def test_runs_of_unlike_memory_formats_share_no_tensors(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An arm may have both, of which one was begun before its config changed."""
    monkeypatch.setattr(Stack, "__init__", None)
    model = {"arch": "cnn", "hidden": None, "stages": [[2]], "block": "conv -> norm -> act"}
    formats = {seed: {"memory_format": ("contiguous", "channels_last")[seed % 2]} for seed in SEEDS}
    place = Place(tmp_path, lambda seed: make_config(seed=seed, model=model, training={"epochs": 1} | formats[seed]))
    place.begin()
    assert place.statuses() == ["finished"] * 3


def test_those_that_fall_behind_come_back_to_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack whose runs come in another order is gathered anew, and its graph recorded anew."""
    taken = list[list[int]]()

    def life_of(run: Any, *steps: tuple[int, int]) -> Any:
        for first, last in steps:
            yield Stretch(run, first, last)

    monkeypatch.setattr(
        lockstep, "Stack", lambda runs, note: lambda stretches: taken.append([s.run.seed for s in stretches])
    )
    probes = SimpleNamespace(look_at=lambda step: False)
    runs = [SimpleNamespace(seed=seed, device="cpu", memory_format=None, probes=probes) for seed in (0, 1)]
    lives = [life_of(runs[0], (2, 4), (4, 4), (5, 8)), life_of(runs[1], (2, 4), (5, 8))]
    train_together(lives, StopRequest(), lambda number, outcome: None)
    assert taken == [[0, 1], [0], [0, 1]]


def test_a_second_signal_ends_all_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(stack: Stack, stretches: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Stack, "__call__", interrupted)
    place.begin()
    assert place.statuses() == ["interrupted"] * 3
    assert len(place.outcomes) == 3


def test_what_has_not_begun_never_does_after_a_signal(place: Place) -> None:
    place.stop.take(2)
    place.begin()
    assert not any(place[seed].exists() for seed in SEEDS)
    assert all("before the training began" in str(outcome) for outcome in place.outcomes.values())
