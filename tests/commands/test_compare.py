"""`bnexp compare`: what is printed, and that no damage to a run folder ends it with a traceback."""

import contextlib
import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bnexp.analysis.arm_rows import DEVICE_MIB, FIGURES, PROCESS_MIB, RUN_MIB
from bnexp.commands.compare import compare
from bnexp.config import yaml_text
from bnexp.config.yaml_text import read_yaml_file
from bnexp.errors import ConfigError
from bnexp.runs import seal
from effort import calls_of
from records import CONFIG, merged, write_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two arms of two seeds: bn reaches 0.96 and 0.98 on the test set, plain 0.90 and 0.92."""
    for name, block, tests in (("plain", "linear -> relu", (0.90, 0.92)), ("bn", "linear -> bn -> relu", (0.96, 0.98))):
        for seed, test in enumerate(tests):
            config = {"name": name, "seed": seed, "model.block": block}
            write_run(tmp_path / "runs" / name / f"seed{seed}", config=config, test=test)
    return tmp_path / "runs"


def printed(function: Callable[..., None], *arguments: Any, **options: Any) -> tuple[str, str]:
    """Return what was written to standard output and to standard error."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        function(*arguments, **options)
    return out.getvalue(), err.getvalue()


def test_runs_that_served_to_tune_are_left_out_beside_others_and_shown_by_themselves(runs: Path) -> None:
    for rate in (0.1, 0.2):
        config = {"name": f"bn,lr={rate}", "seed": 10_000, "optimizer.lr": rate}
        write_run(runs / "tuning" / f"bn,lr={rate}" / "seed10000", config=config, meta={"role": "tuning"}, test=1.0)
    out, _ = printed(compare, [], runs_dir=runs)
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["bn", "plain"]
    note = f"2 runs left out that only served to tune, on seeds of their own: bnexp compare {runs / 'tuning'}"
    assert f"note: {note}\n" in out
    by_themselves, _ = printed(compare, [str(runs / "tuning")], runs_dir=runs)
    assert [line.split()[0] for line in by_themselves.splitlines()[1:3]] == ["bn,lr=0.1", "bn,lr=0.2"]
    assert "left out" not in by_themselves


def test_runs_that_were_made_longer_are_named(runs: Path) -> None:
    former = {"lengthened_from": [{"steps": 20, "summary_sha256": "of then"}]}
    write_run(
        runs / "bn" / "seed2", config={"name": "bn", "seed": 2, "model.block": "linear -> bn -> relu"}, meta=former
    )
    out, _ = printed(compare, [], runs_dir=runs)
    assert "note: 1 run (bn) had ended, and been scored on the test set, before being made longer" in out


def test_into_a_pipe_one_plain_line_an_arm_with_all_columns(runs: Path) -> None:
    out, _ = printed(compare, [], runs_dir=runs, target=0.8)
    header, first, second, *notes = out.splitlines()
    assert re.split(r" {2,}", first)[:2] == ["bn", "linear -> bn -> relu"]
    assert re.split(r" {2,}", second)[:2] == ["plain", "linear -> relu"]
    assert "97.00 ± 1.41" in first
    assert "91.00 ± 1.41" in second
    assert all((column.header in header) != (column in (DEVICE_MIB, RUN_MIB, PROCESS_MIB)) for column, _ in FIGURES)
    assert len({len(re.split(r" {2,}", line)) for line in (header, first, second)}) == 1
    assert all(note.startswith("note: ") for note in notes)
    assert not re.search("[\x1b\u2500-\u257f]", out)


