"""A run knows its data and its config: both may change later, and every command that reads the run says so."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from bnexp.commands.compare import compare
from bnexp.commands.data import list_cache, verify
from bnexp.commands.fold import fold
from bnexp.commands.ls import ls
from bnexp.commands.probe import probe
from bnexp.commands.resume import resume
from bnexp.commands.train import train
from bnexp.errors import BnexpError, ConfigError

CONFIG = """\
data: {dataset: DATASET, path: PATH, batch_size: 20}
model: {arch: mlp, hidden: [8], block: linear -> norm -> relu, norm: bn}
optimizer: {name: sgd, lr: 0.05}
training: {epochs: 4}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.yaml").write_text(CONFIG.replace("DATASET", "npz").replace("PATH", "d.npz"))
    return tmp_path


def make_npz(path: Path, seed: int, noise: int = 0, examples: int = 200) -> None:
    rng = np.random.default_rng(seed)

    def part(count: int) -> tuple[np.ndarray, np.ndarray]:
        y = np.arange(count) % 2
        x = rng.integers(0, 100, (count, 8, 8)) + (156 - noise) * y[:, None, None] // 2
        return np.clip(x, 0, 255).astype(np.uint8), y

    (x_train, y_train), (x_test, y_test) = part(examples), part(80)
    path.parent.mkdir(exist_ok=True)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


def trained(seed: int = 0, config: str = "d.yaml", **options: object) -> None:
    train([Path(config)], data_dir=Path(), quiet=True, device="cpu", seed=seed, **options)  # type: ignore[arg-type]


def rows_of(capsys: pytest.CaptureFixture[str]) -> tuple[list[dict[str, object]], str]:
    compare([], output="json")
    said = capsys.readouterr()
    found = json.loads(said.out)
    return found["rows"], " ".join(found.get("notes", [])) + said.err


