"""Only files are read, and only so much of them."""

import os
import socket

import pytest

from bnexp.store.regular_file import read_regular, require_regular


def test_a_file_and_a_link_to_one_are_read(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_regular(tmp_path / "file", 3) == read_regular(tmp_path / "link", 3) == b"abc"


def test_a_larger_file_is_refused_without_being_read_whole(tmp_path):
    with (tmp_path / "file").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="larger than 1,000 bytes"):
        read_regular(tmp_path / "file", 1000)


def test_a_pipe_is_refused_without_waiting_for_its_other_end(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a pipe, a socket or a device"):
        require_regular(tmp_path / "pipe")


def test_a_socket_a_device_and_a_folder_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        (tmp_path / "zero").symlink_to("/dev/zero")
        for name in ("socket", "zero"):
            with pytest.raises(OSError, match="a pipe, a socket or a device"):
                read_regular(tmp_path / name, 10)
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path, 10)


def test_what_is_not_there_and_a_link_to_itself_are_refused(tmp_path):
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("missing", "dangling"):
        with pytest.raises(FileNotFoundError):
            read_regular(tmp_path / name, 10)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        read_regular(tmp_path / "loop", 10)
