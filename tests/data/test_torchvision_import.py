"""Importing torchvision beside a torch that its compiled operators do not fit."""

import importlib
import subprocess
import sys
from types import ModuleType

import pytest

from bnexp.data import torchvision_import
from bnexp.data.torchvision_import import torchvision_datasets

NMS_MISSING = "operator torchvision::nms does not exist"


@pytest.fixture
def imports(monkeypatch):
    """Return a function that replaces the import by a list of outcomes, and the list of what was declared."""

    def simulate(*outcomes):
        left, declared = list(outcomes), []

        def fake_import(name):
            assert name == "torchvision.datasets"
            outcome = left.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(importlib, "import_module", fake_import)
        monkeypatch.setattr(torchvision_import, "_declare_operators", lambda: declared.append(True))
        return declared

    return simulate


def test_where_the_import_works_nothing_is_declared(imports):
    module = ModuleType("datasets")
    declared = imports(module, module)
    assert torchvision_datasets() is module
    assert torchvision_datasets() is module
    assert declared == []


def test_where_the_operators_do_not_fit_they_are_declared_and_it_is_tried_again(imports):
    module = ModuleType("datasets")
    declared = imports(RuntimeError(NMS_MISSING), module, module)
    assert torchvision_datasets() is module
    assert torchvision_datasets() is module
    assert declared == [True]


@pytest.mark.parametrize("error", [RuntimeError("CUDA is on fire"), ImportError("no module named torchvision")])
def test_another_failure_passes_through(imports, error):
    declared = imports(error)
    with pytest.raises(type(error), match=str(error)):
        torchvision_datasets()
    assert declared == []


@pytest.mark.long
def test_the_declared_operators_are_those_that_the_import_asks_for():
    # In a process of its own: a declaration is for the whole process. -W error: the import must not warn either.
    program = f"""
import importlib, torch
from bnexp.data.torchvision_import import _declared, torchvision_datasets

def exists(name):
    return torch._C._dispatch_has_kernel_for_dispatch_key(name, "Meta")

try:
    importlib.import_module("torchvision")
    fits = True
except RuntimeError as error:
    assert "{NMS_MISSING}" in str(error), error
    fits = False
datasets = torchvision_datasets()
assert datasets is torchvision_datasets()
assert datasets.MNIST.__name__ == "MNIST"
assert len(_declared) == (0 if fits else 1), _declared
assert exists("torchvision::nms")
print("fits" if fits else "declared")
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("fits", "declared")
