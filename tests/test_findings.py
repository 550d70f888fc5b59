"""docs/findings.md says what the records of the studies say."""

import shutil
from pathlib import Path

import pytest

import findings


@pytest.mark.long
def test_the_page_is_what_the_kept_records_come_to(tmp_path: Path) -> None:
    kept = tmp_path / "findings"
    shutil.copytree(findings.ROOT / "docs" / "findings", kept)
    findings.write(kept, tmp_path / "findings.md")
    assert (tmp_path / "findings.md").read_text() == (findings.ROOT / "docs" / "findings.md").read_text()
    for name in findings.STUDIES:
        assert (kept / f"{name}.svg").read_bytes().startswith(b"<?xml")


def test_nothing_of_a_machine_is_kept() -> None:
    for name in findings.STUDIES:
        for member, text in findings.kept_records(findings.ROOT / "docs" / "findings" / f"{name}.tar.xz"):
            assert not any(word in text for word in ('"host"', '"argv"', '"data_dir"', '"/')), member
