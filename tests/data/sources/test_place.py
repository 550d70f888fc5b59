"""Where datasets lie."""

from pathlib import Path

import numpy as np
import pytest

from bnexp.blueprint import draw
from bnexp.config.data_section import NpzData
from bnexp.config.loading import dump_config, load_config, load_data
from bnexp.data.sources.facts import dataset_info
from bnexp.data.sources.place import data_folder, own_path
from bnexp.errors import ConfigError
from bnexp.runs.seal import load_stored, write_config


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


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Return the folder of a config, the data folder and the current folder, all different."""
    folders = {name: tmp_path / name for name in ("config", "data", "current")}
    for folder in folders.values():
        folder.mkdir()
    (folders["config"] / "c.yaml").write_text(CONFIG)
    monkeypatch.chdir(folders["current"])
    return folders


CONFIG = """
data: {dataset: npz, path: own/d.npz, batch_size: 4, val_fraction: 0.25}
model: {arch: mlp, hidden: [4], block: linear -> norm -> relu, norm: bn}
optimizer: {name: sgd, lr: 0.1}
training: {epochs: 1}
"""


def save_set(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    pixels = [random.integers(0, 256, (count, 3, 3)).astype(np.uint8) for count in (40, 8)]
    labels = [np.arange(count) % 2 for count in (40, 8)]
    np.savez(path, x_train=pixels[0], y_train=labels[0], x_test=pixels[1], y_test=labels[1])
    return path


@pytest.mark.parametrize("first", ["config", "data", "current"])
def test_a_relative_path_is_that_of_the_config_then_of_the_data_folder_then_of_the_current_one(places, first):
    order = list(places)
    for name in order[order.index(first) :]:
        save_set(places[name] / "own" / "d.npz")
    config = draw(load_config(places["config"] / "c.yaml"), places["data"]).config
    assert own_path(config.data, places["data"]) == places[first] / "own" / "d.npz"


@pytest.mark.parametrize("path", ["own/d.npz", "./own/d.npz", "../current/own/d.npz"])
def test_a_path_that_is_typed_is_that_of_the_current_folder_first(places, path):
    for place in places.values():
        save_set(place / "own" / "d.npz")
    for data in (
        load_config(places["config"] / "c.yaml", [f"data.path={path}"]).data,
        load_data("npz", path, []),
        load_data("npz", "other", [f"data.path={path}"]),
    ):
        assert own_path(data, places["data"]) == places["current"] / "own" / "d.npz"
        assert (
            f" in {places['current'] / 'own' / 'd.npz'} used" in dataset_info(data, places["data"]).account.lines()[0]
        )
    (places["current"] / "own" / "d.npz").unlink()
    beside = load_config(places["config"] / "c.yaml", ["data.path=own/d.npz"])
    assert own_path(beside.data, places["data"]) == places["config"] / "own" / "d.npz"


@pytest.mark.parametrize("name", ["config", "data", "current"])
def test_what_a_run_records_leads_to_its_data_from_anywhere(places, name, monkeypatch):
    path = save_set(places[name] / "own" / "d.npz")
    config = draw(load_config(places["config"] / "c.yaml"), Path("../data")).config
    write_config(places["config"].parent, dump_config(config))
    monkeypatch.chdir("/")
    again, _ = load_stored(places["config"].parent)
    assert again == config
    assert own_path(again.data, places["data"]) == path


def test_the_path_of_a_base_is_relative_to_that_base(places):
    path = save_set(places["config"] / "own" / "d.npz")
    (places["current"] / "child.yaml").write_text(f"base: {places['config'] / 'c.yaml'}\nseed: 3\n")
    assert own_path(load_config(places["current"] / "child.yaml").data, places["data"]) == path


def test_every_place_that_was_looked_at_is_named(places):
    with pytest.raises(ConfigError) as found:
        draw(load_config(places["config"] / "c.yaml"), places["data"])
    lines = str(found.value).splitlines()
    assert lines[0] == "data.path own/d.npz: no such file; expected an npz file, relative to one of"
    assert [line.split()[0] for line in lines[1:4]] == [str(places[name]) for name in ("config", "data", "current")]
    assert "--data-dir FOLDER" in lines[4]


def test_an_absolute_path_is_looked_for_there_alone(places):
    save_set(places["data"] / "gone" / "d.npz")
    gone = places["config"] / "gone" / "d.npz"
    with pytest.raises(ConfigError, match=f"^{gone}: no such file; expected an npz file"):
        own_path(NpzData(dataset="npz", path=str(gone)), places["data"])


def test_a_run_folder_is_no_place_for_data(places):
    save_set(places["config"] / "own" / "d.npz")
    write_config(places["config"], (places["config"] / "c.yaml").read_text() + "name: c\n")
    assert load_stored(places["config"])[0].data.path == "own/d.npz"


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("own/dd.npz", r'Did you mean "own/d.npz"\?'),
        ("own/D.NPZ", r'Did you mean "own/d.npz"\?'),
        ("https://some.where/d.npz", "an address; fetch"),
        ("file:///own/d.npz", "without file://: --set data.path=/own/d.npz"),
        ("$PWD/d.npz", "variables are filled in by the shell"),
        ("own\\d.npz", "expected / between"),
        ("own*", "a pattern"),
        (" own ", "spaces around"),
        ("far/away", "no such file; expected an npz file, relative to"),
    ],
)
def test_what_is_nearly_a_path_is_answered(places, written, hint):
    save_set(places["current"] / "own" / "d.npz")
    with pytest.raises(ConfigError, match=hint):
        own_path(NpzData(dataset="npz", path=written), places["data"])
