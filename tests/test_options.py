"""Options are honoured wholly or refused; what other tools call them is answered with the line to type."""

from pathlib import Path

import pytest

from bnexp import cli, options
from bnexp.config.aliases import KEYS
from bnexp.config.keys import is_known
from bnexp.errors import ConfigError
from command_line import bnexp

GOOD = """\
data: {dataset: synthetic, batch_size: 16, synthetic: {classes: 4, shape: [1, 4, 4], size: 100}}
model: {arch: mlp, hidden: [12, 8], block: linear -> norm -> act, norm: bn, activation: relu}
optimizer: {name: sgd, lr: 0.1}
training: {epochs: 1}
"""


def test_every_seed_is_trained(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    words = ["--seed", "1", "--seed", "2,4-5", "--quiet", "--device", "cpu"]
    done = bnexp("train", "a.yaml", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "runs" / "a").iterdir()) == ["seed1", "seed2", "seed4", "seed5"]
    assert done.stderr.count("validation examples") == 1  # a warning of the file is said once


ANSWERS = {
    "--lr 0.1": "--set optimizer.lr=0.1",
    "--lr=0.1": "--set optimizer.lr=0.1",
    "-lr 0.1": "--set optimizer.lr=0.1",
    "--learning_rate 1e-3": "--set optimizer.lr=1e-3",
    "--epochs 5": "--set training.epochs=5",
    "--num-epochs 5": "--set training.epochs=5",
    "-e 5": "--set training.epochs=5",
    "--batch-size 32": "--set data.batch_size=32",
    "--batch_size 32": "--set data.batch_size=32",
    "--norm ln": "--set model.norm=ln",
    "--optimizer adam": "--set optimizer.name=adam",
    "--optimizer.lr 0.1": "--set optimizer.lr=0.1",
    "--optimizer.weight-decay=0.1": "--set optimizer.weight_decay=0.1",
    "--wd 1e-4": "--set optimizer.weight_decay=1e-4",
    "--momentum 0.5": "--set optimizer.momentum=0.5",
    "--hidden 64 64": "--set 'model.hidden=[64, 64]'",
    "--dropout 0.5": "dropout(p=0.5)",
    "--fp16": "--set training.precision=fp16",
    "--gpu 0": "expected --device cuda",
    "--seeds 1,2": "expected --seed 1,2",
    "--seeds 5": "expected --seed 5, or --seed 0-4 for 5 seeds",
    "--output-dir x": "expected --runs-dir x",
    "--num-workers 4": "nothing is to be set",
    "--config b.yaml": "bnexp train b.yaml",
    "--trainer.max_epochs 3": "--set training.epochs=3",
    "--accumulate_grad_batches 2": "--set training.accumulate=2",
    "--seed_everything 1": "expected --seed 1",
    "--test-batch-size 1000": "--set data.eval_batch_size=1000",
    "--bn-momentum 0.1": '--set "model.norm=bn(momentum=0.1)"',
    "--eps 1e-3": '--set "model.norm=bn(eps=1e-3)"',
    "--dry-run": "bnexp check CONFIG",
    "--ckpt_path x": "bnexp resume RUN",
    "--jobs 2": "bnexp sweep CONFIG --seeds 5 --workers 2",
    "-m": "bnexp sweep CONFIG --axis optimizer.lr=0.1,0.01",
    "-lead.yaml": "has no option -lead.yaml",
    "--sed 3": "did you mean --seed?",
    "--xyzzyq": "it takes --set, --seed",
    "--device cpu --device cuda": "--device is given 2 times",
    "--name a --name a": "--name is given 2 times",
    "--runs-dir a --runs-dir=b": "--runs-dir is given 2 times",
}


