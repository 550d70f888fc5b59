"""The audit of pinned versions: an advisory fails it, and a service that cannot be reached does not."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "audit.py"
KNOWN = {"name": "torch", "version": "2.9.0", "vulns": []}
UNKNOWN = {"name": "mine", "skip_reason": "Dependency not found"}
ADVISED = {"name": "pillow", "version": "9.0.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["9.0.1", "9.1.0"]}]}


@pytest.fixture
def audit() -> ModuleType:
    """Return the script as a module of its own."""
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    path = tmp_path / "constraints.txt"
    path.write_text("# pinned\nnumpy==2.0.0\npillow==9.0.0\n")
    return path


def answering(audit: ModuleType, monkeypatch: pytest.MonkeyPatch, *answers: object) -> list[list[str]]:
    """Let pip-audit answer in turn, with what it knows or with an error; return the pins it was asked for."""
    left, asked = list(answers), []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        (path,) = [word.partition("=")[2] for word in command if word.startswith("--requirement=")]
        asked.append(Path(path).read_text().split())
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, str):
            return subprocess.CompletedProcess(command, 1, "", f"Traceback:\n{answer}\n")
        return subprocess.CompletedProcess(command, 1, json.dumps({"dependencies": answer, "fixes": []}), "found 1")

    monkeypatch.setattr(audit.subprocess, "run", run)
    return asked


def test_all_pins_are_asked_for_once_the_first_was_answered(audit, pins, monkeypatch, capsys) -> None:
    asked = answering(audit, monkeypatch, [KNOWN], [KNOWN, KNOWN])
    assert audit.main(pins) == 0
    assert asked == [["numpy==2.0.0"], ["numpy==2.0.0", "pillow==9.0.0"]]
    assert capsys.readouterr().out == "advisories: none for 2 pinned versions\n"


def test_an_advisory_fails_it_and_is_named(audit, pins, monkeypatch, capsys) -> None:
    answering(audit, monkeypatch, [KNOWN], [KNOWN, ADVISED, UNKNOWN])
    assert audit.main(pins) == 1
    assert capsys.readouterr().out.splitlines() == [
        "pillow 9.0.0: PYSEC-1; mended in 9.0.1, 9.1.0",
        "advisories: the service does not know mine",
        "advisories: 1 for 2 pinned versions",
    ]


UNREACHED = {
    "no answer": (subprocess.TimeoutExpired("pip-audit", 12), "no answer within 12 s"),
    "no network": ("requests.exceptions.ConnectionError: Max retries", "cannot be reached (ConnectionError)"),
    "a dead proxy": ("requests.exceptions.ProxyError: refused", "cannot be reached (ProxyError)"),
    "a slow network": ("requests.exceptions.ConnectTimeout: 4", "cannot be reached (ConnectTimeout)"),
    "a mirror without advisories": ([UNKNOWN], "the service knows none of mine"),
}


@pytest.mark.parametrize("kind", UNREACHED)
def test_a_service_that_cannot_be_asked_is_said_in_a_line_and_passes(audit, pins, monkeypatch, capsys, kind) -> None:
    answer, reason = UNREACHED[kind]
    answering(audit, monkeypatch, answer)
    assert audit.main(pins) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("advisories: skipped, ")
    assert reason in line


@pytest.mark.parametrize("error", ["No module named pip_audit", "ValueError: pins that are none"])
def test_any_other_failure_fails_it(audit, pins, monkeypatch, error) -> None:
    answering(audit, monkeypatch, error)
    with pytest.raises(SystemExit) as found:
        audit.main(pins)
    assert error in str(found.value.code)


def test_offline_it_passes_and_says_why() -> None:
    with socket.socket() as unheard:  # bound, so that nobody else gets the port, and not listening
        unheard.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        proxies = {"HTTPS_PROXY": nowhere, "HTTP_PROXY": nowhere, "https_proxy": nowhere, "http_proxy": nowhere}
        kept = {key: value for key, value in os.environ.items() if key.lower() != "no_proxy"}
        done = subprocess.run(
            [sys.executable, str(SCRIPT)], capture_output=True, text=True, env={**kept, **proxies}, check=False
        )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith("advisories: skipped, the service cannot be reached")  # and not that no answer came in time
