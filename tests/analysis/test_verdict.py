"""Verdicts: two arms, orders and trends are judged by what a hand computes from the runs, with all that limits them."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bnexp.analysis.claims import Claim, find_claims
from bnexp.analysis.points import MetricPoint, parse_point
from bnexp.analysis.statistics import judge, mean_interval, sign_flip_p
from bnexp.analysis.verdict import KEYS, judge_claims, verdict_table
from bnexp.config.claims import ClaimSection
from bnexp.config.probes_section import ProbesConfig
from bnexp.errors import ConfigError
from bnexp.runs.rows import Rows
from bnexp.runs.run import Run, read_run
from bnexp.runs.seal import seal_of_figures

ACCURACY = MetricPoint("accuracy/val")
ARMS: dict[str, dict[str, Any]] = {
    f"norm={norm},lr={lr}": {"model.norm": norm, "optimizer.lr": lr} for norm in ("bn", "none") for lr in (0.1, 0.3, 1)
}


def runs_of(name: str, accuracies: list[float | None], status: str = "finished") -> list[Run]:
    """Return a run a seed; one without an accuracy diverged."""
    return [
        Run(
            Path(name) / f"seed{seed}",
            name,
            seed,
            1,
            None,
            status if value is not None else "diverged",
            figures={} if value is None else {"val_accuracy": value},
        )
        for seed, value in enumerate(accuracies)
    ]


def judged(claim: Claim, **arms: list[float | None]) -> Any:
    runs = {name: runs_of(name, values) for name, values in arms.items()}
    seeds = range(max(len(values) for values in arms.values()))
    (verdict,) = judge_claims([claim], runs, seeds)
    return verdict


def pair_claim(at_least: float = 0.02, **more: Any) -> Claim:
    return Claim("a is ahead of b", "pair", ACCURACY, "up", ("a", "b"), at_least, **more)


def test_two_arms_are_judged_by_their_differences_seed_by_seed() -> None:
    a, b = [0.95, 0.93, 0.96, 0.94], [0.90, 0.89, 0.90, 0.91]
    verdict = judged(pair_claim(), a=a, b=b)
    differences = [first - second for first, second in zip(a, b, strict=True)]
    interval = mean_interval(differences)
    assert interval is not None
    assert verdict.record == {
        "claim": "a is ahead of b",
        "verdict": "supported",
        "effect": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "n": 4,
        "p": sign_flip_p(differences),
        "p_corrected": sign_flip_p(differences),
        "more_seeds": None,
        "reason": "the interval lies above 0, and the effect reaches at_least; 4 seeds give no p below 0.125: "
        "the verdict rests on the interval",
    }
    assert list(verdict.record) == list(KEYS)
    assert json.loads(json.dumps(verdict.record, allow_nan=False)) == verdict.record


def test_a_loss_is_better_where_it_is_lower() -> None:
    claim = Claim("a", "pair", MetricPoint("loss/val"), "down", ("a", "b"), 0.1)

    def losses(name: str, first: float) -> list[Run]:
        figures = [{"val_loss": first + 0.01 * seed**2} for seed in range(3)]
        return [
            Run(Path(name) / f"seed{s}", name, s, 1, None, "finished", figures=one) for s, one in enumerate(figures)
        ]

    runs = {"a": losses("a", 0.2), "b": losses("b", 0.5)}
    runs["b"][0] = Run(Path("b/seed0"), "b", 0, 1, None, "finished", figures={"val_loss": 0.52})
    (verdict,) = judge_claims([claim], runs, range(3))
    assert verdict.judgement.verdict == "supported"
    assert verdict.judgement.effect == pytest.approx((0.32 + 0.3 + 0.3) / 3)


def test_a_diverged_seed_is_a_result_and_never_missing() -> None:
    verdict = judged(pair_claim(), a=[0.95, 0.94, 0.96], b=[0.9, None, 0.7])
    assert verdict.differences == pytest.approx({0: 0.05, 1: 0.24, 2: 0.26})  # as the worst that finished, 0.7
    assert "b: 1 of 3 diverged (seed 1; worst rank, counted as 0.7, the worst of the finished runs)" in verdict.reason
    both = judged(pair_claim(), a=[None] * 3, b=[None] * 3)
    assert (both.judgement.verdict, both.judgement.effect, both.judgement.n) == ("undecided", 0.0, 3)


def test_runs_that_lack_a_value_and_seeds_of_one_arm_are_said() -> None:
    runs = {"a": runs_of("a", [0.9, 0.91, 0.92]), "b": [*runs_of("b", [0.8]), *runs_of("b", [0, 0.5], "failed")[1:]]}
    (verdict,) = judge_claims([pair_claim()], runs, range(3))
    assert (verdict.judgement.n, verdict.judgement.verdict, verdict.judgement.more_seeds) == (1, "undecided", 2)
    assert "b: seed 2 not run yet; b: seed 1 failed" in verdict.reason
    (nothing,) = judge_claims([pair_claim()], {"a": [], "b": []}, range(3))
    assert (nothing.judgement.effect, nothing.p, nothing.judgement.n) == (None, None, 0)


def test_runs_that_tuned_never_enter() -> None:
    from dataclasses import replace

    runs = {name: runs_of(name, [0.9, 0.8, 0.7]) for name in "ab"}
    runs["a"] += [replace(run, seed=9, role="tuning") for run in runs_of("t", [1.0])]
    (verdict,) = judge_claims([pair_claim()], runs, range(3))
    assert verdict.judgement.n == 3


def test_p_values_are_corrected_over_the_claims_of_a_study() -> None:
    runs = {
        name: runs_of(name, [value + 0.01 * seed**2 for seed in range(6)]) for name, value in (("a", 0.5), ("b", 0.3))
    }
    runs["b"][0] = runs_of("b", [0.31])[0]
    verdicts = judge_claims([pair_claim(), pair_claim(0.5)], runs, range(6))
    assert [one.p for one in verdicts] == [2 / 64] * 2
    assert [one.p_corrected for one in verdicts] == [4 / 64] * 2


ORDER = Claim("a over b over c", "order", ACCURACY, "up", ("a", "b", "c"), 0.02)


def test_an_order_is_as_good_as_its_weakest_step() -> None:
    a, b, c = [0.95, 0.96, 0.97, 0.95], [0.90, 0.905, 0.91, 0.9], [0.80, 0.79, 0.80, 0.78]
    verdict = judged(ORDER, a=a, b=b, c=c)
    steps = [x - y for x, y in zip(a, b, strict=True)]
    assert verdict.judgement == judge(steps, 0.02, confidence=0.975)
    assert verdict.judgement.verdict == "supported"
    assert verdict.p == max(sign_flip_p(steps), sign_flip_p([x - y for x, y in zip(b, c, strict=True)]))
    assert "weakest step a over b, at 97.5 % confidence" in verdict.reason
    refuted = judged(ORDER, a=a, b=c, c=b)
    assert (refuted.judgement.verdict, list(refuted.differences.values())) == (
        "refuted",
        pytest.approx([x - y for x, y in zip(c, b, strict=True)]),
    )
    assert judged(ORDER, a=a, b=b, c=c[:2]).judgement.verdict == "undecided"


def test_a_trend_is_the_fitted_change_from_the_first_value_of_an_axis_to_the_last() -> None:
    import numpy as np

    arms = {"a": [0.50, 0.52, 0.49], "b": [0.61, 0.6, 0.62], "c": [0.64, 0.69, 0.66], "d": [0.8, 0.83, 0.79]}
    claim = Claim("it rises", "trend", ACCURACY, "up", ("a", "b", "c", "d"), 0.1)
    verdict = judged(claim, **arms)
    slopes = [3 * np.polyfit(range(4), [arms[name][seed] for name in arms], 1)[0] for seed in range(3)]
    assert list(verdict.differences.values()) == pytest.approx(slopes, rel=1e-12)
    assert verdict.judgement.verdict == "supported"
    falls = Claim("it falls", "trend", ACCURACY, "down", ("a", "b", "c", "d"), 0.1)
    assert judged(falls, **arms).judgement.verdict == "refuted"
    # A diverged run is at its worst in accuracy, whatever way the claim goes.
    assert judged(falls, **{**arms, "d": [None] * 3}).differences[0] == pytest.approx(
        -3 * np.polyfit(range(4), [0.5, 0.61, 0.64, 0.49], 1)[0], rel=1e-12
    )


def test_a_metric_that_no_run_logged_is_said(tmp_path: Path) -> None:
    runs = {}
    for name in "ab":
        runs[name] = [Run(tmp_path / name / f"seed{seed}", name, seed, 1, None, "finished") for seed in range(3)]
        for run in runs[name]:
            run.folder.mkdir(parents=True)
            (run.folder / "metrics.jsonl").write_text('{"step":1,"gradient_norm/total":1.0}\n')
    claim = Claim("a", "pair", parse_point("gradient_norm/totl:max"), "up", ("a", "b"), 0.1)
    (verdict,) = judge_claims([claim], runs, range(3))
    assert 'no run logged gradient_norm/totl. Did you mean "gradient_norm/total"?' in verdict.reason
    (verdict,) = judge_claims([replace(claim, point=parse_point("gradient_norm/total:@step9"))], runs, range(3))
    assert "no run has gradient_norm/total:@step9" in verdict.reason
    (runs["a"][0].folder / "metrics.jsonl").unlink()
    (verdict,) = judge_claims([claim], runs, range(3))
    assert f"{runs['a'][0].folder}/metrics.jsonl: missing" in verdict.reason


@pytest.mark.parametrize(("name", "metric"), [("summary.json", "accuracy/val"), ("metrics.jsonl", "accuracy/val:mean")])
def test_a_run_whose_records_were_changed_is_left_out_and_named(
    write_run: Callable[..., Path], tmp_path: Path, name: str, metric: str
) -> None:
    for arm, value in (("a", 0.9), ("b", 0.8)):
        for seed in range(4):
            folder = write_run(
                tmp_path / arm / f"seed{seed}", config={"seed": seed}, accuracies=(0.5, value + seed / 90)
            )
            content, meta = (folder / "metrics.jsonl").read_bytes(), folder / "meta.json"
            rows = Rows(content.count(b"\n"), len(content), hashlib.sha256(content).hexdigest())
            meta.write_text(json.dumps({**json.loads(meta.read_text()), **seal_of_figures(folder, rows)}))

    def judged_now() -> Any:
        runs = {arm: [read_run(tmp_path / arm / f"seed{seed}") for seed in range(4)] for arm in "ab"}
        return judge_claims([replace(pair_claim(), point=parse_point(metric))], runs, range(4))[0]

    whole = judged_now()
    assert (whole.judgement.n, list(whole.differences)) == (4, [0, 1, 2, 3])
    changed = tmp_path / "a" / "seed1" / name
    changed.write_text(re.sub(r'("accuracy(/val)?": ?)0\.9[0-9]*', r"\g<1>0.99", changed.read_text()))
    verdict = judged_now()
    assert verdict.differences == {seed: one for seed, one in whole.differences.items() if seed != 1}
    assert "a: seed 1 left out, as records were changed after the end" in verdict.reason
    assert str(changed) in verdict.reason


def test_the_table_has_a_row_and_a_reason_a_claim() -> None:
    table = verdict_table(
        [judged(pair_claim(), a=[0.9, 0.91, 0.95], b=[0.8, 0.82, 0.83]), judged(pair_claim(), a=[0.9], b=[])]
    )
    assert [row["verdict"].text for row in table.rows] == ["supported", "undecided"]
    assert [note[:2] for note in table.notes] == ["1:", "2:"]


def found(**claim: Any) -> Claim:
    section = ClaimSection.model_validate({"claim": "c", "metric": "accuracy/val", "at_least": 0.02, **claim})
    (one,) = find_claims([section], ARMS, dict.fromkeys(ARMS, ProbesConfig()), lambda index: "study.yaml:9")
    return one


def test_claims_are_about_the_arms_of_the_sweep() -> None:
    two = found(better="norm=bn,lr=1", than="norm=none,lr=1", metric="loss/val:min")
    assert (two.kind, two.arms, two.direction) == ("pair", ("norm=bn,lr=1", "norm=none,lr=1"), "down")
    trend = found(over="optimizer.lr", where={"model.norm": "none"}, direction="down")
    assert (trend.kind, trend.arms) == ("trend", ("norm=none,lr=0.1", "norm=none,lr=0.3", "norm=none,lr=1"))
    assert found(over="lr", where={"norm": "none"}, direction="down") == trend


BOTH = {"better": "norm=bn,lr=1", "than": "norm=none,lr=1"}


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ({"better": "norm=bm,lr=1", "than": "norm=none,lr=1"}, 'Did you mean "norm=bn,lr=1"?'),
        ({"better": "lr=0.3, norm=none", "than": "norm=none,lr=1"}, 'Did you mean "norm=none,lr=0.3"?'),
        ({**BOTH, "metric": "accuracy"}, "accuracy/val:best"),
        ({**BOTH, "at_least": 2}, "2 percentage points are written 0.02"),
        ({**BOTH, "metric": "gradient_norm/total"}, "direction: up"),
        ({**BOTH, "metric": "acuracy/val"}, 'Did you mean "accuracy/val"?'),
        ({**BOTH, "metric": "loss/valid"}, 'Did you mean "loss/val"?'),
        ({**BOTH, "metric": "wibble/val:max"}, "docs/probes.md"),
        (
            {**BOTH, "metric": "landscape_loss_max/path:max"},
            "the probe landscape, which is off; expected such",
        ),
        ({**BOTH, "direction": "down"}, "leave direction out"),
        ({"over": "optimizer.lr", "direction": "up"}, "where: {model.norm: VALUE}"),
        ({"over": "optimizer.rl", "direction": "up"}, 'Did you mean "optimizer.lr"?'),
        ({"over": "optimizer.lr", "where": {"model.norm": "ln"}, "direction": "up"}, "0 arms; expected three"),
        ({"over": "model.norm", "where": {"optimizer.lr": 1}, "direction": "up"}, "2 arms; expected three"),
    ],
)
def test_claims_about_what_is_not_there_are_refused(claim: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        found(**claim)
    assert str(caught.value).startswith("study.yaml:9: claims[0]: ")
    assert said in str(caught.value)
