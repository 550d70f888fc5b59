"""A file is written whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from bnexp.files import unfinished_files, write_text_atomically


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
