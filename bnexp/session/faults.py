"""Messages for what stops a run from outside: too little memory, a full disk, a GPU or another process that is gone."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from bnexp.config.plugin_code import place_in
from bnexp.config.schema import Config
from bnexp.config.wording import brief
from bnexp.errors import BnexpError
from bnexp.files import with_advice
from bnexp.runs.folder import resume_command
from bnexp.runs.plugins import sources_of
from bnexp.runs.run import OUT_OF_MEMORY
from bnexp.training.evaluation import IN_EVALUATION
from bnexp.training.world import World, lost_connection


@contextlib.contextmanager
def faults_explained(
    config: Config, folder: Path | None = None, fewer_at_once: int = 1, world: World | None = None
) -> Iterator[None]:
    """Turn errors that come from outside into a `BnexpError` that says what to do; any other is a bug, and passes.

    `fewer_at_once` is the data.eval_batch_size to try where the memory does not take the config's.
    """
    try:
        yield
    except (OSError, RuntimeError, MemoryError) as error:
        message = (
            (world.fault() if world and lost_connection(error) else None)
            or _of_memory(error, config, folder, fewer_at_once)
            or _of_device(error)
            or _of_own_code(error, config)
            or (_of_records(error, folder) if folder else None)
        )
        if message is None:
            raise
        raise BnexpError(message) from None
    except Exception as error:
        if message := _of_own_code(error, config):
            raise BnexpError(message) from None
        raise


_WORDS_OF_MEMORY = ("can't allocate memory", "out of memory", "bad_alloc", "ALLOC_FAILED")


def _of_memory(error: Exception, config: Config, folder: Path | None, fewer_at_once: int) -> str | None:
    lacking = isinstance(error, torch.OutOfMemoryError | MemoryError) or any(w in str(error) for w in _WORDS_OF_MEMORY)
    if not lacking:
        return None
    size, at_once = config.data.batch_size, config.data.eval_batch_size
    if folder is not None and IN_EVALUATION in getattr(error, "__notes__", ()):
        return (
            f"{OUT_OF_MEMORY} in the evaluation, which scores data.eval_batch_size {at_once:,} examples at once; fewer "
            f"need less: {resume_command(folder)} --set data.eval_batch_size={fewer_at_once}"
        )
    return (
        f"{OUT_OF_MEMORY} with data.batch_size {size}, data.eval_batch_size {at_once}; a smaller batch needs less, "
        f"such as --set data.batch_size={max(size // 2, 1)} in a new run, and so does a smaller network"
    )


def _of_device(error: Exception) -> str | None:
    if not isinstance(error, torch.AcceleratorError) and "CUDA error" not in str(error):
        return None
    return f"the GPU stopped answering: {str(error).splitlines()[0]}"


def _of_own_code(error: Exception, config: Config) -> str | None:
    """Name the line of a registered norm or activation in which it failed, where that is so."""
    if isinstance(error, BnexpError):
        return None
    for name, source in sources_of(config).items():
        if place := place_in(error, source.path):
            return f"{place}: {name}: {brief(f'{type(error).__name__}: {error}', 300)}"
    return None


def _of_records(error: Exception, folder: Path) -> str | None:
    if not isinstance(error, OSError):
        return None
    if not folder.exists():
        return f"{folder}: the folder is gone: it was deleted or moved while the run wrote to it"
    name = error.filename2 or error.filename  # the second is what a file was to replace
    path = Path(name) if isinstance(name, str | Path) else folder
    written = path if path.is_relative_to(folder) and not path.name.startswith(".") else folder
    if isinstance(error, FileNotFoundError) and written != folder:
        return f"{written}: was deleted or moved while the run wrote to it"
    return f"{written}: the records cannot be written: {with_advice(error)}"
