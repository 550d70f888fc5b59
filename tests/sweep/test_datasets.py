"""Datasets on another machine: found where they lie, or brought once, and read there as here."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from bnexp.blueprint import draw
from bnexp.config.data_section import data_config
from bnexp.config.schema import Config
from bnexp.data.load import PUBLISHED
from bnexp.data.sources.place import BROUGHT
from bnexp.errors import ConfigError
from bnexp.runs.folder import read_json
from bnexp.session import life
from bnexp.session.terms import Terms
from bnexp.sweep import datasets
from bnexp.sweep.datasets import DatasetsHere, bring, files_of, find


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_are_those_that_are_read(name: str, tmp_path: Path) -> None:
    data = data_config(name)
    assert files_of(data, tmp_path) is None
    for path in PUBLISHED[name](tmp_path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    found = files_of(data, tmp_path)
    assert found is not None
    assert {tmp_path / place for place in found.sizes} == set(PUBLISHED[name](tmp_path))
    assert find(found, tmp_path / "nowhere") == tmp_path
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    tmp_path.rename(moved)
    assert find(found, moved) == moved
    assert find(found, tmp_path / "nowhere") is None


def test_carried_and_made_sets_have_no_files(tmp_path: Path) -> None:
    assert files_of(data_config("mnist5k"), tmp_path) is None
    assert files_of(data_config("synthetic"), tmp_path) is None


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Return an npz file of the user's own."""
    rng = np.random.default_rng(0)
    path = tmp_path / "mine" / "set.npz"
    path.parent.mkdir()
    arrays = {
        part: rng.integers(0, 256, (count, 8, 8), dtype=np.uint8) for part, count in (("train", 80), ("test", 20))
    }
    np.savez(
        path,
        x_train=arrays["train"],
        y_train=np.arange(80) % 4,
        x_test=arrays["test"],
        y_test=np.arange(20) % 4,
    )
    return path


def test_a_set_of_your_own_is_brought_and_trains_under_its_own_path(
    own: Path, make_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blueprint = draw(make_config(data={"dataset": "npz", "path": str(own), "synthetic": None}), tmp_path)
    here = life.start(blueprint, Terms(tmp_path / "here", data_dir=tmp_path, device="cpu"))
    puts: list[dict[str, bytes]] = []
    known = DatasetsHere(tmp_path, lambda contents: puts.append(contents) or contents)
    files = known.files_of(blueprint.config.data)
    assert files is not None
    assert find(files, tmp_path) == own.parent
    contents = [known.contents_of(blueprint.config.data) for _ in range(2)]
    assert len(puts) == 1
    own.unlink()
    assert find(files, tmp_path) is None
    place = bring(files, contents[0])
    assert bring(files, contents[1]) == find(files, tmp_path) == place
    assert place.is_relative_to(platformdirs.user_cache_dir("bnexp"))
    monkeypatch.setattr("bnexp.data.sources.place.BROUGHT", BROUGHT)
    for path, there in files.leading_to(place).items():
        monkeypatch.setitem(BROUGHT, path, there)
    there = life.start(blueprint, Terms(tmp_path / "there", data_dir=tmp_path, device="cpu"))
    fingerprints = [(read_json(run.folder / "meta.json") or {})["data_fingerprint"] for run in (here, there)]
    assert fingerprints[0] == fingerprints[1]
    assert (there.folder / "config.yaml").read_text() == (here.folder / "config.yaml").read_text()
    assert known.places_of(blueprint.config.data)["data_dir"] == str(tmp_path)


def test_a_relative_path_lies_in_the_data_folder_there_too(own: Path, tmp_path: Path) -> None:
    files = files_of(data_config("npz", path="mine/set.npz"), tmp_path)
    assert files is not None
    assert (files.root, list(files.sizes), files.path) == (str(tmp_path), ["mine/set.npz"], None)
    assert files.leading_to(tmp_path / "there") == {}


def test_a_folder_of_images_is_its_files_and_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cat/1.png", "dog/2.png"):
        (tmp_path / "pets" / name).parent.mkdir(parents=True)
        (tmp_path / "pets" / name).write_bytes(b"image")
    files = files_of(data_config("image_folder", path=str(tmp_path / "pets")), tmp_path / "data")
    assert files is not None
    assert sorted(files.sizes) == ["cat/1.png", "dog/2.png"]
    assert files.leading_to(Path("/there")) == {str(tmp_path / "pets"): Path("/there")}
    monkeypatch.setattr(datasets, "MOST_BYTES", 9)
    with pytest.raises(ConfigError, match="share"):
        files.read()
