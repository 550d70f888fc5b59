"""README, CONTRIBUTING and docs/: each command can be typed as it stands; and the site has every page.

What a command calls is replaced: that it works is what the tests of the guides and of each command say.
"""

import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.main import get_command

import bnexp.commands
from bnexp.cli import app
from bnexp.config import plugins
from bnexp.config.loading import load_config
from bnexp.config.sweep_loading import load_sweep, sweep_of_options
from bnexp.lessons.request import LessonOptions
from bnexp.lessons.topics import topic_named
from bnexp.sweep.arms import expand
from site_pages import on_page_markdown

ROOT = Path(__file__).parent.parent
WRONG_ON_PURPOSE = {"exit_codes.md"}
"""Pages whose commands end with other codes than 0; a test of their own runs each."""
DOCS = sorted(page for page in (ROOT / "docs").glob("*.md") if page.name not in WRONG_ON_PURPOSE)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
PLACEHOLDERS = {"CONFIG", "FILE", "NAME", "RUN", "STUDY", "TOPIC"}
"""Words in whose place a reader puts others."""
OF_THE_READER = {
    "mad.py",
    "measured.csv",
    "mine.csv",
    "mnist_mlp_bn.yaml",
    "study.yaml",
    "study/bn.yaml",
    "study/ln.yaml",
    "study/none.yaml",
}
"""Files that a page shows, or has the reader write."""
UNCHECKED = {
    **dict.fromkeys(("[", "cat", "cd", "done", "export", "for", "mkdir"), "of the shell"),
    "docker": "needs Docker",
    "ray": "needs a cluster",
    "scontrol": "needs Slurm",
    "venv": "of Python",
    ".venv/bin/pre-commit": "is installed by those who want it",
}
"""Commands that are not checked here, by the word that they begin with."""
GROUP: Any = get_command(app)
NAMES = set(GROUP.commands)
MAKE = re.findall(r"^([a-z/.-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
WRITTEN = ("data_dir", "html", "output", "runs_dir", "save", "to")
"""Arguments that name no file that must be there."""


def commands_on(page: Path) -> Iterator[list[str]]:
    """Return the commands that a page has on lines of their own, without what redirects and what repeats them."""
    text = re.sub(r"<<'(\w+)'\n.*?^\1$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    shell = "".join(block for language, block in FENCED.findall(text) if language == "sh" or block.startswith("bnexp "))
    indented = "\n".join(
        re.findall(r"^    ((?:bnexp|pip|ray|srun) (?:.*\\\n)*.*)$", FENCED.sub("", text), re.MULTILINE)
    )
    for line in f"{shell}\n{indented}".replace("\\\n", " ").splitlines():
        yield from split(line)


def split(line: str) -> Iterator[list[str]]:
    """Return the commands of a line of shell, with 1 in the place of variables and RUN in that of `[RUN|FOLDER]...`."""
    line = re.sub(r"\$\(\(.*?\)\)|\$\w+|<\w+>", "1", line)
    line = re.sub(r"\[[A-Z|/.]+\]", "RUN", line).replace("...", "")
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word in ("||", "&&", "|", ";", "{", "}", "do"):
            if words:
                yield words
            words = []
        else:
            words.append(word)


def bnexp_in(words: Sequence[str]) -> list[str] | None:
    """Return the arguments of bnexp in a command, started by itself or by a launcher; None for another command."""
    if words[0] == "srun":
        words = words[1:]
    if words[0] == "torchrun":
        words = words[words.index("-m") + 1 :]
    if Path(words[0]).name != "bnexp":
        return None
    arguments = list(words[1:])
    return arguments[: arguments.index(">")] if ">" in arguments else arguments


class Called:
    """A module of bnexp/commands that remembers how it was called, and does nothing."""

    def __init__(self, name: str, calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]]) -> None:
        self._name, self._calls = name, calls

    def __getattr__(self, function: str) -> Any:
        def remember(*given: Any, **named: Any) -> Any:
            if function[0].islower():  # and no class of options
                self._calls.append((self._name, given, named))

        return remember


