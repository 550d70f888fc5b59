"""`bnexp check` shows what a config means."""

import json
import math
import re
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.cells import cell_len
from rich.console import Console

from bnexp.commands.check import _classes, _fate, check
from bnexp.commands.train import train
from bnexp.config.data_section import DatasetInfo, unequal_counts
from bnexp.data.parts import Part
from bnexp.document import show
from bnexp.errors import BnexpError, ConfigError, Interrupted
from bnexp.inspection import speed
from bnexp.inspection.propagation import growth
from bnexp.inspection.speed import Moment, Speed, Way


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
    assert "4, with equally many examples; a guess is right for 25.0%" in out
    assert "5 x 16 + 1 x 10 = 6 steps per epoch" in out
    assert "12 steps in 2 epochs, 2 evaluations" in out
    check(config_file, overrides=["data.drop_last=true"])
    assert "5 x 16 = 5 steps per epoch, 10 examples left out" in capsys.readouterr().out
    check(config_file, overrides=["training.accumulate=4"])
    out = " ".join(capsys.readouterr().out.split())
    assert "5 x 16 + 1 x 10 = 6 batches per epoch" in out
    assert (
        "1 x 4 + 1 x 2 batches = 2 steps of the optimizer per epoch; statistics of 16 examples, gradients of 64" in out
    )
    assert "4 steps in 2 epochs, 2 evaluations" in out


