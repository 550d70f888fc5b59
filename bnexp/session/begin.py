"""A new run: build, claim a folder, and train to the end."""

from collections.abc import Sequence
from pathlib import Path

from bnexp.config.loading import dump_config
from bnexp.config.schema import Config
from bnexp.runs.folder import claim_run_folder, write_config
from bnexp.runs.lock import run_lock
from bnexp.session.faults import faults_in_words
from bnexp.session.metadata import circumstances
from bnexp.session.session import RunResult, Show, carry_out, show_nothing
from bnexp.session.stopping import StopRequest
from bnexp.training.build import build


def run_experiment(
    config: Config,
    *,
    runs_dir: Path = Path("runs"),
    data_dir: Path = Path("data"),
    device: str = "auto",
    show: Show = show_nothing,
    argv: Sequence[str] = (),
) -> RunResult:
    """Train the network of a config and keep the records in a folder of its own.

    Args:
        config: the resolved config.
        runs_dir: folder of all runs.
        data_dir: where datasets lie.
        device: auto, cpu, cuda, cuda:N or mps.
        show: makes the display, from the run's name and plan.
        argv: the command line, for the records.

    Raises:
        ConfigError: what the config asks for cannot be; no folder was made.
        Interrupted: by Ctrl-C or a signal; the records say so, and the run can go on.
        BnexpError: the dataset is corrupt; or the records cannot be written, the memory is too small or the GPU is
            gone, and the run can go on.
    """
    stop = StopRequest()
    with stop.listening():
        with faults_in_words(config):
            run = build(config, data_dir=data_dir, device=device)
        meta = circumstances(run, argv, data_dir)
        folder = claim_run_folder(runs_dir, config.name, config.seed)
        with run_lock(folder):
            with faults_in_words(config, folder):
                write_config(folder, dump_config(config))
            return carry_out(run, folder, meta, show, stop)
