"""Arrays out of files that were made to do harm: refused, in little memory, and nothing is ever run."""

import contextlib
import io
import os
import zipfile

import numpy as np
import pytest

from bnexp.data.sources.arrays import BadArraysError, read_arrays

LIMIT = 2**20
ARRAY = np.arange(200, dtype=np.uint8)


def npy(array):
    memory = io.BytesIO()
    np.lib.format.write_array(memory, array, allow_pickle=True)
    return memory.getvalue()


def header(text):
    """Return a .npy of a header alone, of any text."""
    content = text.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(content).to_bytes(2, "little") + content


@pytest.fixture
def pack(tmp_path):
    """Return what packs members, given as (name, content), and gives the path."""

    def packed(*members, packing=zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "set.npz", "w", packing) as archive:
            for name, content in members:
                archive.writestr(name, content)
        return tmp_path / "set.npz"

    return packed


@pytest.fixture
def refused(memory_below):
    """Return what checks that a file is refused, and that no memory goes into what it claims."""

    def check(path, reason, names=("x",)):
        with memory_below(4 * LIMIT), pytest.raises(BadArraysError, match=reason):
            read_arrays(path, names, LIMIT)

    return check


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_arrays_come_as_they_were_saved(pack, packing):
    path = pack(("x.npy", npy(ARRAY)), ("y.npy", npy(ARRAY.reshape(20, 10).T)), packing=packing)
    found = read_arrays(path, ["x", "y"], LIMIT)
    np.testing.assert_array_equal(found["x"], ARRAY)
    np.testing.assert_array_equal(found["y"], ARRAY.reshape(20, 10).T)


def test_a_member_packed_a_thousand_to_one_is_read_up_to_the_limit(pack, refused):
    flat = np.zeros(LIMIT - 128, dtype=np.uint8)
    path = pack(("x.npy", npy(flat)))
    assert path.stat().st_size * 500 < LIMIT
    assert read_arrays(path, ["x"], LIMIT)["x"].nbytes == flat.nbytes
    refused(pack(("x.npy", npy(np.zeros(LIMIT, dtype=np.uint8)))), "GiB in memory, expected at most")


def test_the_limit_is_for_all_wanted_members_together(pack, refused):
    half = npy(np.zeros(LIMIT * 2 // 3, dtype=np.uint8))
    path = pack(("x.npy", half), ("y.npy", half))
    refused(path, "GiB in memory", ["x", "y"])
    assert len(read_arrays(path, ["x"], LIMIT)["x"]) == LIMIT * 2 // 3


def test_a_table_that_lies_about_a_size_does_not_get_more_memory(pack, refused):
    path = pack(("x.npy", npy(np.zeros(64 * LIMIT, dtype=np.uint8))))
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")  # the size unpacked, as the table has it
    path.write_bytes(content)
    refused(path, "corrupt")


def test_a_header_that_claims_more_than_is_there_is_refused(pack, refused):
    for claimed in (10**6, 10**12, 10**17, 2**62):
        text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({claimed},), }}"
        refused(pack(("x.npy", header(text))), "corrupt")


def test_a_header_that_claims_less_than_is_there_is_refused(pack, refused):
    refused(pack(("x.npy", npy(ARRAY) + b"more")), r"x is corrupt: 332 bytes, expected 328 for its shape \(200,\)")


HEADERS = {
    "no dictionary": "[1, 2]",
    "no Python": "{'descr': ",
    "a call": "__import__('os').system('touch hacked')",
    "a depth": "(" * 100,
    "a negative extent": "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,), }",
    "a product beyond all numbers": "{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
    "an unknown type": "{'descr': 'nonsense', 'fortran_order': False, 'shape': (1,), }",
    "a type of 2 GB": "{'descr': '|S2000000000', 'fortran_order': False, 'shape': (9,), }",
    "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "objects in a structure": "{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,), }",
}


@pytest.mark.parametrize("kind", HEADERS)
def test_no_header_ends_in_a_traceback(pack, refused, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(pack(("x.npy", header(HEADERS[kind]) + b"\x80\x04.")), "x")
    assert not (tmp_path / "hacked").exists()


def test_a_name_that_is_there_twice_is_refused(pack, refused):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = pack(("x.npy", npy(ARRAY)), ("x.npy", npy(ARRAY + 1)))
    refused(path, "holds x 2 times, expected once")


def test_a_long_table_is_named_in_part(pack, refused):
    path = pack(*((f"array{number}.npy", b"") for number in range(500)))
    refused(path, r"no array x; found array0, .*, array7 and 492 more; expected x")


@pytest.mark.parametrize("packing", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_ways_to_pack_that_numpy_does_not_use_are_refused(pack, refused, packing):
    refused(pack(("x.npy", npy(ARRAY)), packing=packing), "x is packed in way")


def test_a_packed_member_under_a_password_is_refused(pack, refused):
    path = pack(("x.npy", npy(ARRAY)))
    content = bytearray(path.read_bytes())
    for flags in (6, content.rindex(b"PK\x01\x02") + 8):
        content[flags] |= 1
    path.write_bytes(content)
    refused(path, "encrypted")


@pytest.mark.parametrize("before", [b"\x80\x04junk", npy(ARRAY), npy(np.array([print], dtype=object))])
def test_what_stands_before_the_zip_is_never_read_as_an_array_or_a_pickle(pack, before, monkeypatch):
    import pickle

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, lambda *arguments, **options: pytest.fail("unpickled"))
    path = pack(("x.npy", npy(ARRAY)))
    path.write_bytes(before + path.read_bytes())
    np.testing.assert_array_equal(read_arrays(path, ["x"], LIMIT)["x"], ARRAY)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "set.npz")
    with pytest.raises(OSError, match="not a regular file"):
        read_arrays(tmp_path / "set.npz", ["x"], LIMIT)


@pytest.mark.parametrize("seed", range(40))
def test_no_damage_ends_in_anything_but_a_reason(pack, seed):
    random = np.random.default_rng(seed)
    path = pack(("x.npy", npy(ARRAY)), ("y.npy", npy(ARRAY)))
    content = bytearray(path.read_bytes())
    for place in random.integers(0, len(content), 4):
        content[place] = random.integers(256)
    path.write_bytes(content[: random.integers(len(content) // 2, len(content) + 1)])
    with contextlib.suppress(BadArraysError):  # anything else is a traceback
        np.testing.assert_array_equal(read_arrays(path, ["x"], LIMIT)["x"], ARRAY)
