"""bnexp's own training against its rivals, in turns of a few steps, beside the roofline."""

import time
from collections.abc import Mapping
from typing import Any

from benchmarks.ours import NOWHERE, session_of
from benchmarks.report import Report, Terms, table
from benchmarks.rivals import RIVALS, Rival, Turn, as_fast, why_not_here
from benchmarks.roofline import roofline
from benchmarks.turns import Turns, compared, say, why
from benchmarks.workloads import WORKLOADS
from bnexp.blueprint import draw
from bnexp.errors import BnexpError
from bnexp.measure.machine import forget_peak, synchronize
from bnexp.training.build import TrainingRun, build


def epochs(name: str, terms: Terms) -> Report:
    """Time a workload by all ways in turns; one that fails says so, and the others go on."""
    workload = WORKLOADS[name]
    config = workload.config_on(terms)
    began = time.perf_counter()
    run = build(draw(config, NOWHERE), data_dir=NOWHERE, device=terms.device)
    ready = {"build_s": time.perf_counter() - began}
    say(f"{name}: bnexp built in {ready['build_s']:.1f} s")
    rival = Rival(workload, config, run.plan, run.dataset, run.device)
    limit, failed = _limit(rival, terms), dict[str, str]()
    turns = Turns(run, _rivals(name, rival, terms, failed), len(rival.batches), name)
    spent: dict[str, Any] = {}
    if terms.ways is None or "bnexp" in terms.ways:
        try:
            spent = _train(run, turns, ready)
        except Exception as error:
            failed["bnexp"] = why(error)
            say(f"{name}: bnexp failed: {failed['bnexp']}")
    turns.without_bnexp()
    failed |= turns.failed
    figures = compared(turns.tallies, rival.batch)
    for figure in figures.values():
        figure["of_roofline"] = figure["examples_per_s"] / limit["examples_per_s"] if limit else None
    plan, counted = run.plan, run.plan.total_steps - (turns.counted_from or 0)
    title = f"{workload.title}, {config.training.precision}: {counted:,} of {plan.total_steps:,} steps of {rival.batch}"
    title += f", {plan.steps_per_epoch} and {plan.val_examples:,} to validate an epoch"
    title += "".join(f", {change}" for change in terms.overrides)
    parts = [_table(figures), *([_in_words(limit)] if limit else []), *([_spent(spent)] if spent else [])]
    parts += [f"{way} failed: {reason}" for way, reason in failed.items()]
    values = {"title": title, "ways": figures, "bnexp": spent, "failed": failed, "roofline": limit}
    return Report(name, "\n\n".join([f"### {title}", *parts]), values)


def _limit(rival: Rival, terms: Terms) -> dict[str, float]:
    """Return the roofline; nothing where it could not be measured."""
    try:
        with as_fast(rival.config.training):
            return roofline(rival, small=terms.small)
    except Exception as error:
        say(f"no roofline: {why(error)}")
        return {}


def _rivals(name: str, rival: Rival, terms: Terms, failed: dict[str, str]) -> dict[str, Turn]:
    """Return the turns of the rivals that are asked for, ready to be timed; `failed` takes up why others are not."""
    ready = dict[str, Turn]()
    for way, make in RIVALS.items():
        if why_not_here(way, terms.device) if terms.ways is None else way not in terms.ways:
            continue
        began = time.perf_counter()
        try:
            with as_fast(rival.config.training):
                ready[way] = make(rival)
                synchronize(rival.device)
        except Exception as error:
            failed[way] = why(error)
            say(f"{name}: {way} failed: {failed[way]}")
        else:
            say(f"{name}: {way} ready in {time.perf_counter() - began:.1f} s")
    return ready


def _train(run: TrainingRun, turns: Turns, ready: dict[str, float]) -> dict[str, Any]:
    """Train with the turns of all, and return what bnexp's time went into: what counts, and what came before."""
    forget_peak(run.device)  # of the roofline and the rivals: a recording asks whether there is room beside a step
    began = time.perf_counter()
    with session_of(run) as session:
        ready |= {"compile_s": session.compile_s, "start_s": time.perf_counter() - began - session.compile_s}
        clock = session.progress.clock
        turns.begin()
        session.train(turns.show, say)
        session.end()
        turns.end()
        totals = clock.state_dict()
    if session.progress.steps < run.plan.total_steps:
        raise BnexpError(f"the training ended after step {session.progress.steps:,} of {run.plan.total_steps:,}")
    if not turns.tallies["bnexp"].turns:
        turns.counted_from = None
        raise BnexpError(f"it was not ready before step {run.plan.total_steps:,}, its last; take more --steps")
    spent = {key: totals[key] - turns.clock_at_first[key] for key in totals}
    training_s = spent["total_s"] - spent["evaluation_s"] - spent["checkpoint_s"]
    return {
        "ready": {**ready, "first_steps": turns.counted_from, "first_s": turns.first_s},
        "recorded": run.graph.recorded,
        "not_recorded": run.graph.reason,
        "measuring_of_training": spent["measuring_s"] / training_s,
        "evaluation": spent["evaluation_s"] / spent["total_s"],
        "checkpoints": spent["checkpoint_s"] / spent["total_s"],
    }


def _table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    columns = ("way", "ms a step", "examples/s", "time / bnexp's", "by turns", "of the roofline", "turns")
    rows = [
        (
            way,
            f"{figure['step_ms']:.4g}",
            f"{figure['examples_per_s']:,.0f}",
            _or_empty(figure["over_bnexp"], "{:.3f}"),
            "{1:.3f} ({0:.3f} to {2:.3f})".format(*figure["of_turns"]) if figure["of_turns"] else "",
            _or_empty(figure["of_roofline"], "{:.0%}"),
            f"{figure['turns']} of {figure['steps'] / figure['turns']:.3g}",
        )
        for way, figure in figures.items()
    ]
    return table(columns, rows)


def _or_empty(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _spent(spent: Mapping[str, Any]) -> str:
    """Return what bnexp's time went into as sentences."""
    ready, graph = spent["ready"], ""
    if spent["recorded"]:
        graph = f" Its step is recorded as a CUDA graph, of {spent['recorded']} kinds."
    if spent["not_recorded"]:
        graph = f" Its step is not recorded as a CUDA graph: {spent['not_recorded']}."
    compiled = f", compile {ready['compile_s']:.1f}" if ready["compile_s"] else ""
    return (
        f"bnexp measures for {spent['measuring_of_training']:.1%} of its training; evaluations are "
        f"{spent['evaluation']:.1%} of its time, checkpoints {spent['checkpoints']:.1%}. To get ready, not counted: "
        f"build {ready['build_s']:.1f} s{compiled}, start {ready['start_s']:.1f}, first {ready['first_steps']:,} steps "
        f"{ready['first_s']:.1f}.{graph}"
    )


def _in_words(limit: Mapping[str, float]) -> str:
    """Return the roofline as a sentence."""
    step, rate = f"{limit['step_ms']:.3g} ms a step", f"{limit['examples_per_s']:,.0f} examples/s"
    work, moved = f"{limit['gflop_per_step']:.3g} GFLOP", f"{limit['mb_per_step']:.3g} MB"
    product, convolution = (f"{limit[f'{kind}_gflop_per_s']:,.0f}" for kind in ("matmul", "convolution"))
    peaks = (
        f"a large product has {product} GFLOP/s, a convolution {convolution}, a copy {limit['copy_gb_per_s']:.3g} GB/s"
    )
    return f"Roofline {step}, {rate}: {work} and {moved} a step; {peaks}."
