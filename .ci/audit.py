"""Fails where a known advisory names a pinned version; says so in a line where nobody can be asked.

    python .ci/audit.py [constraints.txt]

The versions are those of constraints.txt, with which bnexp is tested; pip-audit asks for their advisories.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PINS = Path(__file__).parents[1] / "constraints.txt"
FIRST_SECS, ALL_SECS = 12, 600
"""Time for the first pin, which tells whether the service answers at all, and for all of them."""
UNREACHED = re.compile(r"\w*(?:ConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|ServiceError|HTTPError)")
"""How pip-audit ends where it cannot ask; whatever else it says is a failure."""


class UnreachedError(Exception):
    """Nobody can be asked, and why."""


def main(pins: Path = PINS) -> int:
    """Print what was found; return 1 where that is an advisory."""
    lines = [line for line in pins.read_text().splitlines() if "==" in line]
    try:
        ask(lines[:1], FIRST_SECS)
        answers = ask(lines, ALL_SECS)
    except UnreachedError as error:
        print(f"advisories: skipped, {error}")
        return 0
    found = [(answer, known) for answer in answers for known in answer.get("vulns", ())]
    for answer, known in found:
        mend = f"; mended in {', '.join(known['fix_versions'])}" if known["fix_versions"] else ""
        print(f"{answer['name']} {answer['version']}: {known['id']}{mend}")
    if unknown := [answer["name"] for answer in answers if "vulns" not in answer]:
        print(f"advisories: the service does not know {', '.join(unknown)}")
    print(f"advisories: {len(found) or 'none'} for {len(answers) - len(unknown)} pinned versions")
    return 1 if found else 0


def ask(lines: list[str], secs: float) -> list[dict[str, Any]]:
    """Return pip-audit's answer for each pinned version: `vulns` where the service knows it, else `skip_reason`.

    Raises:
        UnreachedError: the service cannot be reached, or knows none of them.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(lines))
        file.flush()
        options = ["--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off", "--timeout=4"]
        command = [sys.executable, "-m", "pip_audit", f"--requirement={file.name}", *options]
        try:
            # S603: a whole list of arguments, made here, and no shell.
            done = subprocess.run(command, capture_output=True, text=True, timeout=secs, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            raise UnreachedError(f"no answer within {secs} s") from None
    if not done.stdout.startswith("{"):
        if reason := UNREACHED.search(done.stderr.strip().rpartition("\n")[2]):
            raise UnreachedError(f"the service cannot be reached ({reason[0]})")
        raise SystemExit(f"advisories: pip-audit failed:\n{done.stderr}")
    answers: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    if not any("vulns" in answer for answer in answers):
        raise UnreachedError(f"the service knows none of {', '.join(answer['name'] for answer in answers)}")
    return answers


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
