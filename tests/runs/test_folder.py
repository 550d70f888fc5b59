"""The run folder: never shared, its records whole or not there, and its config never another than config.yaml says."""

import json
import math
import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from bnexp.errors import BnexpError
from bnexp.files import finite_or_null
from bnexp.runs import folder as run_folder
from bnexp.runs.folder import claim_run_folder, seed_of, write_json


def strict(text):
    """Read JSON as the standard has it: without NaN and Infinity."""
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_the_first_folder_has_the_seeds_name_and_the_next_ones_a_number(tmp_path):
    runs = tmp_path / "not" / "made yet"
    folders = [claim_run_folder(runs, "arm", 0) for _ in range(3)]
    assert folders == [runs / "arm" / name for name in ("seed0", "seed0-2", "seed0-3")]
    assert all(folder.is_dir() for folder in folders)
    assert claim_run_folder(runs, "arm", 7) == runs / "arm" / "seed7"
    assert claim_run_folder(runs, "other", 0) == runs / "other" / "seed0"


def test_a_gap_is_filled_and_a_file_in_the_way_is_passed_over(tmp_path):
    (tmp_path / "arm" / "seed0-2").mkdir(parents=True)
    (tmp_path / "arm" / "seed0").write_text("a file")
    assert claim_run_folder(tmp_path, "arm", 0).name == "seed0-3"


def test_threads_that_claim_at_once_get_folders_of_their_own(tmp_path):
    together, claimed = threading.Barrier(8), []

    def claim():
        together.wait(timeout=30)
        claimed.append(claim_run_folder(tmp_path, "arm", 0))

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(folder.name for folder in claimed) == ["seed0", *(f"seed0-{number}" for number in range(2, 9))]


def _claim(runs, together, claimed):
    together.wait(timeout=30)
    claimed.put([claim_run_folder(runs, "arm", 0).name for _ in range(5)])


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs processes that start at once")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_processes_that_claim_at_once_get_folders_of_their_own(tmp_path):
    context = multiprocessing.get_context("fork")
    together, claimed = context.Barrier(8), context.SimpleQueue()
    processes = [context.Process(target=_claim, args=(tmp_path, together, claimed)) for _ in range(8)]
    for process in processes:
        process.start()
    names = [name for _ in processes for name in claimed.get()]
    for process in processes:
        process.join()
    assert len(names) == len(set(names)) == 40


@pytest.mark.parametrize("in_the_way", ["runs", "runs/arm"])
def test_a_place_that_cannot_be_written_is_named(tmp_path, in_the_way):
    blocked = tmp_path / in_the_way
    blocked.parent.mkdir(exist_ok=True)
    blocked.write_text("a file")
    with pytest.raises(BnexpError, match=r"cannot make the run's folder: .*--runs-dir") as found:
        claim_run_folder(tmp_path / "runs", "arm", 0)
    assert str(tmp_path / "runs" / "arm") in str(found.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_place_without_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(BnexpError, match="Permission denied"):
            claim_run_folder(tmp_path, "arm", 0)
    finally:
        tmp_path.chmod(0o700)


def test_figures_that_are_not_finite_become_null_at_any_depth(tmp_path):
    nan, inf = math.nan, math.inf
    values = {"a": nan, "b": {"c": [1.5, inf, {"d": -inf, "e": "nan"}]}, "f": (nan, 2), "g": None, "h": True, "i": 0.0}
    write_json(tmp_path / "summary.json", values)
    text = (tmp_path / "summary.json").read_text()
    assert strict(text) == {
        **{"a": None, "b": {"c": [1.5, None, {"d": None, "e": "nan"}]}},
        **{"f": [None, 2], "g": None, "h": True, "i": 0.0},
    }
    assert text.endswith("}\n")
    assert math.isnan(values["a"]), "the values handed in stay what they were"


def test_finite_figures_are_kept_to_the_last_digit(tmp_path):
    values = {"a": 0.1 + 0.2, "b": 5e-324, "c": 1.7976931348623157e308, "d": 2**60}
    write_json(tmp_path / "summary.json", values)
    assert strict((tmp_path / "summary.json").read_text()) == values
    assert finite_or_null(values) == values


def test_what_is_no_json_is_an_error_and_leaves_no_file(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "meta.json", {"path": tmp_path})
    assert list(tmp_path.iterdir()) == []


def test_the_names_of_the_records_are_those_of_the_documentation():
    documented = run_folder.__doc__
    names = (run_folder.CONFIG, run_folder.CONFIG_COPY, run_folder.META, run_folder.METRICS, run_folder.SUMMARY)
    for name in names:
        assert f"  {name}" in documented


def test_seed_and_repeat_of_a_folder():
    assert seed_of(Path("seed3")) == (3, 1)
    assert seed_of(Path("seed3-12")) == (3, 12)
    assert seed_of(Path("best")) == (None, 1)
