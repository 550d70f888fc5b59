"""`bnexp demo`, with smaller networks; the wheel is tried with the real ones in test_wheel.py."""

import fcntl
import json
from pathlib import Path

import pytest

from bnexp.commands import demo as command
from bnexp.document.table import Table
from bnexp.errors import Interrupted
from bnexp.runs.lock import LOCK

RUNS = Path("my runs/demo")


@pytest.fixture(autouse=True)
def small_arms(config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BNEXP_RUNS", str(RUNS.parent))
    files = {}
    for arm in command.ARMS:
        files[f"demo/{arm}"] = tmp_path / f"{arm}.yaml"
        files[f"demo/{arm}"].write_text(f"base: {config_file.name}\nname: {arm}\nmodel: {{norm: {arm}}}\n")
    monkeypatch.setattr(command, "packaged_configs", lambda: files)


def test_a_second_demo_in_the_folder_waits_for_the_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    RUNS.mkdir(parents=True)
    first = (RUNS / LOCK).open("w")
    fcntl.flock(first, fcntl.LOCK_EX)

    def notice(lead: str, text: str) -> None:
        first.close()  # the first one ends while this one waits
        print(lead, text)

    monkeypatch.setattr(command, "remark", notice)
    monkeypatch.setattr(command, "run_all", lambda tasks, failed: [] if first.closed else pytest.fail("did not wait"))
    monkeypatch.setattr(command, "compare_runs", lambda runs, target: [Table((), ())])
    command.demo()
    assert "note another bnexp demo trains there" in capsys.readouterr().out


def test_it_trains_what_is_not_done_and_ends_with_the_comparison(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = command.run_all

    def interrupted(tasks, failed):
        yield next(iter(real(tasks, failed)))
        raise Interrupted("interrupted; bnexp resume ...", 143)

    monkeypatch.setattr(command, "run_all", interrupted)
    with pytest.raises(Interrupted, match=r"^interrupted; bnexp demo continues, in ") as stopped:
        command.demo()
    assert stopped.value.exit_code == 143
    monkeypatch.setattr(command, "run_all", real)
    begun = (RUNS / "none/seed0/meta.json").read_text()
    capsys.readouterr()

    command.demo()
    out = capsys.readouterr().out
    assert (RUNS / "none/seed0/meta.json").read_text() == begun
    assert sorted(line.split()[0] for line in out.splitlines() if line.endswith(" finished")) == sorted(command.ARMS)
    assert "trained before" not in out
    assert "epochs to 90 % val" in out
    assert "\n  bnexp board 'my runs/demo'    see gradients" in out

    command.demo()
    again = capsys.readouterr().out
    assert "epoch 1.0/" not in again
    assert max(map(len, again.splitlines()[-5:])) <= 80
    assert "note: trained before; to repeat it, delete none, bn, ln in " in again
    runs = sorted(path.parent.relative_to(RUNS).as_posix() for path in RUNS.glob("*/*/meta.json"))
    assert runs == ["bn/seed0", "ln/seed0", "none/seed0"]
    assert {json.loads((RUNS / run / "meta.json").read_text())["status"] for run in runs} == {"finished"}
