"""Files are written whole or not at all, and read only where they are regular files of a bounded size."""

import errno
import os
import socket
from pathlib import Path

import pytest

from bnexp.files import open_file, open_to_append, read_file, unfinished_files, write_text_atomically


def test_a_text_is_written_as_it_is(tmp_path):
    path = tmp_path / "config.yaml"
    write_text_atomically(path, "old")
    write_text_atomically(path, "größer → 1\n")
    assert path.read_bytes() == "größer → 1\n".encode()
    assert list(tmp_path.iterdir()) == [path]


class FullFile:
    """A file on a disk that takes only half."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.file.close()

    def write(self, text):
        self.file.write(text[: len(text) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")


def fail_to_write(monkeypatch, error):
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *args, **kwargs: FullFile(opened(self, *args, **kwargs)))


def fail_to_sync(monkeypatch, error):
    monkeypatch.setattr(os, "fsync", lambda descriptor: raise_(error))


def fail_to_move(monkeypatch, error):
    monkeypatch.setattr(Path, "replace", lambda self, target: raise_(error))


def raise_(error):
    raise error


@pytest.mark.parametrize("old", ["old content", None])
@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (fail_to_write, OSError),
        (fail_to_sync, OSError),
        (fail_to_sync, KeyboardInterrupt),
        (fail_to_move, OSError),
        (fail_to_move, KeyboardInterrupt),
    ],
)
def test_a_failure_at_any_point_leaves_the_old_content_and_nothing_else(tmp_path, monkeypatch, failure, error, old):
    path = tmp_path / "summary.json"
    if old is not None:
        path.write_text(old)
    with monkeypatch.context() as patch:
        failure(patch, error(errno.ENOSPC, "No space left on device"))
        with pytest.raises(error):
            write_text_atomically(path, "a longer new content")
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == ([(path.name, old)] if old else [])


def test_the_content_is_on_the_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    path, events = tmp_path / "meta.json", []
    replace, fsync = Path.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (events.append("sync"), fsync(descriptor)))
    monkeypatch.setattr(Path, "replace", lambda self, target: (events.append(self.read_text()), replace(self, target)))
    write_text_atomically(path, "whole")
    assert events == ["sync", "whole", "sync"], "the content, the move, and the name in the folder"
    assert path.read_text() == "whole"


def test_what_a_killed_process_left_aside_is_found(tmp_path):
    (tmp_path / ".meta.json.123.tmp").write_text("half")
    write_text_atomically(tmp_path / "meta.json", "whole")
    assert [path.name for path in unfinished_files(tmp_path)] == [".meta.json.123.tmp"]


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


def test_bytes_are_appended_as_they_are_also_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, flags = os.open, list[int]()
    monkeypatch.setattr(os, "O_BINARY", 0x8000, raising=False)

    def spied(path: Path, flag: int, mode: int) -> int:
        flags.append(flag)
        return opened(path, flag & ~0x8000, mode)

    monkeypatch.setattr(os, "open", spied)
    with open_to_append(tmp_path / "rows") as file:
        file.write(b"a\n")
    assert flags[0] & 0x8000
