"""`bnexp resume`: continue a run that stopped from its last whole checkpoint."""

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bnexp.errors import BnexpError, visible
from bnexp.runs.find import find_run
from bnexp.runs.run import COMPLETE, read_run
from bnexp.session.several import lead_or_follow, leading
from bnexp.session.terms import Terms, on_the_command_line


def resume(
    path: str,
    *,
    overrides: Sequence[str] = (),
    runs_dir: Path = Path("runs"),
    data_dir: Path | None = None,
    device: str | None = None,
    from_start: bool = False,
    break_lock: bool = False,
    quiet: bool = False,
    verbose: bool = False,
) -> None:
    """Continue one run, or make it longer, and print what came out; one that has come to its end else stays as it is.

    The arguments are those of `bnexp resume --help`.
    """
    world = lead_or_follow(os.environ, sys.argv[1:])
    with leading(world):
        folder = find_run(path, runs_dir)
        status = read_run(folder).status
        if status in COMPLETE and not from_start and not overrides:
            from bnexp.runs.resuming import complete_meta

            with contextlib.suppress(OSError, BnexpError):  # nothing is lost where it cannot be noted
                complete_meta(folder)
            print(f"{visible(str(folder))}: {status} already, nothing is left to do; --from-start begins anew")
            return

        # Only what trains pays for loading torch.
        from bnexp.session import resume as session
        from bnexp.session.display import say
        from bnexp.session.report import report

        terms = Terms(data_dir=data_dir, device=device, world=world)
        terms = on_the_command_line(terms, quiet=quiet, verbose=verbose)
        config = session.own_config(folder, overrides) if overrides else None
        if config is not None and not from_start and session.is_of_another_length(folder, config):
            say(report(session.lengthen(folder, terms, config, break_lock=break_lock)))
            return
        say(report(session.resume(folder, terms, from_start=from_start, config=config, break_lock=break_lock)))
