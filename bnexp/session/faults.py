"""Messages for what stops a run from outside: too little memory, a full disk, a GPU that is gone."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from bnexp.config.schema import Config
from bnexp.errors import BnexpError
from bnexp.files import with_advice


@contextlib.contextmanager
def faults_explained(config: Config, folder: Path | None = None) -> Iterator[None]:
    """Turn errors that come from outside into a `BnexpError` that says what to do; any other is a bug, and passes."""
    try:
        yield
    except (OSError, RuntimeError, MemoryError) as error:
        message = _of_memory(error, config) or _of_device(error) or (_of_records(error, folder) if folder else None)
        if message is None:
            raise
        raise BnexpError(message) from None


def _of_memory(error: Exception, config: Config) -> str | None:
    if not (isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)):
        return None
    sizes = f"data.batch_size {config.data.batch_size}, data.eval_batch_size {config.data.eval_batch_size}"
    half = max(config.data.batch_size // 2, 1)
    return (
        f"out of memory with {sizes}; a smaller batch needs less, such as --set data.batch_size={half} in a new run, "
        "and so does a smaller network; data.eval_batch_size changes no figure"
    )


def _of_device(error: Exception) -> str | None:
    if not isinstance(error, torch.AcceleratorError) and "CUDA error" not in str(error):
        return None
    return f"the GPU stopped answering: {str(error).splitlines()[0]}"


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