def test_a_file_made_anew_between_two_seeds_makes_two_arms(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_npz(place / "d.npz", 0, noise=140)
    trained(0)
    make_npz(place / "d.npz", 1, examples=400)
    trained(1)
    capsys.readouterr()
    rows, said = rows_of(capsys)
    metas = [json.loads((place / f"runs/d/seed{seed}/meta.json").read_text()) for seed in (0, 1)]
    assert {row["data_fingerprint"] for row in rows} == {meta["data_fingerprint"] for meta in metas}
    assert [row["n"] for row in rows] == [1, 1]
    assert metas[0]["data_path"] == str(place / "d.npz")
    assert "2 data sets in one table" in said
    assert "180 + 20 + 80 examples" in said
    assert "360 + 40 + 80 examples" in said
    ls()
    assert "runs of one config on 2 data sets" in capsys.readouterr().out


def test_two_datasets_in_one_table_are_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["data={dataset: synthetic, batch_size: 16, synthetic: {shape: [1, 4, 4], size: 100}}", "data.path=null"]
    make_npz(place / "d.npz", 0)
    trained(name="one")
    trained(name="other", overrides=options)
    capsys.readouterr()
    compare([])
    out = capsys.readouterr().out
    assert "2 data sets in one table: accuracies on different examples do not compare" in out
    assert len(re.findall(r"curve: [^\n]*rows of (d.npz|synthetic)", out)) == 2


def test_a_probe_finds_the_data_of_its_run_and_takes_no_others(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_npz(place / "d.npz", 0)
    trained()
    run = place / "runs" / "d" / "seed0"
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    monkeypatch.delenv("BNEXP_DATA", raising=False)
    probe(str(run), probes=["invariance"])
    make_npz(place / "d.npz", 1, examples=400)
    with pytest.raises(
        BnexpError, match=r"not those that the run learned from: .*360 \+ 40 .*expected .*180 \+ 20"
    ) as told:
        probe(str(run), probes=["classes"])
    assert f"on purpose: bnexp probe {run} --set data.path=" in str(told.value)
    with pytest.raises(BnexpError, match="not those that the run learned from"):
        fold(str(run))
    capsys.readouterr()
    probe(str(run), probes=["classes"], overrides=[f"data.path={place / 'd.npz'}"])
    assert "measured on other data than the run learned from" in capsys.readouterr().out
    (place / "d.npz").unlink()
    with pytest.raises(ConfigError, match=r"The run read .*d\.npz; --data-dir FOLDER names where d\.npz lies now"):
        probe(str(run), probes=["classes"])
    make_npz(place / "moved" / "d.npz", 0)
    probe(str(run), probes=["classes"], data_dir=place / "moved")
    assert "measured on other data" not in capsys.readouterr().out


def test_a_run_is_resumed_on_its_data_wherever_they_lie_now(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_npz(place / "d.npz", 0)
    trained()
    run = place / "runs" / "d" / "seed0"
    before = {name: (run / name).read_text() for name in ("config.yaml", "meta.json", "summary.json")}
    (run / "summary.json").unlink()
    (run / "meta.json").write_text(before["meta.json"].replace('"finished"', '"interrupted"'))
    (place / "d.npz").unlink()
    with pytest.raises(ConfigError, match=rf"lies now: bnexp resume {run} --data-dir FOLDER$"):
        resume(str(run))
    make_npz(place / "moved" / "d.npz", 1)
    with pytest.raises(BnexpError, match="is not the one that the run began with"):
        resume(str(run), data_dir=place / "moved")
    make_npz(place / "moved" / "d.npz", 0)
    resume(str(run), data_dir=place / "moved", quiet=True)
    metas = [json.loads(text) for text in (before["meta.json"], (run / "meta.json").read_text())]
    assert metas[1]["data_path"] == str(place / "moved" / "d.npz")
    assert metas[0]["config_sha256"] == metas[1]["config_sha256"]
    assert (run / "config.yaml").read_text() == before["config.yaml"]
    scores = [json.loads(text)["test"] for text in (before["summary.json"], (run / "summary.json").read_text())]
    assert scores[0] == scores[1]


def test_a_complete_run_says_when_its_data_became_others(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_npz(place / "d.npz", 0)
    trained()
    capsys.readouterr()
    for seed, said in ((0, False), (1, True)):
        make_npz(place / "d.npz", seed)
        trained(resume=True)
        shown = capsys.readouterr()
        assert "already finished at " in shown.out
        assert ("seed0 learned from other data than lie there now: " in shown.err) == said
        assert ("the same command without --resume" in shown.err) == said
    trained()
    assert "now fingerprint " in (shown := capsys.readouterr()).err
    assert "; a new run begins\n" in shown.err
    trained()
    assert capsys.readouterr().out == "already finished at runs/d/seed0-2, --again to repeat\n"


def test_an_edited_config_changes_no_table_and_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_npz(place / "d.npz", 0)
    for seed in (0, 1):
        trained(seed)
    path = place / "runs/d/seed1/config.yaml"
    text = path.read_text()
    for before, after, key in (("norm: bn", "norm: ln", "model.norm"), ("seed: 1", "seed: 0", "seed")):
        assert before in text
        path.write_text(text.replace(before, after))
        capsys.readouterr()
        rows, said = rows_of(capsys)
        assert [row["n"] for row in rows] == [2]
        now, then = after.partition(": ")[2], before.partition(": ")[2]
        assert f"config.yaml: {key} is {now}, but the run began with {then}" in said
        for command in (ls, lambda: probe("d/seed1", probes=["invariance"]), lambda: fold("d/seed1")):
            capsys.readouterr()
            command()
            assert f"{key} is {now}, but the run began with {then}" in capsys.readouterr().out


def test_a_run_whose_config_was_edited_is_not_resumed_even_from_its_start(place: Path) -> None:
    make_npz(place / "d.npz", 0)
    trained()
    path = place / "runs/d/seed0/config.yaml"
    path.write_text(path.read_text().replace("lr: 0.05", "lr: 0.5"))
    with pytest.raises(BnexpError, match=r"optimizer.lr is 0.5, but the run began with 0.05.*put them back"):
        resume("d/seed0", from_start=True, quiet=True)


def test_swapped_classes_of_the_same_sizes_and_times_are_other_images(
    place: Path, user_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    (place / "f.yaml").write_text(CONFIG.replace("DATASET", "image_folder").replace("PATH", "p").replace("20", "9"))
    for name, value in (("cat", 10), ("dog", 200)):
        for part in ("train", "test"):
            (place / "p" / part / name).mkdir(parents=True)
            for number in range(10):
                image = place / "p" / part / name / f"{number}.bmp"
                Image.new("L", (8, 8), value + number).save(image)
                os.utime(image, (1e9, 1e9))
    trained(config="f.yaml", name="before")
    test = place / "p" / "test"
    (test / "cat").rename(test / "aside")
    (test / "dog").rename(test / "cat")
    (test / "aside").rename(test / "dog")
    trained(config="f.yaml", name="after")
    scores = [
        json.loads((place / f"runs/{name}/seed0/summary.json").read_text())["test"]["final"]["accuracy"]
        for name in ("before", "after")
    ]
    assert scores[0] == 1 - scores[1]
    assert not list(place.rglob("*.npz"))
    assert not list(place.rglob(".bnexp-cache"))
    capsys.readouterr()
    list_cache()
    listed = capsys.readouterr().out
    assert str(place / "p") in listed
    assert f"1 file, 0.0 MB in {user_cache / 'bnexp' / 'images'}; bnexp data cache --clear deletes them" in listed
    list_cache(clear=True)
    list_cache()
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 files")


def test_verify_reads_the_images_and_not_what_is_kept_of_them(
    place: Path, user_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    for name in ("cat", "dog"):
        (place / "p" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (8, 8), number).save(place / "p" / name / f"{number}.png")
    verify("image_folder", path="p", data_dir=place)
    (kept,) = (user_cache / "bnexp" / "images").glob("*.npz")
    before = kept.read_bytes()
    with np.load(kept) as arrays:
        forged = {"about": arrays["about"], "images": arrays["images"] + 1}
    np.savez(kept, **forged)
    kept.chmod(0o600)
    verify("image_folder", path="p", data_dir=place)
    assert kept.read_bytes() == before
    assert "intact, 16 + 4 images" in capsys.readouterr().out


def test_runs_that_links_lead_to_are_listed_and_compared_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_npz(place / "d.npz", 0)
    trained()
    (place / "mix").mkdir()
    (place / "mix" / "linked").symlink_to("../runs/d")
    (place / "mix" / "again").symlink_to("../runs/d/seed0")
    capsys.readouterr()
    compare(["mix"], output="json")
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["n"] == 1
    ls(Path("mix"), output="json")
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 1
    shutil.rmtree(place / "runs")
    with pytest.raises(ConfigError, match="no runs in mix"):
        compare(["mix"])
