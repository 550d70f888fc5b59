"""The benchmarks: that rivals train the same networks, and that what is counted and timed is what is said."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.__main__ import MEASUREMENTS, main
from benchmarks.ours import NOWHERE, session_of
from benchmarks.report import Terms, alternate, spread
from benchmarks.rivals import Rival, Turn, bare, graph
from benchmarks.roofline import counted_step
from benchmarks.scaling import line_through
from benchmarks.startup import first_row_round
from benchmarks.turns import Turns, compared
from benchmarks.workloads import WORKLOADS
from bnexp.blueprint import draw
from bnexp.models.build import without_numbers
from bnexp.training import loop
from bnexp.training.build import TrainingRun, build
from bnexp.training.clock import Clock
from bnexp.training.cuda_graph import GraphRecorder, Work
from bnexp.training.graph import Graphed
from effort import at_length, long_but

SMALL = Terms(small=True)


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_network_written_by_hand_is_bnexps(name: str) -> None:
    workload = WORKLOADS[name]
    plain, x = workload.plain(), torch.zeros(2, *((3, 8, 8) if workload.on_images else workload.shape))
    ours = without_numbers(draw(workload.config_on(Terms(examples=200)), NOWHERE).layout)

    def weights(network: torch.nn.Module) -> list[tuple[int, ...]]:
        return sorted(tuple(parameter.shape) for parameter in network.parameters())

    assert weights(plain) == weights(ours)
    assert plain(x).shape == (2, 10)


def run_on(name: str, *changes: str) -> TrainingRun:
    return build(
        draw(WORKLOADS[name].config_on(replace(SMALL, overrides=changes)), NOWHERE), data_dir=NOWHERE, device="cpu"
    )


def rival_on(name: str) -> Rival:
    run = run_on(name)
    return Rival(WORKLOADS[name], run.config, run.plan, run.dataset, run.device)


@pytest.mark.long  # what counts them loads torch.compile
def test_operations_and_bytes_of_a_step_are_those_of_the_closed_form() -> None:
    rival, batch = rival_on("mlp"), 8
    sizes = [(784, 256), (256, 256), (256, 256), (256, 10)]
    products, of_optimizer = counted_step(rival)
    forward, first = sum(2 * batch * m * n for m, n in sizes), 2 * batch * 784 * 256
    assert sum(operations for operations, _ in products) == 3 * forward - first  # no gradient of the inputs
    parameters = sum(m * n for m, n in sizes) + 10 + 2 * 3 * 256
    assert of_optimizer == 5 * 4 * parameters
    three_each = sum(4 * (batch * m + m * n + batch * n) for m, n in sizes)
    not_of_inputs = 4 * (batch * 784 + 784 * 256 + batch * 256)
    assert sum(moved for _, moved in products) == 3 * three_each - not_of_inputs + 4 * 10  # the bias of the head


def test_a_bare_turn_takes_its_steps_and_is_timed() -> None:
    steps, seconds = bare(rival_on("cnn"))(range(2, 5))
    assert steps == 3
    assert 0 < seconds < 60


def test_a_graph_is_recorded_of_each_kind_of_step_and_repeated_for_every_step() -> None:
    said = list[str]()

    def record(work: Work, device: torch.device) -> Work:
        said.append("recorded")
        work()
        return lambda: (work(), said.append("repeated"))[1]

    turn = graph(rival_on("mlp"), record=record)  # 8, 8 and 2 examples an epoch
    assert said == [*["recorded"] * 2, *["repeated"] * 2], "each is tried once"
    turn(range(1, 5))
    assert said.count("repeated") == 6


class Hand:
    """The time, set by hand."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def turn_of(self, step_s: float, fails_at: int = 99) -> Turn:
        """Return the turns of a rival whose steps take so long, and break off at a step."""

        def turn(steps: range) -> tuple[int, float]:
            self.time += 0.001
            if fails_at in steps:
                raise RuntimeError("CUDA error\nmore")
            self.time += len(steps) * step_s
            return len(steps), len(steps) * step_s

        return turn


def test_rivals_take_as_many_steps_as_bnexp_whose_clock_leaves_them_out() -> None:
    run, hand = run_on("mlp", "training.epochs=10"), Hand()
    rivals = {"half": hand.turn_of(0.5), "broken": hand.turn_of(0.5, fails_at=12), "tutorial": hand.turn_of(4.0)}
    turns, clock = Turns(run, rivals, 2, "mlp", hand.now), Clock(hand.now)
    turns.begin()
    for step in range(1, 31):  # turns of three steps, for a turn has a tenth of all, or less where it takes a second
        hand.time += 1.0 if step == 30 else 0.3
        turns.show(step, clock)
    hand.time += 0.5
    turns.end()
    assert clock.total_s == pytest.approx(29 * 0.3 + 1.0 + 0.5)
    assert turns.counted_from == 3
    assert turns.failed == {"broken": "RuntimeError: CUDA error"}
    figures = compared(turns.tallies, batch=8)
    assert figures["bnexp"]["step_ms"] == pytest.approx((26 * 300 + 1000 + 500) / 27)
    assert {way: (one["turns"], one["steps"]) for way, one in figures.items()} == {
        "bnexp": (9, 27),
        "half": (9, 27),
        "broken": (2, 6),
        "tutorial": (4, 12),
    }
    assert figures["half"]["over_bnexp"] == pytest.approx(0.5 / (9.3 / 27))
    assert figures["half"]["of_turns"] == pytest.approx([5 / 3] * 3)


