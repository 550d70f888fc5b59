"""Where datasets lie."""

from pathlib import Path

from bnexp.sources.place import data_folder


def test_the_folder_of_datasets_is_the_chosen_one_then_the_variables_then_data(monkeypatch):
    monkeypatch.setenv("BNEXP_DATA", "/from/variable")
    assert data_folder(Path("/chosen")) == Path("/chosen")
    assert data_folder(None) == Path("/from/variable")
    monkeypatch.setenv("BNEXP_DATA", "")
    assert data_folder(None) == Path("data")
    monkeypatch.delenv("BNEXP_DATA")
    assert data_folder(None) == Path("data")
