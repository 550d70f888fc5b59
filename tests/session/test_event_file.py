"""The event file by itself; what lies in it is read back in test_tensorboard.py."""

import os
import random
import threading

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub import pywrap_tensorflow

from bnexp.session import board as event_file
from bnexp.session.board import EventFile, crc32c


def scalar(step):
    return Event(step=step, summary=Summary(value=[Summary.Value(tag="loss", simple_value=step / 4)]))


def steps_in(folder):
    return [event.step for event in EventAccumulator(str(folder)).Reload().Scalars("loss")]


def test_an_event_can_be_read_as_soon_as_it_is_written(tmp_path):
    file = EventFile(tmp_path)
    for step in (1, 2, 3):
        file.add(scalar(step))
        assert steps_in(tmp_path) == list(range(1, step + 1))
    file.close()


@pytest.mark.parametrize(("times", "pids"), [((100, 100, 100), (99, 100, 9)), ((100, 50, 9), (1, 2, 3))])
def test_files_are_read_in_the_order_in_which_they_were_made(tmp_path, monkeypatch, times, pids):
    for number, (now, pid) in enumerate(zip(times, pids, strict=True)):
        monkeypatch.setattr(event_file.time, "time", lambda now=now: now)
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        file = EventFile(tmp_path)
        file.add(scalar(number + 1))
        file.close()
    assert steps_in(tmp_path) == [1, 2, 3]


def test_a_full_disk_is_an_error_at_once_and_no_thread_is_left(tmp_path):
    resource = pytest.importorskip("resource", reason="needs a limit on the size of files")
    threads = threading.active_count()
    file = EventFile(tmp_path)
    file.add(scalar(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    (path,) = tmp_path.iterdir()
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))  # room for part of the next event
    try:
        with pytest.raises(OSError, match="File too large"):
            file.add(scalar(2))
        with pytest.raises(OSError, match="File too large"):
            file.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert threading.active_count() == threads
    assert steps_in(tmp_path) == [1]


def test_something_else_of_nearly_this_name_does_no_harm(tmp_path):
    (tmp_path / "events.out.tfevents.x").write_text("")
    EventFile(tmp_path).close()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("size", [4, 8, 255, 256, 257, 512, 3_000])
def test_the_checksum_of_all_bytes_at_once_is_that_of_one_after_the_other(size):
    data = random.Random(size).randbytes(size)
    assert crc32c(data) == pywrap_tensorflow.crc32c(data)
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
