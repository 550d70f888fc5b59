"""`bnexp demo`: three arms that differ in one word, trained and compared."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from bnexp.analysis.compare import compare_runs
from bnexp.blueprint import draw_files
from bnexp.config.packaged import packaged_configs
from bnexp.document.show import aside, remark, show
from bnexp.errors import Interrupted, visible
from bnexp.runs.find import place_of_new_runs, runs_folder
from bnexp.runs.lock import turn_in
from bnexp.runs.run import read_run
from bnexp.session.display import say
from bnexp.session.executor import Complete, run_all
from bnexp.session.terms import Terms, on_the_command_line

ARMS = ("none", "bn", "ln")
RUNS = "demo"
"""Their folder, in that of all runs."""
TARGET = 0.9
"""Validation accuracy to which the epochs are counted."""
_NEXT = {
    "bnexp board {folder}": "see gradients, activations and saturation inside",
    "bnexp explain saturation": "why sigmoids starve the first layers",
    "bnexp init": "write a config to make your own",
}


def demo() -> None:
    """Train each of `ARMS` on 5,000 digits, as far as that is not done, and print their comparison.

    Of several demos in one folder, one trains, and the others wait for it.

    Raises:
        Interrupted: by Ctrl-C or a signal; the same command continues.
        BnexpError: a run failed.
    """
    folder, packaged = place_of_new_runs(runs_folder()) / RUNS, packaged_configs()
    drawn = draw_files([packaged[f"demo/{arm}"] for arm in ARMS], (), None)
    aside(f"sigmoids on 5,000 digits, with norm {', '.join(ARMS)}, in {folder}")
    terms = on_the_command_line(Terms(folder, resume=True), quiet=False)
    try:
        with turn_in(folder, lambda: remark("note", "another bnexp demo trains there; this one waits for it")):
            results = list(run_all([(file.blueprints[0], terms) for file in drawn], say))
    except Interrupted as stopped:
        raise Interrupted(f"interrupted; bnexp demo continues, in {visible(str(folder))}", stopped.exit_code) from None
    table, *others = compare_runs([read_run(result.folder) for result in results], target=TARGET)
    show(table, "table", *others)
    _conclude(folder, [result for result in results if isinstance(result, Complete)])


def _conclude(folder: Path, before: Sequence[Complete]) -> None:
    if len(before) == len(ARMS):
        say(f"note: trained before; to repeat it, delete {', '.join(ARMS)} in {visible(str(folder))}")
    say("\nHow soon does each curve rise? The arms differ in one word, model.norm. Next:")
    steps = {command.format(folder=shlex.quote(visible(folder.as_posix()))): why for command, why in _NEXT.items()}
    for command, why in steps.items():
        say(f"  {command:{max(map(len, steps))}}    {why}")
