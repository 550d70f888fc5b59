"""What is written down of the circumstances."""

import subprocess
from pathlib import Path

import pytest

from bnexp.session.metadata import checked_out_commit, without_secrets


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "file").write_text("one")
    git(folder, "add", "file")
    git(folder, "commit", "-qm", "one")
    return folder


def test_the_commit_is_found_wherever_git_keeps_it(checkout: Path, tmp_path: Path) -> None:
    assert checked_out_commit(tmp_path) is None
    commit = git(checkout, "rev-parse", "HEAD")
    assert checked_out_commit(checkout) == commit, "a loose branch"
    git(checkout, "worktree", "add", "-q", str(tmp_path / "further"))
    assert checked_out_commit(tmp_path / "further") == commit, "a further worktree"
    git(checkout, "pack-refs", "--all")
    assert checked_out_commit(checkout) == checked_out_commit(tmp_path / "further") == commit, "packed branches"
    git(checkout, "checkout", "-q", "--detach")
    assert checked_out_commit(checkout) == commit, "no branch"


@pytest.mark.parametrize("head", ["", "ref: refs/heads/none", "ref: ../../secret", "root:x:0:0", "\xff", "0" * 39])
def test_what_is_no_commit_is_none(checkout: Path, head: str) -> None:
    (checkout / "secret").write_text("hidden")
    (checkout / ".git" / "HEAD").write_bytes(head.encode("latin1"))
    assert checked_out_commit(checkout) is None


def test_nothing_runs_that_a_repository_names(checkout: Path) -> None:
    """git would run the program of core.fsmonitor, and of a clean filter, to see whether files changed."""
    mark = checkout.parent / "PWNED"
    git(checkout, "config", "core.fsmonitor", f"touch {mark}; true")
    git(checkout, "config", "filter.x.clean", f"touch {mark}; cat")
    (checkout / ".gitattributes").write_text("* filter=x\n")
    (checkout / "file").write_text("two")
    assert checked_out_commit(checkout)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("configs/mnist_mlp_bn.yaml", None),
        ("--set", None),
        ("model.block=linear -> bn -> relu", None),
        ("probes.tokenizer=1", None),
        ("optimizer.lr=0.1", None),
        ("name=key_norm", None),
        ("token=abc123", "token=***"),
        ("HF_TOKEN=abc123", "HF_TOKEN=***"),
        ("--api-key=abc123", "--api-key=***"),
        ("data={password: hunter2, path: x}", "data={password: ***, path: x}"),
        ("https://me:pass@host/data", "https://***@host/data"),
        ("hf_Zq81vXw93kLmNcTt", "***"),
        ("--name=ghp_0123456789abcdefghij", "--name=***"),
    ],
)
def test_a_secret_in_the_command_line_is_not_kept(word: str, kept: str | None) -> None:
    assert without_secrets(["bnexp", word]) == ["bnexp", kept or word]
