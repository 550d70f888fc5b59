"""Downloads that leave nothing half: fetched aside, checked, and then moved into place."""

import hashlib
import http.client
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bnexp.config.datasets import DATASETS, DatasetName
from bnexp.errors import ConfigError

TIMEOUT_SECS = 30.0
FETCHED_AGAIN = "delete it, and the next run fetches it again"


@dataclass(frozen=True)
class Wanted:
    """Files of a dataset that are missing, for messages.

    Attributes:
        dataset: its name in the config.
        folder: where the files belong.
        files: their names.
        form: in which form they are wanted, such as `uncompressed`.
    """

    dataset: DatasetName
    folder: Path
    files: list[str]
    form: str

    def refused(self, reason: str) -> ConfigError:
        """Return the error that says why they are not there and what helps."""
        message = (
            f"dataset {self.dataset}: not found, and {reason}.\n"
            f"  looked in  {self.folder} (--data-dir, or the variable BNEXP_DATA, names the data folder)\n"
            f"  put there  {', '.join(self.files)}, {self.form}"
        )
        if DATASETS[self.dataset].shape == DATASETS["mnist5k"].shape:  # else digits may not fit the network
            message += "\n  or run the same config offline on 5,000 digits that come with bnexp:  "
            message += "--set data.dataset=mnist5k"
        return ConfigError(message)


@contextmanager
def fetching(wanted: Wanted, data_dir: Path) -> Iterator[Path]:
    """Yield a folder aside to download into; it is gone when the context ends, whatever was not moved out with it.

    Raises:
        ConfigError: the download or the disk failed; nothing half lies anywhere.
    """
    existed = data_dir.exists()
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=data_dir) as aside, _timeout(TIMEOUT_SECS):
            yield Path(aside)
    except PermissionError as error:
        raise wanted.refused(f"it cannot be put there: {error.strerror}") from None
    except (RuntimeError, OSError, http.client.HTTPException) as error:
        reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
        raise wanted.refused(f"it cannot be downloaded: {reason.strip()}") from None
    finally:
        if not existed:  # made for nothing, where nothing came; with anything in it, it stays
            with suppress(OSError):
                data_dir.rmdir()


def md5(content: bytes | memoryview) -> str:
    """Return the MD5 of bytes, as hexadecimal digits; it tells an accident, not an attack."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@contextmanager
def _timeout(secs: float) -> Iterator[None]:
    """Let a silent server fail rather than hang: torchvision sets no time limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(secs)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