@pytest.fixture
def typing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what types a command in the repository: it is read to its end, and so are the configs that it names."""
    monkeypatch.chdir(ROOT)
    calls: list[Any] = []
    for file in (ROOT / "bnexp" / "commands").glob("[a-z]*.py"):
        monkeypatch.setattr(bnexp.commands, file.stem, Called(file.stem, calls), raising=False)
    monkeypatch.setattr(plugins, "load", lambda file: calls.append(("", (file,), {})))

    def type_(arguments: Sequence[str]) -> None:
        calls.clear()
        GROUP.main(list(arguments), prog_name="bnexp", standalone_mode=False)
        for command, given, named in calls:
            if command == "explain" and given[0] not in (None, *PLACEHOLDERS):
                topic_named(given[0])
            for path in files_in((given, {key: one for key, one in named.items() if key not in WRITTEN})):
                read(command, path, named)

    return type_


def files_in(value: Any) -> Iterator[Path]:
    """Return the files that arguments name, in lists and options, too; of text, what has the ending of one."""
    if isinstance(value, Path) or (isinstance(value, str) and value.endswith((".yaml", ".csv", ".py"))):
        found = [] if Path(value).is_absolute() else sorted(Path().glob(str(value)))
        yield from found or [Path(value)]
    elif isinstance(value, dict | LessonOptions):
        yield from files_in(list((value if isinstance(value, dict) else vars(value)).values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from files_in(part)


def read(command: str, path: Path, named: dict[str, Any]) -> None:
    """Read a file as the command does, with the keys that are laid over it."""
    if path.as_posix() in OF_THE_READER or path.stem in PLACEHOLDERS:
        return
    if command in ("train", "check"):
        load_config(path, named["overrides"])
    elif command == "sweep" and named.get("axes"):
        expand(sweep_of_options(path, named["axes"], named["seeds"], named["overrides"], named["name"]))
    elif command == "sweep":
        expand(load_sweep(path, seeds=named.get("seeds"), overrides=named.get("overrides", ())))
    elif path.suffix:
        assert path.is_file(), f"{path} is not there"


def wrong_on(page: Path, typing: Any, commands: Sequence[Sequence[str]]) -> Iterator[str]:
    """Type commands of a page, and say of each what is wrong with it."""
    for words in commands:
        arguments = bnexp_in(words)
        try:
            if arguments is None:
                look_at(words)
            else:
                typing(arguments)
        except Exception as error:
            yield f"{page.name}: {shlex.join(words)}: {error}"


def look_at(words: Sequence[str]) -> None:
    """Check a command of another program: the targets of make, the files and extras that pip is given, own modules."""
    program, rest = words[0], list(words[1:])
    if Path(program).name in ("python", "python3") and rest[0] == "-m":
        program, rest = rest[1], rest[2:]
    if program == "make":
        assert all(target in MAKE for target in rest), f"make has no {rest}"
    elif program == "pip":
        assert all(Path(file).is_file() for option, file in pairwise(rest) if option in ("-c", "-r"))
        assert set(re.findall(r"bnexp\[(\w+)\]", " ".join(rest))) <= set(PROJECT["optional-dependencies"])
    elif program not in UNCHECKED:
        place = ROOT / program.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").is_file(), "not checked, and not listed in UNCHECKED"


def test_each_command_on_a_line_can_be_typed(typing: Any) -> None:
    found = {page: list(commands_on(page)) for page in PAGES}
    assert sum(len(commands) for commands in found.values()) > 80
    wrong = [one for page, commands in found.items() for one in wrong_on(page, typing, commands)]
    assert not wrong, "\n".join(wrong)


def test_each_command_within_a_sentence_can_be_typed(typing: Any) -> None:
    found = []
    for page in PAGES:
        for text in re.findall(r"`(bnexp [^`]+)`", page.read_text()):
            words = next(split(text.replace("\\|", "/")))  # as | is written in a table
            if len(words) > 2 or words[1] not in NAMES:  # else it only names the command
                ways = words[-1].split("/") if "\\|" in text else words[-1:]
                found += wrong_on(page, typing, [[*words[:-1], way] for way in ways])
    wrong = [one for one in found if " needs a " not in one]  # where the rest is left out
    assert not wrong, "\n".join(wrong)


def test_each_option_in_the_table_of_commands_is_one_of_its_command() -> None:
    rows = re.findall(r"^\| `bnexp (\w+)[^|]*(?:\\\|[^|]*)*\| (.*) \|$", PAGES[0].read_text(), re.MULTILINE)
    assert {name for name, _ in rows} == NAMES
    for name, row in rows:
        known = {option for parameter in GROUP.commands[name].params for option in parameter.opts}
        assert set(re.findall(r"`(--?[a-z-]+)", row)) <= known, name


def test_the_site_has_every_page_once_and_no_other() -> None:
    def pages_in(entries: Sequence[Any]) -> Iterator[str]:
        for entry in entries:
            (inside,) = entry.values()
            yield from pages_in(inside) if isinstance(inside, list) else [inside]

    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    there = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert sorted(pages_in(site["nav"])) == sorted([*there, "changelog.md"])  # tools/site_pages.py adds that
    assert site["theme"]["font"] is False
    assert site["plugins"] == ["search"]  # nothing from another host


def test_the_site_writes_links_and_rows_as_they_read_there() -> None:
    titles = {"config.md": SimpleNamespace(page=SimpleNamespace(title="Config"))}
    files: Any = SimpleNamespace(get_file_from_path=titles.get)
    written = (
        "[config.md](config.md#data), [it](config.md), [README](../README.md)\n| `a \\| b` | c -> d |\n`a \\| b` -> c"
    )
    read = (
        "[Config](config.md#data), [it](config.md), [README](index.md)\n| `a | b` | c -&NoBreak;> d |\n`a \\| b` -> c"
    )
    assert on_page_markdown(written, None, None, files) == read


def test_links_between_pages_stay_within_the_site() -> None:
    """As a strict build of the site demands, which takes longer."""
    made = {"../README.md", "../CHANGELOG.md", "changelog.md"}  # tools/site_pages.py leads them on
    for page in (ROOT / "docs").glob("*.md"):
        links = {link for link in re.findall(r"\]\(([^)\s#]+)", page.read_text()) if ":" not in link} - made
        outside = [link for link in links if link.startswith("..") or not (ROOT / "docs" / link).exists()]
        assert not outside, f"{page.name}: {outside}"
