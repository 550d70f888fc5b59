"""Nobody waits for a pipe."""

import os

import pytest

from bnexp.store.waiting import read_file


def test_a_file_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "file") == read_file(tmp_path / "link") == b"content"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(OSError, match="not a file"):
            read_file(tmp_path / name)


def test_what_is_missing_or_a_folder_is_said_as_the_system_says_it(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "missing")
    with pytest.raises((IsADirectoryError, PermissionError)):
        read_file(tmp_path)