def test_it_shows_the_warnings(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(config_file, overrides=["model.bias=true"])
    assert "warning: model.bias true" in capsys.readouterr().out


def test_it_refuses_what_cannot_train(config_file: Path) -> None:
    with pytest.raises(ConfigError, match="block 2 would see 1 feature"):
        check(config_file, overrides=["model.hidden=[4, 1]", "model.norm=ln"])


def test_it_finds_a_set_of_your_own_in_the_data_folder_and_says_what_was_left_out(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, images in (("cat", 60), ("dog", 40)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(images):
            Image.new("RGB", (6, 5)).save(tmp_path / "photos" / name / f"{number}.png")
    (tmp_path / "photos" / "cat" / "bad.png").write_bytes(b"no image")
    own = ["data.dataset=image_folder", "data.path=photos", "data.synthetic=null"]
    with pytest.raises(BnexpError, match=r"1 of 101 images cannot be read:\n  cat/bad.png"):
        check(config_file, overrides=own, data_dir=tmp_path)
    check(config_file, overrides=[*own, "data.skip_broken=true"], data_dir=tmp_path)
    out = capsys.readouterr().out
    assert "2, of 40 to 60 examples, about equal; guessing the most frequent is right for 60.0%" in out
    assert "72 to train on, 8 to validate on, 20 to test on" in out
    assert "passed over: 1 broken: not an image of a known format (cat/bad.png)" in out
    assert "block1.linear      12       1,080" in out  # 3 x 5 x 6 features by 12


@pytest.mark.parametrize(("counts", "unequal"), [((10, 15), False), ((10, 16), True), ((1, 2), False), ((0, 5), True)])
def test_classes_are_unequal_by_the_rule_that_the_scores_have(counts: tuple[int, ...], unequal: bool) -> None:
    labels = torch.repeat_interleave(torch.arange(2), torch.tensor(counts))
    assert Part(labels, labels).has_unequal_classes == unequal
    assert ("unequal" in _classes(DatasetInfo("", (1, 1, 1), 2, 9, 9, class_counts=counts))) == unequal
    assert unequal_counts(labels.tolist(), 2) == counts  # a class without examples counts too


def test_signal_shows_every_layer_and_what_the_depth_comes_to(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(config_file, overrides=["model.hidden=[12, 10, 8]"], signal=True)
    lines = capsys.readouterr().out.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("signal     the first batch of 16"))
    assert lines[start + 1].split() == ["output", "of", "std", "rank", "dead", "gradient", "of", "norm"]
    assert [line.split()[0] for line in lines[start + 2 : start + 6]] == [
        *(f"block{n}.relu" for n in (1, 2, 3)),
        "head",
    ]
    assert "a guess among 4 classes has ln(4) = 1.386" in lines[start + 6]
    assert lines[start + 7].startswith("signal     x ")
    assert "up from the first hidden layer to the last" in lines[start + 7]
    assert lines[start + 8].startswith("gradient   x ")
    assert re.match(r"rank       the 16 examples differ in \d+\.\d directions", lines[start + 9])


def report(capsys: pytest.CaptureFixture[str], config_file: Path, *overrides: str) -> dict[str, str]:
    """Return the sentences of `check --signal` by their first word."""
    check(config_file, overrides=overrides, signal=True)
    lines = capsys.readouterr().out.partition("forward and backward")[2].splitlines()
    return {line.split()[0]: line for line in lines if line}


def test_a_signal_that_is_clipped_is_called_so_and_only_then(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    block = ["model.block=linear -> act", "model.norm=null", "model.hidden=[12, 12, 12]"]
    large = report(capsys, config_file, *block, "model.activation=tanh", "init={scheme: kaiming, gain: 10}")
    assert "keeps its size only by being clipped" in large["signal"]
    assert re.search(r"up to \d\d%, at block\d.tanh, of the values", large["saturated"])
    assert "block3.tanh" in large
    small = report(capsys, config_file, *block, "model.activation=tanh", "init={scheme: xavier}")
    assert "keeps its size, roughly" in small["signal"]
    assert "saturated" not in small
    assert "dead" not in small["output"]


def test_the_loss_of_all_zero_logits_is_that_of_a_guess_and_of_large_ones_is_not(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = report(capsys, config_file, "init={scheme: normal, std: 1e-6}", "model.norm=none")
    assert f"{math.log(4):.3f} before any training" in tiny["loss"]
    assert "starts as it should" in tiny["loss"]
    assert "sure of wrong answers" in report(capsys, config_file, "init={scheme: normal, std: 5.0}")["loss"]


def test_theory_stands_beside_the_growth_where_there_is_one(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """pi / (pi - 1) is of the square of the norm, and so is (B - 2) / (B - 3); without a norm weights decide."""
    wide = ["model={hidden: [16, 16, 16]}", "init={scheme: kaiming}"]
    bn = report(capsys, config_file, *wide, "model.norm=bn", "data.batch_size=32")
    assert f"theory: x {math.sqrt(math.pi / (math.pi - 1)):.3f}, Yang" in bn["gradient"]
    assert "theory" not in bn["signal"]
    linear = report(capsys, config_file, *wide, "model.norm=bn", "model.activation=identity", "data.batch_size=8")
    assert f"theory: x {math.sqrt(6 / 5):.3f}, Yang" in linear["gradient"]
    plain = report(capsys, config_file, *wide, "model.norm=none", "init.gain=1.5")
    assert "theory: x 1.500, of one example, He" in plain["signal"]
    assert "theory: x 1.000, of one example, He" in plain["gradient"]
    assert re.search(r"\(x \d\.\d+ to the second; .* but for the first, whose input is the image\)", plain["gradient"])
    for other in (
        ["model.norm=ln"],
        ["model.norm=bn", "model.hidden=[16, 12]"],
        ["model.norm=bn", "data.batch_size=16"],
        ["model.norm=bn(frozen=both)", "data.batch_size=32"],
        ["model.norm=bn(eps=10)", "data.batch_size=32"],
    ):
        assert "theory" not in "".join(report(capsys, config_file, *wide, *other).values())


def test_a_gradient_that_vanishes_or_explodes_is_called_so(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for gain, fate in ((0.3, "vanishes"), (5, "explodes"), (1.2, "grows"), (1.05, "keeps its size, roughly")):
        overrides = [f"model.hidden={[12] * 20}", "model.norm=none", f"init={{scheme: kaiming, gain: {gain}}}"]
        check(config_file, overrides=overrides, signal=True)
        assert f"in all: it {fate}" in next(
            line for line in capsys.readouterr().out.splitlines() if line.startswith("signal     x ")
        )


def test_a_signal_is_judged_by_the_layer_and_on_its_way_too() -> None:
    def fate(*values: float) -> str:
        return _fate(growth(list(values)), values, clipped=False)

    assert fate(1, 0.3) == "shrinks"  # x 0.3 a layer: two layers are too few for a factor of 5
    assert fate(1, 1.2, 1.6) == "keeps its size, roughly"
    assert fate(1, 1.6, 2.56) == "grows"
    assert fate(1, 0.01, 1.1) == "ends about as it began, and lies between x 0.01 and x 1.1 of that on its way"
    assert fate(2, 20, 1000, 2000) == "explodes"


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_precision_of_the_signal_is_told(
    config_file: Path, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check(config_file, overrides=[f"training.precision={precision}"], signal=True)
    out = capsys.readouterr().out
    assert (f"in fp32: what {precision} rounds or overflows" in out) == (precision != "fp32")
    assert ("warning: training.precision fp16: only a CUDA device trains in it" in out) == (precision == "fp16")


def test_a_signal_too_small_for_its_square_is_shown_and_called_vanishing(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = f"model.hidden={[12] * 60}"
    check(config_file, overrides=[hidden, "model.norm=none", "model.bias=false", "init.gain=0.5"], signal=True)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("signal    ", "gradient  "))]
    assert len(lines) == 3
    assert "in all: it vanishes" in lines[1]
    assert " a layer down from the last hidden layer" in lines[2]


def test_one_hidden_layer_has_no_growth_to_tell_of(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {"signal", "gradient"} & set(report(capsys, config_file, "model.hidden=[12]")) == set()


@pytest.mark.parametrize("width", [40, 60, 100])
def test_a_terminal_shows_the_same_words_within_its_width(
    config_file: Path, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ["model.bias=true", "model.hidden=[12, 8, 8]"]
    check(config_file, overrides=overrides, signal=True)
    piped = capsys.readouterr().out
    console = partial(Console, force_terminal=True, color_system=None, width=width)
    monkeypatch.setattr(show, "terminal", console)
    check(config_file, overrides=overrides, signal=True)
    drawn = capsys.readouterr().out
    assert max(map(cell_len, drawn.splitlines())) <= width
    assert ("█" in drawn) == (width >= 60)
    assert set(re.findall(r"[0-9.,]+", piped)) <= set(re.findall(r"[0-9.,]+", drawn))


def test_branches_that_start_at_zero_are_no_vanishing_signal(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = (
        "model={arch: resnet, hidden: null, depth: 8, width: 4, block: conv -> bn -> relu -> conv -> bn -> add -> relu"
    )
    block = ["data.synthetic.shape=[1, 8, 8]", f"{model}, norm: null, activation: null, zero_gamma: true}}"]
    said = report(capsys, config_file, *block)
    assert "vanishes" not in "".join(said.values())


def test_examples_that_have_become_equal_are_said_to_be(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = report(capsys, config_file, f"model.hidden={[12] * 120}", "model.norm=none")
    assert "no difference between the 16 examples is left" in said["rank"]


def test_an_explosion_is_no_loss_of_differences(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = [f"model.hidden={[12] * 60}", "model.norm=none", "init={scheme: kaiming, gain: 1e3}"]
    said = report(capsys, config_file, *deep)
    assert "explodes" in said["signal"]
    assert "no difference" not in "".join(said.values())


def test_signal_is_of_one_batch_whatever_is_accumulated(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(capsys, config_file, "training.accumulate=4") == report(capsys, config_file)


def test_what_train_refuses_on_this_machine_is_a_note_in_its_words(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["training.precision=tf32"], ["training.graph=on"]
    check(config_file, overrides=[*asked[0], *asked[1]], device="cpu")
    told = capsys.readouterr().out
    for overrides in asked:
        with pytest.raises(ConfigError) as refused:
            train([config_file], overrides=overrides, runs_dir=tmp_path / "runs", device="cpu")
        assert f"note: on this machine, refused by train: {refused.value}" in told
    with pytest.raises(ConfigError, match=r"^--speed .* refused on this machine: training.graph on needs CUDA"):
        check(config_file, overrides=["training.graph=on"], device="cpu", speed=True)


def test_an_interrupted_measurement_of_speed_shows_what_was_measured(
    config_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = list[Way]()

    def one_and_then_ctrl_c(blueprint: object, data_dir: object, device: object, ways: list[Way]) -> list[Speed]:
        asked.extend(ways)
        if len(asked) > 1:
            raise KeyboardInterrupt
        return [Speed(ways[0], Moment(0.0125, 0.1), 1500.0, 10.0)]

    monkeypatch.setattr(speed, "speeds_of", one_and_then_ctrl_c)
    with pytest.raises(Interrupted, match="what was measured until then") as interrupted:
        check(config_file, device="cpu", speed=True)
    assert interrupted.value.exit_code == 130
    assert re.search(r"^\(as it stands\) +12.5 ", capsys.readouterr().out, re.MULTILINE)


def test_many_files_are_a_line_each_and_json_has_all(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = "training: {epochs: 1}\ndata: {synthetic: {size: 2000}}\nmodel: {norm: none}\n"
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "clean.yaml").write_text(f"base: ../small.yaml\n{clean}")
    (tmp_path / "more" / "wrong.yml").write_text("base: ../small.yaml\nmodel: {norm: bnn}\n")
    (tmp_path / "more" / "sweep.yaml").write_text("base: clean.yaml\naxes: {model.norm: [none, ln]}\nseeds: 3\n")
    (tmp_path / "more" / ".hidden.yaml").write_text("[")
    files = [tmp_path / "more", tmp_path / "more" / "cl*.yaml", config_file]
    with pytest.raises(ConfigError, match=r"^1 of 4 files cannot be trained"):
        check(files, output="json")
    rows = {Path(row["file"]).name: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert {name: row["status"] for name, row in rows.items()} == {
        "clean.yaml": "ok",
        "small.yaml": "warnings",
        "sweep.yaml": "ok",
        "wrong.yml": "wrong",
    }
    assert [rows["clean.yaml"][key] for key in ("kind", "name", "steps", "parameters")] == ["config", "clean", 113, 344]
    assert [rows["sweep.yaml"][key] for key in ("kind", "arms", "runs", "warnings")] == ["sweep", 2, 6, []]
    assert 'Did you mean "bn"' in rows["wrong.yml"]["error"]
    with pytest.raises(ConfigError):
        check(files)
    lines = capsys.readouterr().out.splitlines()
    assert "note: 4 files: 2 ok, 1 with warnings, 1 wrong" in lines
    assert f"warning: {config_file}: 10 validation examples" in "\n".join(lines)
    assert any(line.startswith(f"error: {tmp_path / 'more' / 'wrong.yml'}:2: model.norm: ") for line in lines)
    check([config_file, tmp_path / "more" / "clean.yaml"])
    with pytest.raises(ConfigError, match=r"--strict: 2 warnings"):
        check([config_file, tmp_path / "more" / "clean.yaml"], strict=True)


def test_files_that_are_not_there_or_make_no_table_are_refused(config_file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"empty: a folder without configs"):
        check([tmp_path / "empty"])
    (run := tmp_path / "empty" / "runs" / "a" / "seed0").mkdir(parents=True)
    (run / "config.yaml").write_bytes(config_file.read_bytes())
    check([tmp_path / "empty"])
    (run / "meta.json").write_text("{}")  # what a run keeps is no file of a person, unless its folder is named
    check([run])
    with pytest.raises(ConfigError, match=r"empty: a folder without configs"):
        check([tmp_path / "empty"])
    with pytest.raises(ConfigError, match=r"no file fits this pattern"):
        check([tmp_path / "*.yml"])
    with pytest.raises(ConfigError, match=r"--signal shows one config"):
        check([config_file, config_file.parent / "other.yaml"], signal=True)
