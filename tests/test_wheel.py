"""The wheel is whole: built from the sdist and installed alone, it does in an empty folder what pages tell to type."""

import fcntl
import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

import bnexp
import release
from command_line import FOLDER

ROOT = Path(__file__).parents[1]

NOT_OURS = r"__pycache__|\..*_cache|\.venv|\.hypothesis|.*\.egg-info|build|dist|PKG-INFO|setup\.cfg"
IN_TURN = """
import json, sys
from bnexp.cli import main
for words in json.load(sys.stdin):
    sys.argv = ["bnexp", *words]
    try: main()
    except SystemExit as end: assert not end.code, (words, end.code)
"""
"""Runs commands in one process, which loads torch once."""
LEFT_OUT = ["sklearn", "joblib", "cloudpickle", "narwhals", "threadpoolctl", "pandas", "matplotlib"]
"""Modules that no lesson's command loads; docs/offline.md says so."""
WITH_ONE_DATASET = f"""
import sys
sys.modules.update(dict.fromkeys({LEFT_OUT}))  # an import of them fails
from functools import cache
from bnexp.data.load import DATASET_LOADERS
once = cache(lambda: read(None, None))
read, DATASET_LOADERS["mnist5k"] = DATASET_LOADERS["mnist5k"], lambda data, place: once()
"""


@pytest.fixture(scope="module")
def installed() -> Path:
    """Return a virtual environment with nothing but the wheel, which sees the packages of this one.

    Whoever of the processes of the tests comes first makes it.
    """
    folder = Path(os.environ[FOLDER]) / "wheel"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            _install(folder)
            (folder / "done").touch()
    return folder


def tracked() -> list[str]:
    """Return what belongs to the project: the files that git knows, or in an sdist all that are there."""
    if not (ROOT / ".git").exists():
        files = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
        return [str(path) for path in files if not any(re.fullmatch(NOT_OURS, part) for part in path.parts)]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if (ROOT / name).is_file()]


def copy_of_the_repository(place: Path) -> Path:
    for name in tracked():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, place / name)
    return place


def _install(folder: Path) -> None:
    source = copy_of_the_repository(folder / "source")
    wheel = folder / release.built("build_wheel", source, folder)
    place = folder / "venv"
    venv.create(place, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(place)}))
    others = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (packages / "others.pth").write_text("\n".join(others))  # after its own, and no .pth of theirs is read
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "--disable-pip-version-check"]
    options = ["install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--ignore-installed"]
    subprocess.run([*pip, *options, str(wheel)], check=True, env=without_the_repository())


def without_the_repository() -> dict[str, str]:
    """Return the variables of this process but those that lead to the repository, or to data."""
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "BNEXP_DATA")}
    return {**kept, "OMP_NUM_THREADS": "1"}


