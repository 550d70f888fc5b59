"""Tests that run side by side end as they would by themselves, and are told as if they had run in one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = """\
import side_by_side

def pytest_runtestloop(session):
    side_by_side.run(session, 2)
    return True
"""
FILE = """\
import os
import pytest

@pytest.fixture(scope="module")
def made_once():
    with open("made", "a") as file:
        file.write("{name}\\n")

@pytest.mark.parametrize("number", range(3))
def test_passes(made_once, number):
    print("heard from nobody")

def test_fails(made_once, tmp_path):
    print("said by {name}")
    assert not tmp_path.is_dir()

def test_is_left_out():
    pytest.skip("today")

@pytest.fixture
def falls():
    yield
    raise ValueError("at the end of {name}")

def test_fails_at_its_end(falls):
    pass
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def run(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)


def test_each_test_is_told_with_what_it_said(place):
    names = ["one", "two", "three"]
    for name in names:
        (place / f"test_{name}.py").write_text(FILE.format(name=name))
    done = run(place)
    assert done.returncode == 1
    assert "3 failed, 12 passed, 3 skipped, 3 errors" in done.stdout
    assert "heard from nobody" not in done.stdout
    assert sorted((place / "made").read_text().split()) == sorted(names)
    for name in names:
        assert f"said by {name}" in done.stdout
        assert f"ValueError: at the end of {name}" in done.stdout


@pytest.mark.parametrize(
    ("second", "words", "said", "code"),
    [
        ("os._exit(0)", [], "a process died; it last told of test_one.py::test_second !", 2),
        ("raise KeyboardInterrupt", [], "a process died; it last told of test_one.py::test_second !", 2),
        ("assert 0", ["-x"], "stopping after 1 failures", 1),
    ],
)
def test_no_end_of_a_process_is_missed(place, second, words, said, code):
    (place / "test_one.py").write_text(f"import os\ndef test_first(): pass\ndef test_second():\n    {second}\n")
    done = run(place, *words)
    assert said in done.stdout
    assert done.returncode == code
