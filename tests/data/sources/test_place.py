"""Where datasets lie."""

from pathlib import Path

import pytest

from bnexp.config.data_section import NpzData
from bnexp.data.sources.place import data_folder, own_path
from bnexp.errors import ConfigError


def test_the_folder_of_datasets_is_the_chosen_one_then_the_variables_then_data(monkeypatch):
    monkeypatch.setenv("BNEXP_DATA", "/from/variable")
    assert data_folder(Path("/chosen")) == Path("/chosen")
    assert data_folder(None) == Path("/from/variable")
    monkeypatch.setenv("BNEXP_DATA", "")
    assert data_folder(None) == Path("data")
    monkeypatch.delenv("BNEXP_DATA")
    assert data_folder(None) == Path("data")


def test_the_home_of_nobody_is_refused():
    with pytest.raises(ConfigError, match=r"data\.path ~nobody-has-this-name/x: no home folder of that user"):
        own_path(NpzData(dataset="npz", path="~nobody-has-this-name/x"), Path("data"))