class Again(GraphRecorder):
    """Records nothing, and does the work again."""

    def aside(self, work: Work) -> None:
        work()

    def record(self, work: Work, generators: Sequence[torch.Generator]) -> Work:
        return work


def test_turns_count_when_both_kinds_of_steps_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step of an epoch is recorded at the third: with three steps an epoch, after nine."""
    monkeypatch.setattr(loop, "way_of", lambda run, note: Graphed(run, Again(), note))
    run, taken = run_on("mlp", "training.epochs=6"), list[int]()
    run.graph.tried, rate = True, torch.tensor(0.0)  # on CUDA the rate is a tensor, which a graph reads
    for group in run.train_step.optimizer.param_groups:
        group["lr"] = rate
    turns = Turns(run, {"bare": lambda steps: (taken.extend(steps), (len(steps), 1.0))[1]}, 2, "mlp")
    with session_of(run) as session:
        turns.begin()
        session.train(turns.show)
        session.end()
    assert run.graph.recorded == 2
    assert turns.counted_from == 9
    assert taken == list(range(10, 19))


def test_ways_take_turns_and_slow_ones_are_spread_over_the_rounds() -> None:
    said = list[str]()
    ways = {name: (lambda name=name: said.append(name) or float(len(said))) for name in ("a", "b")}
    seconds = alternate(ways, {"a": 6, "b": 2})
    assert "".join(said) == "ab" + "aab" + "aaab" + "a"
    assert seconds == {"a": [3, 4, 6, 7, 8, 10], "b": [5, 9]}


def test_the_spread_is_the_distance_of_the_quartiles_over_the_median() -> None:
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)
    assert spread([7.0]) == 0


RARE = {"resnet18", "scaling", "sweep"}  # half a minute each, of programs that others here start as well


@pytest.mark.parametrize("name", long_but([name for name in MEASUREMENTS if at_length() or name not in RARE]))
def test_each_measurement_runs_at_its_smallest(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([name, "--small", "--json", str(tmp_path / "out.json")])
    told = capsys.readouterr().out
    written = json.loads((tmp_path / "out.json").read_text())
    assert "###" in told
    assert written["machine"]["torch"] == torch.__version__
    values = written["measurements"][name]
    if name in WORKLOADS:
        assert {"bnexp", "bare", "tutorial"} <= set(values["ways"])
        for figures in values["ways"].values():
            assert figures["step_ms"] == pytest.approx(8000 / figures["examples_per_s"])
        assert values["ways"]["bnexp"]["over_bnexp"] == 1
        assert values["ways"]["bare"]["steps"] == 5
        assert not values["failed"]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["mpl"], 'Did you mean "mlp"? Expected some of mlp, cnn, resnet20'),
        (["mlp", "--ways", "bnexp,gaph"], 'unknown way gaph. Did you mean "graph"? Expected some of bnexp, bare'),
        (["mlp", "--ways", "graph"], "graph needs --device cuda"),
    ],
)
def test_a_name_that_cannot_be_measured_is_answered(
    words: list[str], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert answer in capsys.readouterr().err


def test_the_line_through_times_is_found_and_what_grows_faster_lies_off_it() -> None:
    assert line_through({1: 3.0, 2: 5.0, 4: 9.0, 8: 17.0}) == pytest.approx((1.0, 2.0, 0.0))
    assert line_through({1: 1.0, 2: 4.0, 4: 16.0, 8: 64.0})[2] > 0.5


WRITES_A_ROW = """
import sys, time
from pathlib import Path
folder = Path(sys.argv[sys.argv.index("--runs-dir") + 1]) / sys.argv[sys.argv.index("--name") + 1] / "seed0"
folder.mkdir(parents=True)
time.sleep(0.2)
(folder / "metrics.jsonl").write_text("{}")
time.sleep({after})
"""


@pytest.mark.parametrize("after", ["60", "0"])
def test_a_training_is_timed_to_its_first_row_and_ended_then(after: str, tmp_path: Path) -> None:
    cpu = list[float]()
    seconds = first_row_round(["-c", WRITES_A_ROW.replace("{after}", after)], tmp_path / "begun", cpu)()
    assert 0.2 <= seconds < 50
    assert len(cpu) == 1
    with pytest.raises(RuntimeError, match="without a row"):
        first_row_round(["-c", "pass"], tmp_path / "begun", cpu)()
