"""What a run folder tells: nothing of the environment that the run had, to nobody but those whom the umask lets in."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bnexp.blueprint import draw
from bnexp.commands.train import train
from bnexp.config.schema import Config
from bnexp.errors import BnexpError
from bnexp.session import life
from bnexp.session.life import start
from bnexp.session.terms import Terms

MakeConfig = Callable[..., Config]
TOKEN = "hf_Zq81vXw93kLmNcTt"
VARIABLE = "SOME_SERVICE_TOKEN"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, TOKEN)


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def assert_no_secret(folder: Path) -> None:
    """Look at every byte, also of what is packed: checkpoints are zips without compression, events plain records."""
    assert len(files_of(folder)) >= 2
    for path in files_of(folder):
        for word in (TOKEN, VARIABLE):
            assert word.encode() not in path.read_bytes(), path


def test_no_file_of_a_run_holds_a_secret_of_the_environment(config_file: Path, tmp_path: Path) -> None:
    (result,) = train([config_file], overrides=["probes={histograms: {}}"], runs_dir=tmp_path / "runs", device="cpu")
    assert_no_secret(result.folder)


def test_no_file_of_a_run_that_failed_holds_one(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(life, "train", fail)
    with pytest.raises((BnexpError, OSError)):
        start(draw(make_config(), tmp_path), Terms(runs_dir=tmp_path, data_dir=tmp_path, device="cpu"))
    assert_no_secret(tmp_path)


def keys_of(values: object) -> Iterator[str]:
    if isinstance(values, dict):
        for key, below in values.items():
            yield key
            yield from keys_of(below)


def test_the_records_hold_no_environment(make_config: MakeConfig, tmp_path: Path) -> None:
    result = start(draw(make_config(), tmp_path), Terms(runs_dir=tmp_path, data_dir=tmp_path, device="cpu"))
    keys = set(keys_of(json.loads((result.folder / "meta.json").read_text())))
    assert not {key for key in keys if "env" in key.lower()}
    assert not keys & set(os.environ)


@pytest.mark.parametrize(("umask", "file_mode", "folder_mode"), [(0o077, 0o600, 0o700), (0o022, 0o644, 0o755)])
def test_permissions_follow_the_umask(
    make_config: MakeConfig, tmp_path: Path, umask: int, file_mode: int, folder_mode: int
) -> None:
    before = os.umask(umask)
    try:
        result = start(
            draw(make_config(), tmp_path), Terms(runs_dir=tmp_path / "runs", data_dir=tmp_path, device="cpu")
        )
    finally:
        os.umask(before)
    for path in (tmp_path / "runs", *(tmp_path / "runs").rglob("*")):
        assert path.stat().st_mode & 0o777 == (folder_mode if path.is_dir() else file_mode), path
    assert files_of(result.folder)
