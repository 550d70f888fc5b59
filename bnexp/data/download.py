"""Download files, check them, and move them into place whole; unpack them up to the size that is known.

A server may say anything: how much comes is counted, whatever it announces, and it can lead nowhere but to another
address of the web. A few kilobytes of gzip can hold gigabytes, so that unpacking stops at the known size, too.
"""

import gzip
import hashlib
import http.client
import io
import os
import socket
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bnexp import __version__
from bnexp.config.data_section import DATASETS, DatasetName
from bnexp.data.progress import progress
from bnexp.errors import ConfigError

TIMEOUT_SECS = 30.0
CHUNK_BYTES = 2**16
FETCHED_AGAIN = "delete it, and the next run fetches it again"


def gunzip(packed: bytes, limit: int) -> bytes:
    """Return the content of a gzip file of at most `limit` bytes.

    Raises:
        OSError, EOFError, zlib.error: it is damaged, or holds more.
    """
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise gzip.BadGzipFile(f"holds more than the {limit:,} bytes that are known")
    return content


def packed_limit(size: int) -> int:
    """Return the most bytes that gzip makes of `size` bytes: 5 for every 16 KiB that cannot be packed, and a header."""
    return size + 5 * (size // 2**14 + 1) + 2**10


@dataclass(frozen=True)
class Wanted:
    """Files of a dataset that are missing from their folder, for messages; `form` is such as `uncompressed`."""

    dataset: DatasetName
    folder: Path
    files: list[str]
    form: str

    def _found(self) -> str:
        """Return what stands in the way or lies there in another form, for brackets."""
        if not self.folder.is_dir():
            blocked = next((place for place in (self.folder, *self.folder.parents) if place.exists()), Path())
            return "no such folder; " if blocked.is_dir() else f"{blocked} is a file; "
        alike = list[str]()
        with suppress(OSError):
            alike += sorted(name for name in os.listdir(self.folder) if name.lower().startswith(self.dataset[:5]))
        return f"there lies {', '.join(alike[:3])}, which is not read; " if alike else ""

    def refused(self, reason: str) -> ConfigError:
        """Return the error that says why they are not there and what helps."""
        message = (
            f"dataset {self.dataset}: not found, and {reason}.\n"
            f"  looked in  {self.folder} ({self._found()}"
            "--data-dir, or the variable BNEXP_DATA, names the data folder)\n"
            f"  put there  {', '.join(self.files)}, {self.form}"
        )
        if DATASETS[self.dataset].shape == DATASETS["mnist5k"].shape:  # else digits may not fit the network
            offline = "or run the same config offline on 5,000 digits that come with bnexp"
            message += f"\n  {offline}:  --set data.dataset=mnist5k"
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
    except (OSError, EOFError, zlib.error, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
        raise wanted.refused(f"it cannot be downloaded: {reason.strip()}") from None
    finally:
        if not existed:  # made for nothing, where nothing came; with anything in it, it stays
            with suppress(OSError):
                data_dir.rmdir()


def md5(content: bytes | memoryview) -> str:
    """Return the MD5 of bytes, as hexadecimal digits; it shows an accident, not an attack."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def retrieve(url: str, path: Path, checksum: str, limit: int) -> None:
    """Write what `url` gives into a file, and compare its MD5.

    Raises:
        OSError, http.client.HTTPException: no answer, more than `limit` bytes, or another checksum.
    """
    with (
        _opener().open(url) as answer,
        path.open("wb") as file,
        progress(f"downloading {path.name}", answer.length, in_bytes=True) as advance,
    ):
        if (answer.length or 0) > limit:
            raise OSError(f"{url} announces {answer.length:,} bytes, expected at most {limit:,}")
        digest = hashlib.md5(usedforsecurity=False)
        while chunk := answer.read(CHUNK_BYTES):
            if file.tell() + len(chunk) > limit:
                raise OSError(f"{url} gives more than {limit:,} bytes, expected no more")
            file.write(chunk)
            digest.update(chunk)
            advance(len(chunk))
    if digest.hexdigest() != checksum:
        raise OSError(f"what {url} gives is corrupted: its checksum is not the published one")


def _opener() -> urllib.request.OpenerDirector:
    """Return what opens addresses of http and https, and leaves no other behind a redirection: no file, no ftp."""
    proxies = {scheme: proxy for scheme, proxy in urllib.request.getproxies().items() if scheme in ("http", "https")}
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(proxies),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", f"bnexp/{__version__}")]
    return opener


@contextmanager
def _timeout(secs: float) -> Iterator[None]:
    """Let a silent server fail rather than hang, in the search for its address as in every piece of its answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(secs)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
