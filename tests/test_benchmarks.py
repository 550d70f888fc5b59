"""The benchmarks: that rivals train the same networks, and that what is counted and timed is what is said."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.__main__ import MEASUREMENTS, main
from benchmarks.report import Terms, alternate, spread
from benchmarks.rivals import Rival, Work, bare, graph
from benchmarks.roofline import counted_step
from benchmarks.scaling import line_through
from benchmarks.workloads import WORKLOADS
from bnexp.blueprint import draw
from bnexp.models.build import without_numbers
from bnexp.training.build import build
from effort import at_length, long_but

SMALL = Terms(small=True)
NOWHERE = Path("unused")


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_network_written_by_hand_is_bnexps(name: str) -> None:
    workload = WORKLOADS[name]
    plain, x = workload.plain(), torch.zeros(2, *((3, 8, 8) if workload.on_images else workload.shape))
    ours = without_numbers(draw(workload.config_on(Terms(examples=200)), NOWHERE).layout)

    def weights(network: torch.nn.Module) -> list[tuple[int, ...]]:
        return sorted(tuple(parameter.shape) for parameter in network.parameters())

    assert weights(plain) == weights(ours)
    assert plain(x).shape == (2, 10)


def rival_on(name: str) -> Rival:
    workload, config = WORKLOADS[name], WORKLOADS[name].config_on(SMALL)
    run = build(draw(config, NOWHERE), data_dir=NOWHERE, device="cpu")
    return Rival(workload, config, run.plan, run.dataset, run.device)


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
    assert said == [*["recorded"] * 2, *["repeated"] * 6], "each is tried a few times"
    turn(range(1, 5))
    assert said.count("repeated") == 10


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


def test_an_unknown_name_is_answered_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["mpl"])
    assert 'Did you mean "mlp"? Expected some of mlp, cnn, resnet20' in capsys.readouterr().err


def test_the_line_through_times_is_found_and_what_grows_faster_lies_off_it() -> None:
    assert line_through({1: 3.0, 2: 5.0, 4: 9.0, 8: 17.0}) == pytest.approx((1.0, 2.0, 0.0))
    assert line_through({1: 1.0, 2: 4.0, 4: 16.0, 8: 64.0})[2] > 0.5
