"""Datasets on another machine: found where they lie, or brought once, and read there as here."""

import os
from pathlib import Path

import platformdirs
import pytest

from bnexp.config.data_section import data_config
from bnexp.data.load import PUBLISHED
from bnexp.errors import ConfigError
from bnexp.sweep import datasets
from bnexp.sweep.datasets import DatasetsHere, bring, files_of, find


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_are_those_that_are_read(name: str, tmp_path: Path) -> None:
    data = data_config(name)
    assert files_of(data, tmp_path) == []
    for path in PUBLISHED[name](tmp_path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (found,) = files_of(data, tmp_path)
    assert {tmp_path / place for place in found.sizes} == set(PUBLISHED[name](tmp_path))
    assert find(found, tmp_path / "nowhere") == tmp_path
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    tmp_path.rename(moved)
    assert find(found, moved) == moved
    assert find(found, tmp_path / "nowhere") is None


def test_carried_and_made_sets_have_no_files(tmp_path: Path) -> None:
    assert files_of(data_config("mnist5k"), tmp_path) == files_of(data_config("synthetic"), tmp_path) == []


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Return an npz file of the user's own."""
    path = tmp_path / "mine" / "set.npz"
    path.parent.mkdir()
    path.write_bytes(b"arrays")
    return path


def test_a_set_of_your_own_is_read_and_brought_once(own: Path, tmp_path: Path) -> None:
    data, puts = data_config("npz", path=str(own)), list[dict[str, bytes]]()
    here = DatasetsHere(tmp_path, lambda contents: puts.append(contents) or contents)
    (files,) = here.files_of(data)
    assert find(files, tmp_path) == own.parent
    assert files.leading_to(own.parent) == {}
    contents = [here.contents_of(files) for _ in range(2)]
    assert len(puts) == 1
    own.write_bytes(b"another")
    assert find(files, tmp_path) is None
    place = bring(files, contents[0])
    assert bring(files, contents[1]) == find(files, tmp_path) == place
    assert place.is_relative_to(platformdirs.user_cache_dir("bnexp"))
    assert files.leading_to(place) == {str(own): place / own.name}
    assert (place / own.name).read_bytes() == contents[0][own.name]
    assert here.places_of(data) == {"data_dir": str(tmp_path), "data_path": str(own)}


def test_a_set_that_was_written_anew_is_brought_anew(own: Path, tmp_path: Path) -> None:
    """As large as before: an npz file of other pixels, or of labels that were corrected, has the same size."""
    data = data_config("npz", path=str(own))
    (former,) = files_of(data, tmp_path)
    bring(former, former.read())
    own.write_bytes(b"ARRAYS")
    os.utime(own, ns=(0, former.times[own.name] + 1))  # a moment later
    (files,) = files_of(data, tmp_path)
    assert files.sizes == former.sizes
    contents = files.read()
    own.write_bytes(b"arrays")
    os.utime(own, (5, 5))  # on the node lies another file of this name and size
    assert find(files, tmp_path) is None
    assert (bring(files, contents) / own.name).read_bytes() == b"ARRAYS"
    assert find(files, tmp_path) == bring(files, contents)
    os.utime(own, ns=(0, files.times[own.name] // 10**9 * 10**9))  # a copy that keeps the time keeps whole seconds
    assert find(files, tmp_path) == own.parent


def test_a_relative_path_lies_in_the_data_folder_there_too(own: Path, tmp_path: Path) -> None:
    (tmp_path / "val.npz").write_bytes(b"more")
    data = data_config("npz", path="mine/set.npz", val_path="val.npz")
    (files,) = files_of(data, tmp_path)
    assert (files.root, list(files.sizes), files.path) == (str(tmp_path), ["mine/set.npz", "val.npz"], None)
    assert files.leading_to(tmp_path / "there") == {}
    elsewhere = files_of(data_config("npz", path="mine/set.npz", val_path=str(own)), tmp_path)
    assert [one.path for one in elsewhere] == [None, str(own)]


def test_a_folder_of_images_is_its_files_and_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cat/1.png", "dog/2.png"):
        (tmp_path / "pets" / name).parent.mkdir(parents=True)
        (tmp_path / "pets" / name).write_bytes(b"image")
    (files,) = files_of(data_config("image_folder", path=str(tmp_path / "pets")), tmp_path / "data")
    assert sorted(files.sizes) == ["cat/1.png", "dog/2.png"]
    assert files.leading_to(Path("/there")) == {str(tmp_path / "pets"): Path("/there")}
    monkeypatch.setattr(datasets, "MOST_BYTES", 9)
    with pytest.raises(ConfigError, match="share"):
        files.read()
