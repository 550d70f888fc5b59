"""An event file, which TensorBoard reads, written by the thread that trains.

TensorBoard's own writer has a thread of its own: on a full disk that prints a traceback, and the error comes late.
"""

import os
import platform
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SourceMetadata  # type: ignore[attr-defined]
from tensorboard.summary.writer.record_writer import RecordWriter

PATTERN = "events.out.tfevents.*"
"""What the event files of a run are called."""


class EventFile:
    """A new event file in a run's folder, read after all that are there; each event goes to the system at once.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / _name_after(folder)).open("xb")
        self._records = RecordWriter(self._file)  # type: ignore[no-untyped-call]
        try:
            self.add(Event(file_version="brain.Event:2", source_metadata=SourceMetadata(writer="bnexp")))
        except BaseException:
            self.close()
            raise

    def add(self, event: Event) -> None:
        """Write an event, with the time that it is now.

        Raises:
            OSError: the disk is full; TensorBoard reads what is whole, and passes over the rest.
        """
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())  # type: ignore[no-untyped-call]
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _name_after(folder: Path) -> str:
    """Return a name in TensorBoard's form, `events.out.tfevents.<seconds>.<host>.<process>.<number>`.

    TensorBoard reads the files in the order of their names; a run that goes on within the same second, or with a clock
    that was set back, must still come after what it goes on from.
    """
    taken = [int(parts[3]) for path in folder.glob(PATTERN) if (parts := path.name.split("."))[3].isdecimal()]
    seconds = max(int(time.time()), *(before + 1 for before in taken), 0)
    return f"events.out.tfevents.{seconds:010d}.{platform.node()}.{os.getpid()}.0"
