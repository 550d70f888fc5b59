"""`bnexp data` lists, fetches and verifies."""

from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from bnexp.commands import data as command
from bnexp.config.data_section import DATASET_NAMES, DATASET_SUMMARIES
from bnexp.data import load
from bnexp.data.load import PUBLISHED
from bnexp.data.parts import ImageSet, Part
from bnexp.document import show
from bnexp.errors import BnexpError, ConfigError


def lines_of(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    return {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}


def test_in_a_pipe_every_dataset_has_an_aligned_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.list_datasets(data_dir=tmp_path)
    lines = lines_of(capsys)
    assert set(lines) == {"dataset", *DATASET_NAMES}
    for name in DATASET_NAMES:
        assert lines[name].endswith(DATASET_SUMMARIES[name])
        assert lines[name].index(DATASET_SUMMARIES[name]) == lines["dataset"].index("what it holds")
        assert "\x1b" not in lines[name]


def test_what_is_here_and_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in PUBLISHED["kmnist"](tmp_path):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    PUBLISHED["mnist"](tmp_path)[0].parent.mkdir(parents=True)
    PUBLISHED["mnist"](tmp_path)[0].write_bytes(b"")
    command.list_datasets(data_dir=tmp_path)
    states = {name: line.split()[1] for name, line in lines_of(capsys).items()}
    assert (states["kmnist"], states["mnist"], states["cifar10"]) == ("here", "missing", "missing")
    assert (states["mnist5k"], states["synthetic"], states["npz"]) == ("carried", "made", "yours")


def test_on_a_terminal_it_is_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "terminal", lambda: Console(force_terminal=True, width=300))
    command.list_datasets(data_dir=tmp_path)
    shown = capsys.readouterr().out
    assert all(name in shown for name in DATASET_NAMES)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Return which datasets were loaded, and whether they might be downloaded."""
    calls: list[tuple[str, bool]] = []
    part = Part(torch.zeros(2, 1, 28, 28, dtype=torch.uint8), torch.tensor([0, 1]))

    def loader(data, data_dir):
        calls.append((data.dataset, data.download))
        return ImageSet(part, part)

    for name in PUBLISHED:
        monkeypatch.setitem(load.DATASET_LOADERS, name, loader)
    return calls


def test_fetching_may_download_and_verifying_may_not(
    loads: list[tuple[str, bool]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.fetch(["mnist", "kmnist"], data_dir=tmp_path)
    command.verify("kmnist", data_dir=tmp_path)
    assert loads == [("mnist", True), ("kmnist", True), ("kmnist", False)]
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"mnist: intact, 2 + 2 images of 1 x 28 x 28 in 10 classes, {tmp_path / 'MNIST' / 'raw'}"


def test_a_missing_dataset_is_not_verified(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dataset cifar10: not found"):
        command.verify("cifar10", data_dir=tmp_path)


def test_a_corrupt_dataset_is_named(tmp_path: Path) -> None:
    (file,) = PUBLISHED["cifar10"](tmp_path)
    file.write_bytes(b"not the archive")
    with pytest.raises(BnexpError, match=f"{file}: truncated or corrupt"):
        command.verify("cifar10", data_dir=tmp_path)


def test_a_set_of_your_own_is_verified_where_it_lies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.zeros((4, 5, 6), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", x_train=pixels, y_train=[0, 1, 0, 1], x_test=pixels, y_test=[0, 1, 0, 1])
    command.verify("npz", path="set.npz", data_dir=tmp_path)
    said, account, *_ = capsys.readouterr().out.splitlines()
    assert said == "npz: intact, 4 + 4 images of 1 x 5 x 6 in 2 classes"
    assert account == f"npz: 4 of 4 arrays in {tmp_path / 'set.npz'} used: 2 uint8, 2 int64"


def test_what_cannot_be_done_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'unknown dataset "cifar11"\. Did you mean "cifar10"'):
        command.fetch(["mnist5k", "cifar11"], data_dir=tmp_path)
    with pytest.raises(ConfigError, match="npz is a set of your own: nothing to fetch; bnexp data verify npz --path"):
        command.fetch(["npz"], data_dir=tmp_path)
    with pytest.raises(ConfigError, match="expected --path"):
        command.verify("image_folder", data_dir=tmp_path)
    with pytest.raises(ConfigError, match="--path goes with"):
        command.verify("mnist", path="x", data_dir=tmp_path)


def test_a_path_that_is_typed_is_meant_from_here(capsys, tmp_path, monkeypatch):
    for folder, count in (("data", 6), ("here", 4)):
        (tmp_path / folder).mkdir()
        pixels = np.random.default_rng(0).integers(0, 256, (count, 5, 6)).astype(np.uint8)
        np.savez(
            tmp_path / folder / "set.npz",
            x_train=pixels,
            y_train=np.arange(count) % 2,
            x_test=pixels[:2],
            y_test=[0, 1],
        )
    monkeypatch.chdir(tmp_path / "here")
    command.verify("npz", path="./set.npz", data_dir=tmp_path / "data")
    assert f"4 of 4 arrays in {tmp_path / 'here' / 'set.npz'} used" in capsys.readouterr().out
    (tmp_path / "here" / "set.npz").unlink()
    command.verify("npz", path="set.npz", data_dir=tmp_path / "data")
    assert f"4 of 4 arrays in {tmp_path / 'data' / 'set.npz'} used" in capsys.readouterr().out


CONFIG = """
data: {dataset: npz, path: set.npz, batch_size: 4}
model: {arch: mlp, hidden: [4], block: linear -> norm -> relu, norm: bn}
optimizer: {name: sgd, lr: 0.1}
training: {epochs: 1}
"""


def test_the_data_of_a_config_are_verified_with_what_is_set(capsys, tmp_path):
    for name, count in (("set", 4), ("val", 2)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 5, 6)).astype(np.uint8)
        arrays = {"x": pixels, "y": np.arange(count) % 2}
        parts = [*(["test"] if name == "set" else []), "train"]
        np.savez(tmp_path / f"{name}.npz", **{f"{key}_{part}": arrays[key] for part in parts for key in arrays})
    (tmp_path / "c.yaml").write_text(CONFIG)
    command.verify(str(tmp_path / "c.yaml"), overrides=[f"data.val_path={tmp_path / 'val.npz'}"])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "npz: intact, 4 + 2 + 4 images of 1 x 5 x 6 in 2 classes"
    assert "npz: train + val + test of each class: 0: 2 + 1 + 2, 1: 2 + 1 + 2" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"name": "image_folder", "overrides": ["data.backgroud=black"]}, r'Did you mean "background"'),
        ({"name": "c.yaml"}, r"a config has --set data.path=x"),
    ],
)
def test_what_verify_does_not_take_is_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        command.verify(path="x", **words)


def test_a_path_in_place_of_a_dataset_gets_the_line(tmp_path):
    with pytest.raises(ConfigError, match=rf"data verify image_folder --path {tmp_path}"):
        command.verify(str(tmp_path))
