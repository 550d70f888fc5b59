"""Unpacks what is published packed, up to the size that is known: a few kilobytes of gzip can hold gigabytes."""

import gzip
import io


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
