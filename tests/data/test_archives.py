"""Gzip up to a known size."""

import gzip
import os
import zlib

import pytest

from bnexp.data.download import gunzip, packed_limit


def test_it_unpacks_up_to_the_limit():
    content = os.urandom(1000)
    assert gunzip(gzip.compress(content), 1000) == content
    assert gunzip(gzip.compress(content[:500]) + gzip.compress(content[500:]), 1000) == content
    with pytest.raises(OSError, match="holds more than the 999 bytes"):
        gunzip(gzip.compress(content), 999)


def test_a_bomb_stops_at_the_known_size(memory_below):
    bomb = gzip.compress(bytes(2**25))
    with memory_below(2**21), pytest.raises(OSError, match="holds more than"):
        gunzip(bomb, 2**16)


def test_damage_is_told():
    packed = gzip.compress(os.urandom(1000))
    for damaged in (packed[:-20], packed[:100] + bytes(100) + packed[200:], b"", b"no gzip"):
        try:
            content = gunzip(damaged, 1000)
        except (OSError, EOFError, zlib.error):
            continue
        assert content == b""  # nothing packed is nothing


@pytest.mark.parametrize("size", [0, 1, 10_000, 1_000_000])
def test_what_cannot_be_packed_keeps_to_its_limit(size):
    assert all(len(gzip.compress(os.urandom(size), level)) <= packed_limit(size) for level in (0, 1, 9))
