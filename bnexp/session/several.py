"""Several processes of one command: process 0 leads, and goes through the command; the others follow what it begins."""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bnexp.blueprint import Blueprint
from bnexp.errors import BnexpError, Interrupted
from bnexp.session.signals import StopRequest
from bnexp.session.terms import is_one_of_several

if TYPE_CHECKING:
    from bnexp.training.world import World

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Assignment:
    """A run that process 0 begins, and that all train: the state that it is resumed from follows, or None."""

    blueprint: Blueprint
    data_dir: Path
    device: str


def lead_or_follow(environment: Mapping[str, str], words: Sequence[str]) -> "World | None":
    """Return the processes that this one leads; None where it is the only one.

    One that does not lead follows until process 0 has ended, and exits as that does.

    Raises:
        ConfigError: they were started in a way that they could not train together.
        BnexpError: they do not find each other.
    """
    if not is_one_of_several(environment, words):
        return None
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # read as torch is loaded: it tells of every lost connection
    from bnexp.training.world import join

    if "TORCHELASTIC_RUN_ID" in environment:
        _end_with_parent()
    world = join(environment)
    if world.rank:
        sys.exit(_follow(world))
    return world


def _end_with_parent() -> None:
    """Let torchrun take its processes along, even where it is killed: to each that is a SIGTERM (Linux alone)."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def leading(world: "World | None") -> Iterator[None]:
    """End the other processes, if any, when the context ends, with the exit code that this one will have."""
    if world is None:
        yield
        return
    code = 0
    try:
        yield
    except BaseException as error:
        # Whoever started the processes ends all at the first that ends; this one still has something to say.
        with contextlib.suppress(ValueError):  # only the main thread can
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        by_ctrl_c = 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
        code = error.exit_code if isinstance(error, BnexpError) else by_ctrl_c
        raise
    finally:
        world.end(code)


def _follow(world: "World") -> int:
    """Take part in every run that process 0 begins, until it ends; return the exit code."""
    stop = StopRequest(speaks=False)
    try:
        with stop.listening():
            order = world.told()
            while isinstance(order, Assignment):
                ended = _take_part(order, world, stop)
                order = world.told() if ended is None else ended
        return int(order)
    except Interrupted as stopped:
        world.fail(str(stopped))
        return stopped.exit_code
    except Exception as error:
        return _exit_code_after(error, world)


def _exit_code_after(error: Exception, world: "World") -> int:
    """Return the exit code after an error; only one that nobody else tells of is told of here."""
    import torch

    from bnexp.training.world import lost_connection

    if lost_connection(error):
        if world.ended is None and world.rank == 1 and world.word("fault") is None:
            print("error: process 0, which keeps the records, is gone: it was killed, perhaps", file=sys.stderr)
        return 1 if world.ended is None else world.ended
    if isinstance(error, BnexpError):
        world.fail(str(error))
        if torch.cuda.is_available():  # NCCL may hold process 0 where it cannot speak any more
            print(f"error: process {world.rank} of {world.size}: {error}", file=sys.stderr)
        return error.exit_code
    world.fail(f"{type(error).__name__}: {error}")
    raise error


def _take_part(assignment: Assignment, world: "World", stop: StopRequest) -> int | None:
    """Train a run to its end, without records, display or probes; return the exit code where process 0 gave up."""
    from bnexp.runs.rows import Writers
    from bnexp.session.checkpoint import restore_run
    from bnexp.session.faults import faults_explained
    from bnexp.training.build import build
    from bnexp.training.device import computing_as
    from bnexp.training.loop import train
    from bnexp.training.progress import Progress

    with faults_explained(assignment.blueprint.config):
        device = world.device_word(assignment.device)
        run = build(assignment.blueprint, data_dir=assignment.data_dir, device=device, world=world)
        with computing_as(run.config.training):
            progress, state = Progress.start(run, Writers([])), world.told()
            if isinstance(state, int):
                return state
            if state is not None:
                restore_run(run, {**state, "probes": {}})
                progress.load_state_dict(state["progress"], state["step"])
            stops = world.stop_together(lambda: stop.number, stop.take)
            with stop.finishing_the_step():
                if not progress.ended:
                    train(run, progress, stop=stops)
    return None
