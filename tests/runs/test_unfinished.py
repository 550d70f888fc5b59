"""Which run of a config can go on."""

from collections.abc import Callable
from pathlib import Path

from bnexp.config.loading import dump_config
from bnexp.config.schema import Config
from bnexp.runs.unfinished import newest_run_of

MakeConfig = Callable[..., Config]


def begun(runs_dir: Path, text: str) -> Path:
    folder = runs_dir / "small" / "seed0"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(text)
    return folder


def test_a_run_is_of_the_config_also_where_that_leaves_a_default_unsaid(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    """As a run does that was made before the key was known."""
    lines = dump_config(make_config()).splitlines(keepends=True)
    unsaid = "".join(line for line in lines if "on_divergence" not in line)
    assert len(unsaid.splitlines()) == len(lines) - 1
    folder = begun(tmp_path, unsaid)
    found = newest_run_of(make_config(), tmp_path)
    assert found is not None
    assert found.folder == folder


def test_a_run_of_another_config_or_of_one_that_cannot_be_read_is_none(make_config: MakeConfig, tmp_path: Path) -> None:
    folder = begun(tmp_path, dump_config(make_config()))
    assert newest_run_of(make_config(seed=1), tmp_path) is None
    (folder / "config.yaml").write_text("seed: 0\nname: small\nmodel: [")
    assert newest_run_of(make_config(), tmp_path) is None
    (folder / "config.yaml").unlink()
    assert newest_run_of(make_config(), tmp_path) is None
