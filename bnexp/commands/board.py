"""`bnexp board`: TensorBoard over the runs, for this machine only."""

import contextlib
import io
import logging
import os
import threading
from pathlib import Path

from bnexp.errors import BnexpError, ConfigError

HOST = "127.0.0.1"


def board(folder: Path, *, port: int | None = None) -> None:
    """Start TensorBoard on `folder`, print its address, and serve until Ctrl-C.

    Args:
        folder: runs, or any folder above them.
        port: where to listen; without one, the first free port from 6006 on.

    Raises:
        ConfigError: there is no such folder.
        BnexpError: the port is taken, or TensorBoard cannot start.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; `bnexp train configs/mnist_mlp_bn.yaml` makes the first run")
    url = start_tensorboard(folder, port)
    print(f"TensorBoard on {folder}: {url}\nCtrl-C stops it.", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def start_tensorboard(folder: Path, port: int | None) -> str:
    """Serve `folder` from a thread of this process; returns the address."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from tensorboard import program

    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    server = program.TensorBoard()
    arguments = ["--logdir", str(folder), "--host", HOST, *(["--port", str(port)] if port else [])]
    try:
        server.configure(argv=["tensorboard", *arguments])
        with contextlib.redirect_stderr(io.StringIO()):  # an advertisement of its data server
            return str(server.launch())
    except program.TensorBoardServerException as error:
        raise BnexpError(f"TensorBoard cannot start: {error.msg}") from None
