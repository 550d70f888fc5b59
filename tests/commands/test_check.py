"""`bnexp check` shows what a config means."""

from pathlib import Path

import pytest

from bnexp.commands.check import check
from bnexp.errors import ConfigError


def test_it_shows_items_shapes_parameters_and_reasons(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(config_file)
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines if line}
    assert rows["block1.linear"].split()[1:3] == ["12", str(16 * 12)]
    assert "no bias: bn subtracts the mean of each feature" in rows["block1.linear"]
    assert rows["block2.bn"].split()[1:3] == ["8", "16"]
    assert rows["head"].split()[1:] == ["4", "36"]
    assert rows["total"].split()[1] == str(16 * 12 + 24 + 12 * 8 + 16 + 36)


def test_it_shows_the_batch_arithmetic(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(config_file)
    out = capsys.readouterr().out
    assert "90 to train on, 10 to validate on, 20 to test on" in out
    assert "5 x 16 + 1 x 10 = 6 steps per epoch" in out
    assert "12 steps in 2 epochs, 2 evaluations" in out
    check(config_file, overrides=["data.drop_last=true"])
    assert "5 x 16 = 5 steps per epoch, 10 examples left out" in capsys.readouterr().out


def test_it_shows_the_warnings(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(config_file, overrides=["model.bias=true"])
    assert "warning: model.bias true" in capsys.readouterr().out


def test_it_refuses_what_cannot_train(config_file: Path) -> None:
    with pytest.raises(ConfigError, match="block 2 would see 1 feature"):
        check(config_file, overrides=["model.hidden=[4, 1]", "model.norm=ln"])