@pytest.mark.parametrize("words", ANSWERS)
def test_an_option_of_another_tool_is_answered_with_the_line_to_type(words: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    done = bnexp("train", "a.yaml", *words.split(), cwd=tmp_path)
    assert done.returncode == 2
    assert ANSWERS[words] in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--seed 3 train a.yaml", "expected it behind: bnexp train a.yaml --seed 3"),
        ("a.yaml --seed 3", "a file, and no command; expected bnexp train a.yaml --seed 3"),
        ("train --config a.yaml", "the config is an argument: bnexp train a.yaml"),
        ("train a.yaml,a.yaml", "Several files stand apart: a.yaml a.yaml"),
        ("train x*.yaml", "A pattern is filled in by the shell"),
        ("train a.yaml --device cuda0", 'Did you mean "cuda:0"?'),
        ("check a.yaml --set optimizer.lr=0.1,training.epochs=5", "--set optimizer.lr=0.1 --set training.epochs=5"),
        ("check a.yaml --set optimizer.lr:0.1", "such as --set optimizer.lr=0.1"),
        ("check a.yaml --set optimizer.learning_rate=1", 'Did you mean "lr"?'),
        ("check a.yaml --set model.normalization=ln", 'Did you mean "norm"?'),
        ("check a.yaml --set model.arch=ResNet18", "{arch: resnet, depth: 18}"),
        ("check a.yaml --set optimizer=Adam", "such as {name: adam}"),
        ("check a.yaml --lr 0.1", "--set optimizer.lr=0.1"),
        ("check a.yaml --seed 1,2", "bnexp train CONFIG --seed 1,2"),
        ("board --port 0", "--port 0: expected 1 to 65535"),
        ("compare --target 50", "up to 1, such as 0.5"),
        ("check a.yaml --name b", "which belongs to train"),
        ("compare --lr 0.1", "which train and check take: --set optimizer.lr=0.1"),
        ("compare --sort lr --sort name", "--sort is given 2 times"),
        (
            "resume x --epochs 10",
            "a run keeps its config, and a new one has another: bnexp train CONFIG --set training.",
        ),
        ("train a.yaml --accelerator cpu", "expected --device cpu"),
        ("train a.yaml --compile", "--set training.compile=true"),
        ("probe x y", "bnexp probe takes one RUN, found y behind it; expected a command for each: for one in x y; do"),
        ("sweep a.yaml b.yaml c.yaml d.yaml e.yaml", 'for one in a.yaml b.yaml ...; do bnexp sweep "$one"; done'),
        ("data list x", "bnexp data list takes no argument, found x"),
        ("resume", "bnexp resume needs a RUN: "),
        ("compare --format md", 'expected table, csv, json, markdown, latex, found "md"; did you mean markdown?'),
        ("ls --runs-dir x", "type: bnexp ls x"),
        ("explain batchnorm --eps 1 --eps 2", "--eps is given 2 times"),
        ("data verify npz --path a --path b", "--path is given 2 times"),
        ("probe x --weights best --weights final", "--weights is given 2 times"),
        ("board --port 1 --port 2", "--port is given 2 times"),
    ],
)
def test_every_command_answers(words: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    done = bnexp(*words.split(), cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["explain", "batchnorm", "--eps", "1,5"], 'a number, found "1,5"; a decimal comma is written as a point, 1.5'),
        (["explain", "batchnorm", "--momentum=0,1"], 'a number, found "0,1"; a decimal comma is written as a point'),
        (["explain", "batchnorm", "--eps", "1e\u22125"], "in the signs of a plain keyboard it is 1e-5"),
        (["explain", "groupnorm", "--groups", "2.5"], 'a whole number, found "2.5"'),
        (["compare", "--target", "90%"], "90% is written 0.9"),
        (["board", "--port", "x"], 'a whole number, found "x"'),
        (["train", "x.yaml", "--profile", "--name", "y"], '--profile: expected a whole number, found "--name"'),
        (["train", "x.yaml", "--profile", "-1"], '--profile: expected a whole number from 0 on, found "-1"'),
        (["sweep", "x.yaml", "--retries=-2"], '--retries: expected a whole number from 0 on, found "-2"'),
    ],
)
def test_what_is_no_number_is_answered_with_how_one_is_written(words: list[str], problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        cli.app(words, standalone_mode=False)
    assert str(refused.value).startswith(tuple(f"{word.partition('=')[0]}: expected " for word in words))
    assert problem in str(refused.value)


def test_every_name_that_is_translated_leads_to_a_key() -> None:
    names = [name for theirs in KEYS.values() for name in theirs]
    assert len(names) == len(set(names))
    keys = [*KEYS, *(line.partition("=")[0] for line in options._FLAGS.values())]
    assert all(is_known(tuple(key.split("."))) for key in keys)


def test_a_flag_may_stand_twice(tmp_path: Path) -> None:
    (tmp_path / "runs" / "arm" / "seed0").mkdir(parents=True)
    assert bnexp("ls", "--csv", "--csv", cwd=tmp_path).returncode == 0


def test_the_home_is_filled_in_where_no_shell_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=str(tmp_path / "runs")):
        cli.app(["compare", "--runs-dir=~/runs"], standalone_mode=False)


def test_a_command_that_is_done_once_is_not_done_by_several_processes() -> None:
    of_torchrun = {"WORLD_SIZE": "2", "RANK": "0"}
    with pytest.raises(
        ConfigError, match=r"^bnexp compare: several processes \(WORLD_SIZE=2\) would each do all of it"
    ):
        options.refuse_to_repeat("compare", of_torchrun)
    options.refuse_to_repeat("train", of_torchrun)
    options.refuse_to_repeat("compare", {"WORLD_SIZE": "1", "RANK": "0"})


def test_a_command_without_options_says_so() -> None:
    with pytest.raises(ConfigError, match=r"^bnexp demo has no option --x, which belongs to plot; it takes none$"):
        cli.app(["demo", "--x"], standalone_mode=False)
