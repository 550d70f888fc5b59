"""What comes from outside is said in words, and a bug stays a bug."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.errors import BnexpError
from bnexp.runs.folder import META, METRICS, SUMMARY, how_to_resume
from bnexp.runs.own_lock import OWN_LOCK, LostLock
from bnexp.runs.run import read_run
from bnexp.session import life
from bnexp.session.display import Display
from bnexp.session.faults import faults_explained
from bnexp.session.life import start
from bnexp.session.resume import resume
from bnexp.session.terms import Terms
from bnexp.training import evaluation
from bnexp.training.clock import Clock

MakeConfig = Callable[..., Config]


class FailsAt(Display):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def step(self, step: int, clock: Clock) -> None:
        if step == 8:
            raise self.error


FAULTS: dict[str, tuple[Exception, str]] = {
    "memory of the GPU": (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        r"out of memory with data.batch_size 16, data.eval_batch_size 1024; .*--set data.batch_size=8",
    ),
    "memory of the CPU": (
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: 8 bytes"),
        "out of memory with data.batch_size 16",
    ),
    "memory of Python": (MemoryError(), "out of memory with data.batch_size 16"),
    "vanished GPU": (
        torch.AcceleratorError("CUDA error: unspecified launch failure\nCUDA kernel errors might be ..."),
        "the GPU stopped answering: CUDA error: unspecified launch failure\n",
    ),
    "full disk": (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device; free some space"),
    "full quota": (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "free some space"),
    "read-only disk": (OSError(errno.EROFS, os.strerror(errno.EROFS)), "make the folder writable"),
}


def test_memory_that_an_evaluation_lacks_is_got_by_fewer_examples_at_once(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocated = evaluation.evaluate

    def too_large(network: Any, dataset: Any, part: Any, batch_size: int, precision: Any) -> Any:
        if batch_size > 8:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")
        return allocated(network, dataset, part, batch_size, precision)

    monkeypatch.setattr(evaluation, "evaluate", too_large)
    terms = Terms(runs_dir=tmp_path, data_dir=tmp_path, device="cpu")
    folder = tmp_path / "small" / "seed0"
    line = f"bnexp resume {folder} --set data.eval_batch_size=8"
    with pytest.raises(BnexpError, match=r"out of memory in the evaluation, .* data.eval_batch_size 1,024") as said:
        start(draw(make_config(model={"norm": "ln"}), tmp_path), terms)
    assert f"need less: {line}\nwith more memory, it can be resumed after step 0" in str(said.value)
    run = read_run(folder)
    assert line in run.first_line_of_error
    assert not run.can_resume, "as it is, it comes no further"
    smaller = make_config(model={"norm": "ln"}, data={"eval_batch_size": 8})
    assert resume(folder, Terms(data_dir=tmp_path), config=smaller).summary["status"] == "finished"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_message_with_what_to_do_and_the_run_goes_on(
    make_config: MakeConfig, tmp_path: Path, fault: str
) -> None:
    error, words = FAULTS[fault]
    with pytest.raises(BnexpError, match=words) as said:
        start(
            draw(make_config(), tmp_path),
            Terms(runs_dir=tmp_path, data_dir=tmp_path, device="cpu", show=lambda name, plan: FailsAt(error)),
        )
    folder = tmp_path / "small" / "seed0"
    assert said.value.exit_code == 1
    assert str(said.value).endswith(f"it can be resumed after step 6: bnexp resume {folder}")
    assert len(str(said.value).splitlines()) == 2
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["status"] == "failed"
    assert str(said.value).startswith(meta["error"])
    assert resume(folder, Terms(data_dir=tmp_path)).summary["status"] == "finished"


def test_too_little_memory_before_there_is_a_folder_makes_none(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*arguments: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(life, "build", build)
    with pytest.raises(BnexpError, match=r"out of memory with data\.batch_size 16"):
        start(draw(make_config(), Path("data")), Terms(runs_dir=tmp_path / "runs", device="cpu"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("error", [RuntimeError("shapes cannot be multiplied"), KeyError("x"), ZeroDivisionError()])
def test_a_bug_stays_a_bug(make_config: MakeConfig, tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as raised, faults_explained(make_config(), tmp_path):
        raise error
    assert raised.value is error


def test_the_command_that_goes_on_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "my runs; $HOME" / "seed0"
    (folder / "checkpoints").mkdir(parents=True)
    assert how_to_resume(folder) == f"no checkpoint is there yet, it can begin anew: bnexp resume '{folder}'"
    (folder / "checkpoints" / "step1200.pt").touch()
    assert how_to_resume(folder) == f"it can be resumed after step 1,200: bnexp resume '{folder}'"


class LosesItsLock(Display):
    """Stands for a process that sleeps until another one broke its lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def step(self, step: int, clock: Clock) -> None:
        if step == 8:
            (self.folder / OWN_LOCK).write_text('{"token": "of the other"}')
            (self.folder / META).write_text("the other's")


def test_a_run_whose_lock_another_process_took_ends_and_writes_nothing(make_config: MakeConfig, tmp_path: Path) -> None:
    config, folder = make_config(), tmp_path / "small" / "seed0"
    terms = Terms(tmp_path, tmp_path, "cpu", show=lambda name, plan: LosesItsLock(folder))
    with pytest.raises(LostLock, match="another process took the lock"):
        start(draw(config, tmp_path), terms)
    assert (folder / META).read_text() == "the other's"
    assert not (folder / SUMMARY).exists()
    assert json.loads((folder / METRICS).read_text().splitlines()[-1])["step"] <= 8
    assert (folder / OWN_LOCK).read_text() == '{"token": "of the other"}'
