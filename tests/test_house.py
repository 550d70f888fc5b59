"""The house: who may import whom, what stays light, and that every declared name can be built."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from bnexp.config.data_section import AUGMENTATIONS, PREPROCESSINGS, AugmentName, DatasetName, PreprocessName
from bnexp.config.items import ACTIVATION_NAMES, NORM_NAMES
from bnexp.config.metrics import OF_PROBES
from bnexp.config.model import ARCHITECTURES, ModelConfig
from bnexp.config.schema import ProbesConfig
from bnexp.data.augment import AUGMENTS
from bnexp.data.load import DATASET_LOADERS
from bnexp.data.preprocess import PREPROCESSES
from bnexp.models.activations import ACTIVATIONS
from bnexp.norms.registry import NORMS
from bnexp.probes.registry import PROBES

PACKAGE = Path(__file__).parent.parent / "bnexp"

FLOORS = [
    {"errors", "files", "processes", "streams"},
    {"config"},
    {"document", "plugins"},
    {"runs"},
    {"norms"},
    {"data", "models"},
    {"blueprint"},
    {"measure"},
    {"probes"},
    {"training", "analysis", "lessons"},
    {"session", "inspection"},
    {"sweep"},
    {"commands"},
    {"api"},
    {"option_values", "plain_words"},
    {"flags", "options"},
    {"cli_look"},
    {"cli"},
    {"__main__"},
]


def floor_of(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def imports_of(path: Path) -> Iterator[str]:
    """Yield the rooms of bnexp that a file imports, at any depth of the code."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names]
                if node.module == "bnexp"
                else [str(node.module)]
            )
        for name in names:
            if name.startswith("bnexp."):
                yield name.split(".")[1]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downward(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    room = relative.parts[0].removesuffix(".py")
    if room == "__init__":
        return
    for imported in imports_of(path):
        if imported != room and imported != "__version__":
            assert floor_of(imported) < floor_of(room), f"{relative} imports bnexp.{imported}"


def test_the_map_names_every_room_and_only_files_that_exist() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`((?:\w+/)*\w+\.(?:py|js|md))`", page))
    assert len(named) > 60
    assert [name for name in named if not ((PACKAGE.parent / name).exists() or list(PACKAGE.rglob(name)))] == []
    rooms = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.glob("*/__init__.py")}
    assert [room for room in rooms if f"`{room}/`" not in page] == []


def test_commands_do_not_import_each_other() -> None:
    for path in (PACKAGE / "commands").glob("*.py"):
        assert "commands" not in set(imports_of(path)), path.name


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=str)
def test_packages_are_empty(path: Path) -> None:
    if path.parent != PACKAGE:  # which offers the API
        nodes = ast.parse(path.read_text()).body
        assert all(isinstance(node, ast.Expr | ast.Assign) for node in nodes)


def loaded_modules(code: str) -> set[str]:
    program = f"{code}\nimport sys\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


LIGHT = (
    "config",
    "document",
    "plugins.py",
    "runs",
    "data/sources",
    "blueprint.py",
    "analysis",
    "session/executor.py",
    "sweep",
)


def test_light_rooms_never_load_torch() -> None:
    rooms = [path for room in LIGHT for path in sorted((PACKAGE / room).glob("*.py")) or [PACKAGE / room]]
    files = [
        path for path in rooms if path.name not in ("worker.py", "ray_cluster.py", "ray_nodes.py")
    ]  # the work itself
    places = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in files]
    modules = [place for place in places if not place.endswith("__init__")]
    heavy = "heavy = [name for name in ('torch', 'torchvision', 'pandas', 'scipy', 'ray') if name in sys.modules]"
    lines = [f"import {module}\n{heavy}\nassert not heavy, ('{module}', heavy)" for module in modules]
    loaded = loaded_modules("\n".join(["import sys", *lines]))
    assert set(modules) <= loaded


DRAWING = ("scipy", "pandas", "matplotlib", "torchvision")
COMPILING = ("torch._dynamo", "torch._inductor", "sympy")
COMMANDS = {
    "--help": ("torch", "pydantic", "tensorboard", "numpy", "rich", "yaml", "asyncio"),
    "ls": ("torch", "pydantic", "bnexp.config.schema", "tensorboard", "numpy", *DRAWING),
    "ls runs": ("torch", "pydantic", "numpy"),
    "check tiny.yaml": ("tensorboard", *COMPILING, *DRAWING),
    "train tiny.yaml": (*COMPILING, *DRAWING),
    "compare runs/tiny": (*COMPILING, "scipy", "matplotlib", "torchvision"),
}
"""Commands of one process, and what is not loaded by then."""
TINY = """\
data: {dataset: mnist5k, batch_size: 100}
model: {arch: mlp, hidden: [4], block: linear -> norm -> relu, norm: bn}
optimizer: {name: sgd}
training: {steps: 1}
"""


def test_commands_load_what_they_need_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "runs" / "older" / "seed0").mkdir(parents=True)
    (tmp_path / "runs" / "older" / "seed0" / "meta.json").write_text('{"status": "running"}')
    lines = ["import os, sys", f"os.chdir({str(tmp_path)!r})", "from bnexp.cli import main"]
    for command, heavy in COMMANDS.items():
        lines += [
            f"sys.argv = ['bnexp', *{command.split()!r}]",
            "try: main()",
            "except SystemExit as end: assert not end.code, end.code",
            f"loaded = sorted({set(heavy)!r} & set(sys.modules))",
            f"assert not loaded, ({command!r}, loaded)",
        ]
    assert "torch.optim" in loaded_modules("\n".join(lines))


def test_the_package_alone_loads_next_to_nothing_and_a_config_no_torch() -> None:
    before = loaded_modules("")
    alone = loaded_modules("import bnexp\nassert 'train' in dir(bnexp)") - before
    assert {name for name in alone if name.startswith("bnexp")} == {"bnexp"}
    assert len(alone) < 12
    offered = loaded_modules("import bnexp\nfor name in bnexp.__all__: getattr(bnexp, name)")
    assert "bnexp.api.functions" in offered
    assert not {"torch", "pandas", "matplotlib", "scipy"} & offered


def test_registries_have_exactly_the_declared_names() -> None:
    assert set(NORMS) == set(NORM_NAMES)
    assert set(ACTIVATIONS) == set(ACTIVATION_NAMES)
    assert set(DATASET_LOADERS) == set(get_args(DatasetName))
    families = [get_args(family.model_fields["arch"].annotation)[0] for family in get_args(ModelConfig)]
    assert families == list(ARCHITECTURES)
    assert set(PREPROCESSES) == set(PREPROCESSINGS) == set(get_args(PreprocessName))
    assert set(AUGMENTS) == set(AUGMENTATIONS) == set(get_args(AugmentName))
    assert set(PROBES) == set(ProbesConfig.model_fields)
    measured = {name: {figure.name.partition("/")[0] for figure in probe.figures} for name, probe in PROBES.items()}
    assert {name: set(kinds) for name, kinds in OF_PROBES.items()} == {**measured, "histograms": set()}