def run(installed: Path, command: list[str], folder: Path, said: str | None = None) -> str:
    """Run a program of the environment in a folder, without a way to the repository, and return what it printed."""
    folder.mkdir(exist_ok=True)
    program = [str(installed / "venv" / "bin" / command[0]), *command[1:]]
    environment = {**without_the_repository(), "XDG_CACHE_HOME": str(installed / "cache")}
    done = subprocess.run(
        program, cwd=folder, env=environment, input=said or "", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_wheel_holds_all_that_is_read_and_its_metadata_say_where_it_belongs(installed: Path) -> None:
    with zipfile.ZipFile(next(installed.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        told = wheel.read(metadata).decode()
    packed = {name for name in tracked() if name.startswith(("bnexp/", "configs/"))}
    files = {re.sub("^configs/", "bnexp/configs/", name) for name in packed}
    assert names - {name for name in names if ".dist-info/" in name} == files
    assert f"\nVersion: {bnexp.__version__}\n" in told
    for header in ("Keywords", "Classifier: Typing :: Typed", "License-Expression: MIT"):
        assert f"\n{header}" in told


def test_in_an_empty_folder_it_finds_its_configs_and_writes_one_to_edit(installed: Path, tmp_path: Path) -> None:
    where = "import bnexp, bnexp.config.packaged as p; print(bnexp.__file__, p.FOLDER)"
    package, configs = run(installed, ["python", "-c", where], tmp_path).split()
    assert Path(package).is_relative_to(installed / "venv")
    assert Path(configs) == Path(package).parent / "configs"
    commands = [["init"], ["check", "experiment.yaml"], ["check", "configs/resnet_bn.yaml"], ["data", "list"]]
    commands += [["sweep", "studies/placement", "--help"], ["schema"], ["--version"]]
    said = run(installed, ["python", "-c", IN_TURN], tmp_path, json.dumps(commands))
    assert "wrote experiment.yaml" in said
    assert "there is no configs/resnet_bn.yaml: resnet_bn is read, which comes with bnexp" in said


@pytest.mark.long
def test_the_demo_takes_less_than_25_seconds_and_shows_what_it_promises(installed: Path, tmp_path: Path) -> None:
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = run(installed, ["bnexp", "demo"], tmp_path)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime < 25
    rows = {line.split()[0]: line.split() for line in said.splitlines() if line.endswith("  finished")}
    assert set(rows) == {"none", "bn", "ln"}
    assert float(rows["bn"][4]) > float(rows["none"][4]) + 5  # test accuracy, in percent
    assert "bnexp board runs/demo" in said


@pytest.mark.long
def test_what_the_lessons_tell_to_type_runs(installed: Path, tmp_path: Path) -> None:
    """Run them in turn, a lesson a folder, each training shortened; what `bnexp board` serves is tested elsewhere."""
    lessons = sorted((ROOT / "bnexp" / "lessons").glob("*.md"))
    assert len(lessons) > 12
    commands = [["train", "demo", "--set", "training.epochs=1"]]
    for lesson in lessons:
        for line in re.findall(r"^bnexp .*", lesson.read_text(), re.MULTILINE):
            _, verb, *words = shlex.split(line)
            fewer = ["--set", "data.limit=160", *([] if "training.epochs" in line else ["--set", "training.epochs=1"])]
            short = [*fewer, "--quiet"] if verb == "train" else []
            place = ["--runs-dir", lesson.stem] if verb not in ("check", "board") else []
            commands.append([verb, *words, *short, *place, *(["--help"] if verb == "board" else [])])
    run(installed, ["python", "-c", WITH_ONE_DATASET + IN_TURN], tmp_path, json.dumps(commands))
    assert (tmp_path / "runs" / "demo" / "seed0" / "summary.json").is_file()


@pytest.mark.long
def test_the_sdist_is_the_repository_of_which_the_wheel_was_built(tmp_path: Path) -> None:
    sdist = tmp_path / release.built("build_sdist", copy_of_the_repository(tmp_path / "source"), tmp_path)
    with tarfile.open(sdist) as packed:
        assert set(tracked()) <= {name.partition("/")[2] for name in packed.getnames()}


def test_the_rooms_of_the_package_are_those_that_are_packed() -> None:
    packed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    rooms = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in ROOT.glob("bnexp/**/__init__.py")}
    assert sorted(packed) == sorted({*rooms, "bnexp.configs"})


def test_links_of_the_readme_lead_somewhere_and_are_absolute_in_a_release() -> None:
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert all((ROOT / link).exists() for link in links if "://" not in link)
    absolute = release.absolute_links(text, "https://host/bnexp", "v1")
    assert len(links) == len(re.findall(r"\]\((?:https://[^)]+)\)", absolute)) > 20
    line = "![a b](docs/images/c.png) [`d`](docs/d.md), [e](https://e) and [f](#f)"
    raw, blob = "https://host/bnexp/raw/v1", "https://host/bnexp/blob/v1"
    expected = f"![a b]({raw}/docs/images/c.png) [`d`]({blob}/docs/d.md), [e](https://e) and [f](#f)"
    assert release.absolute_links(line, "https://host/bnexp", "v1") == expected


def test_a_named_repository_is_in_the_metadata(tmp_path: Path) -> None:
    (tmp_path / "bnexp").mkdir()
    (tmp_path / "bnexp" / "__init__.py").write_text('__version__ = "4.5.6"\n')
    (tmp_path / "README.md").write_text("[a](a.md)")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "bnexp"\n[tool.x]\ny = 1\n')
    release.name_repository(tmp_path, "https://host/bnexp")
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    assert project["urls"]["Changelog"] == "https://host/bnexp/blob/v4.5.6/CHANGELOG.md"
    assert (tmp_path / "README.md").read_text() == "[a](https://host/bnexp/blob/v4.5.6/a.md)"


def test_what_else_describes_the_project_agrees_with_it() -> None:
    targets = set(re.findall(r"^(\S+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for workflow in (ROOT / ".github" / "workflows").glob("*.yml"):
        jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
        lines = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
        assert lines
        assert {line.removeprefix("make ") for line in lines} <= targets
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert "version" not in cited  # which stands in bnexp/__init__.py alone
    assert release.version() == bnexp.__version__