def test_csv_is_fractions_in_full_precision(runs: Path) -> None:
    out, err = printed(compare, [], runs_dir=runs, output="csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["name"] for row in rows] == ["bn", "plain"]
    assert [float(row["test_accuracy_mean"]) for row in rows] == [0.97, pytest.approx(0.91, abs=1e-15)]
    assert [float(row["test_accuracy_std"]) for row in rows] == [pytest.approx(0.02 / 2**0.5)] * 2
    assert {row["test_accuracy_n"] for row in rows} == {"2"}
    assert {row["model.block"] for row in rows} == {"linear -> relu", "linear -> bn -> relu"}
    assert "note: ± is the sample standard deviation" in err


def test_json_and_markdown(runs: Path) -> None:
    table = json.loads(printed(compare, [], runs_dir=runs, output="json", target=0.8)[0])
    assert [row["test_accuracy"]["n"] for row in table["rows"]] == [2, 2]
    assert [row["epochs_to_target"]["mean"] for row in table["rows"]] == [2.0, 2.0]
    # step 20, at 1.5 ms a step
    assert [row["seconds_to_target"]["mean"] for row in table["rows"]] == [0.03, 0.03]
    assert [row["peak_process_mib"]["mean"] for row in table["rows"]] == [300.0, 300.0]
    lines = printed(compare, [], runs_dir=runs, output="markdown")[0].splitlines()
    assert {line.count(" | ") for line in lines[:4]} == {lines[0].count(" | ")}
    assert lines[2].startswith("| bn | linear -> bn -> relu | ")


def test_latex_is_a_tabular_of_booktabs(runs: Path) -> None:
    out, _ = printed(compare, [], runs_dir=runs, output="latex")
    lines = out.splitlines()
    assert lines[:3] == [r"% needs \usepackage{booktabs}", lines[1], r"\toprule"]
    assert lines[1].startswith(r"\begin{tabular}{llr")
    assert lines[3].startswith(r"arm & model.block & test \% & ")
    assert lines[5].startswith(r"bn & linear $\to$ bn $\to$ relu & 97.00 $\pm$ 1.41 & ")
    assert {line.count(" & ") for line in (lines[3], *lines[5:7])} == {lines[3].count(" & ")}
    assert lines[7:9] == [r"\bottomrule", r"\end{tabular}"]
    assert all(line.startswith("% ") for line in lines[9:])


def test_a_sweep_of_rates_has_a_second_table(runs: Path) -> None:
    for rate in (1, 10):
        write_run(runs / f"hot{rate}" / "seed0", config={"name": f"bn,lr={rate}", "optimizer.lr": rate}, test=0.5)
    out, _ = printed(compare, [], runs_dir=runs, conditions=["lr=1,10"])
    assert "\neach arm at its own best learning rate, chosen on the validation part\n  arm  best lr  " in out
    shown = json.loads(printed(compare, [], runs_dir=runs, conditions=["lr=1,10"], output="json")[0])
    assert [(row["name"], row["best_lr"], row["open_end"]) for row in shown["rates"]] == [("bn", 1, "both")]
    assert any("may lie beyond: bn" in note for note in shown["notes"])
    err = printed(compare, [], runs_dir=runs, conditions=["lr=1,10"], output="csv")[1]
    assert "note: CSV has one table; --format json also has rates\n" in err


@pytest.mark.parametrize(("sort", "first"), [("name", "bn"), ("block", "bn"), ("model.block", "bn"), ("test %", "bn")])
def test_sort(runs: Path, sort: str, first: str) -> None:
    assert printed(compare, [], runs_dir=runs, sort=sort)[0].splitlines()[1].startswith(first)


def test_a_point_of_a_metric_sorts_by_the_column_of_its_value(runs: Path) -> None:
    for point, column in (("accuracy/test:last", "test_accuracy"), ("accuracy/val", "val_accuracy")):
        assert printed(compare, [], runs_dir=runs, sort=point) == printed(compare, [], runs_dir=runs, sort=column)


def test_smaller_times_come_first(runs: Path) -> None:
    write_run(runs / "fast" / "seed0", config={"name": "fast"}, summary={"time.step_ms": 0.1}, test=0.1)
    assert printed(compare, [], runs_dir=runs, sort="step_ms")[0].splitlines()[1].startswith("fast")
    assert not printed(compare, [], runs_dir=runs)[0].splitlines()[1].startswith("fast")


def test_an_unknown_column_and_a_column_that_needs_a_target(runs: Path) -> None:
    with pytest.raises(ConfigError, match=r'--sort test_acuracy: .*Did you mean "test_accuracy"'):
        compare([], runs_dir=runs, sort="test_acuracy")
    with pytest.raises(ConfigError, match=r"A metric is a column by: --columns loss/train:min"):
        compare([], runs_dir=runs, sort="loss/train:min")
    with pytest.raises(ConfigError, match="needs --target"):
        compare([], runs_dir=runs, sort="epochs_to_target")


@pytest.mark.parametrize("target", [0.0, 95.0, -0.1, float("nan")])
def test_a_target_is_a_fraction(runs: Path, target: float) -> None:
    with pytest.raises(ConfigError, match=r"expected a fraction above 0, up to 1, such as 0\.95"):
        compare([], runs_dir=runs, target=target)


def test_what_moves_the_cursor_or_styles_is_shown_instead(runs: Path) -> None:
    name = "[red]x\x1b[31m"
    write_run(runs / "odd" / "seed0", config={"name": name}, meta={"status": "failed", "error": "[bold]\x1b[2Jno"})
    out, _ = printed(compare, [], runs_dir=runs)
    assert "[red]x\\x1b[31m" in out
    assert "[bold]\\x1b[2Jno" in out
    assert "\x1b" not in out


def test_a_narrow_encoding_is_no_error(runs: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = run_compare(runs, environment)
    assert done.returncode == 0, done.stderr
    assert "97.00 +- 1.41" in done.stdout


def run_compare(runs: Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Compare in a process of its own, which then names the heavy modules that it loaded."""
    code = (
        "import sys; from pathlib import Path; from bnexp.commands.compare import compare; "
        "from bnexp.commands.ls import ls; "
        "compare([], runs_dir=Path(sys.argv[1])); ls(Path(sys.argv[1])); "
        "print('loaded:', [m for m in ('torch', 'pandas', 'scipy', 'numpy', 'pydantic') if m in sys.modules])"
    )
    environment = environment or {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(runs)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_nothing_heavy_is_loaded(runs: Path) -> None:
    done = run_compare(runs)
    assert done.stdout.splitlines()[-1] == "loaded: []", done.stderr


def test_runs_of_two_thousand_rows_are_compared_without_reading_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rows are one file of 3 MB with 25 names, so that the test writes no 75 MB."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    keys = {f"activation_mean/block{layer}.linear{index}": 0.123456789 for layer in range(4) for index in range(10)}
    rows = []
    for step in range(1, 2001):
        evaluated = {"loss/val": 0.1, "accuracy/val": step / 2000} if step % 100 == 0 else {}
        rows.append(json.dumps({"step": step, "epoch": step / 100, **keys, **evaluated}, separators=(",", ":")) + "\n")
    shared, content = tmp_path / "metrics.jsonl", "".join(rows).encode()
    shared.write_bytes(content)
    sealed = {"metrics.size": len(content), "metrics.sha256": hashlib.sha256(content).hexdigest()}
    reached = {"final.step": 2000, "final.accuracy": 1.0}
    for number in range(25):
        config = {"name": f"arm{number // 5}", "seed": number % 5, "optimizer.lr": 0.01 * (number // 5)}
        place = tmp_path / "runs" / f"arm{number // 5}" / f"seed{number % 5}"
        values = merged(CONFIG, config)
        meta = {**sealed, "config_sha256": seal.seal_of(values)}
        folder = write_run(place, config=config, meta=meta, summary=reached)
        with monkeypatch.context() as quick:
            quick.setattr(yaml_text, "read_yaml", lambda *_, values=values: (values, {}))  # which takes long
            seal.write_config(folder, (folder / "config.yaml").read_text())
        (folder / "metrics.jsonl").unlink()
        os.link(shared, folder / "metrics.jsonl")
    for columns in ("", f"{next(iter(keys))}:max, accuracy/val:auc"):
        compare([], runs_dir=tmp_path / "runs" / "arm1", columns=columns)  # what is loaded once
        capsys.readouterr()
        began = time.process_time()
        few, many = (
            calls_of(lambda runs=runs, columns=columns: compare([], runs_dir=runs, columns=columns))
            for runs in (tmp_path / "runs" / "arm0", tmp_path / "runs")
        )
        assert time.process_time() - began < 10  # 0.3 and 0.6: ten times as much where the text is searched slowly
        assert capsys.readouterr().out.count("5 finished") == 6
        assert many < 6 * few
        assert many < 6 * 25 * 2000  # 5.4 a row of two columns; to read a row takes ten more


def is_json(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text.decode()), dict)
    except (ValueError, RecursionError):
        return False


def is_config(path: Path) -> bool:
    try:
        return isinstance(read_yaml_file(path)[0], dict)
    except ConfigError:
        return False


def is_named(folder: Path, name: str, said: str) -> bool:
    return f"{folder / name}:" in said


def must_be_named(path: Path) -> bool:
    """Tell whether the damage is of a kind that the file itself shows."""
    if path.name == "config.yaml":
        return not is_config(path)
    if path.name != "metrics.jsonl":
        return not is_json(path.read_bytes())
    lines = path.read_bytes().split(b"\n")[:-1]
    return any(b'"accuracy/val"' in line and not is_json(line) for line in lines)


damage = st.tuples(st.booleans(), st.floats(0, 1), st.integers(1, 255))
files = st.sampled_from(["config.yaml", "meta.json", "summary.json", "metrics.jsonl"])


@settings(deadline=None)
@given(files, st.lists(damage, min_size=1, max_size=3))
@example("config.yaml", [(True, 0.0, 1)])
@example("summary.json", [(True, 0.5, 1)])
@example("metrics.jsonl", [(False, 0.99, 128)])
def test_no_damage_ends_in_a_traceback_and_the_file_is_named(name: str, damages: list[tuple[bool, float, int]]) -> None:
    from bnexp.commands.ls import ls

    with tempfile.TemporaryDirectory() as place:
        runs = Path(place)
        folder = write_run(runs / "mlp" / "seed0")
        write_run(runs / "mlp" / "seed1", config={"seed": 1})
        path = folder / name
        for cut, where, mask in damages:
            content = bytearray(path.read_bytes())
            at = min(int(where * len(content)), len(content) - 1)
            if cut or not content:
                content = content[: max(at, 0)]
            else:
                content[at] ^= mask
            path.write_bytes(content)
        compared, _ = printed(compare, [], runs_dir=runs, target=0.85)
        listed, _ = printed(ls, runs)
        assert "mlp" in compared
        assert listed.count("seed") >= 2
        if must_be_named(path):
            assert is_named(folder, name, compared)
            assert is_named(folder, name, listed) or name == "metrics.jsonl"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None)
@given(st.sampled_from(["meta.json", "summary.json"]), st.integers(0, 1000), st.integers(0, 1000), anything)
def test_a_value_of_another_kind_is_no_traceback(name: str, section: int, entry: int, value: object) -> None:
    from bnexp.commands.ls import ls

    with tempfile.TemporaryDirectory() as place:
        folder = write_run(Path(place) / "mlp" / "seed0")
        values = json.loads((folder / name).read_text())
        key = list(values)[section % len(values)]
        if isinstance(values[key], dict) and entry % 3:
            values[key][list(values[key])[entry % len(values[key])]] = value
        else:
            values[key] = value
        (folder / name).write_text(json.dumps(values))
        for output in ("table", "csv", "json", "markdown"):
            assert "mlp" in printed(compare, [], runs_dir=Path(place), target=0.85, output=output)[0]
        assert "mlp" in printed(ls, Path(place))[0]


@pytest.mark.parametrize("name", ["config.yaml", "meta.json", "summary.json", "metrics.jsonl"])
def test_a_missing_file_is_named(runs: Path, name: str) -> None:
    folder = runs / "bn" / "seed0"
    (folder / name).unlink()
    assert is_named(folder, name, printed(compare, [], runs_dir=runs)[0])


@pytest.mark.parametrize("name", ["config.yaml", "meta.json", "summary.json", "metrics.jsonl"])
def test_a_folder_in_the_place_of_a_file_is_named(runs: Path, name: str) -> None:
    folder = runs / "bn" / "seed0"
    (folder / name).unlink()
    (folder / name).mkdir()
    assert is_named(folder, name, printed(compare, [], runs_dir=runs)[0])
