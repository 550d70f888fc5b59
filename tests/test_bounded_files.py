"""Only what is truly a file is opened, and only up to a size."""

import os
import socket
from pathlib import Path

import pytest

from bnexp.files import open_file, read_file


def test_a_file_is_read_up_to_the_limit(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_file(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="5 bytes, expected at most 4"):
        read_file(tmp_path / "a", 4)


def test_a_hole_of_a_terabyte_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "a").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(OSError, match="1,099,511,627,776 bytes"):
        read_file(tmp_path / "a", 100)


def test_nobody_waits_for_a_pipe_or_reads_a_device(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="not a regular file"):
            open_file(path, 100)


def test_a_socket_is_refused_and_a_link_to_itself_ends(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        with pytest.raises(OSError, match="not a regular file"):
            open_file(tmp_path / "socket", 10)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        open_file(tmp_path / "loop", 10)


def test_a_folder_and_a_missing_file_say_what_they_are(tmp_path):
    with pytest.raises(IsADirectoryError):
        open_file(tmp_path, 100)
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "gone", 100)
