"""Read the command line strictly: refuse an option given twice, and answer those of other tools with ours."""

import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from bnexp.config.packaged import ENDINGS, packaged_configs
from bnexp.errors import ConfigError, nearest
from bnexp.plain_words import read_plainly

_FLAGS = {
    "amp": "training.precision=bf16",
    "fp16": "training.precision=fp16",
    "bf16": "training.precision=bf16",
    "half": "training.precision=fp16",
    "no-norm": "model.norm=none",
    "no-bias": "model.bias=false",
    "no-download": "data.download=false",
}
"""Flags of other tools, and the key and value that they stand for."""

_OURS: Mapping[str, Sequence[str]] = {
    "--seed": ("seeds", "random-seed", "manual-seed", "random-state", "rng-seed", "seed-everything"),
    "--device cuda": ("cuda", "gpu", "gpus", "use-cuda", "accelerator"),
    "--device cpu": ("cpu", "no-cuda", "no-gpu"),
    "--runs-dir": (
        "output",
        "output-dir",
        "out",
        "out-dir",
        "logdir",
        "log-dir",
        "save-dir",
        "results-dir",
        "work-dir",
    ),
    "--data-dir": ("data-path", "data-root", "dataset-path", "dataset-dir"),
    "--name": ("run-name", "exp-name", "experiment", "experiment-name", "exp", "tag"),
    "--quiet": ("silent", "no-progress"),
    "--workers": ("jobs", "n-jobs", "parallel", "processes"),
}
"""Options of bnexp, and what other tools call them."""

_ABSENT = {
    "dropout": 'dropout is an item of the block: --set "model.block=linear -> norm -> act -> dropout(p={value})"',
    "workers": "nothing is to be set: a dataset lies in memory, without workers",
    "config": "the config is an argument: bnexp {command} {value}",
    "verbose": "train and resume take --verbose; every run keeps the same in its log.txt",
    "patience": "there is no early stopping: the best and the final weights are both kept and tested",
    "checkpoint": "a run is continued by: bnexp resume RUN",
    "dry-run": "a config is looked at without training by: bnexp check CONFIG",
    "jobs": "runs side by side are a sweep: bnexp sweep CONFIG --seeds 5 --workers {value}",
    "multirun": "several values are a sweep: bnexp sweep CONFIG --axis optimizer.lr=0.1,0.01",
    "yes": "no question is asked",
    "eps": 'of a norm it is --set "model.norm=bn(eps={value})", and of adam --set optimizer.eps={value}',
    "bn-momentum": 'it is an option of the norm: --set "model.norm=bn(momentum={value})"',
}
_MOST_IN_LINE = 4
"""Arguments that a line to type repeats."""
_SAME = {
    **dict.fromkeys(("drop", "dropout-rate", "drop-rate", "dropout-p"), "dropout"),
    **dict.fromkeys(("num-workers", "dataloader-num-workers"), "workers"),
    **dict.fromkeys(("n-jobs", "parallel", "processes"), "jobs"),
    **dict.fromkeys(("cfg", "config-file", "config-path", "config-name", "file"), "config"),
    **dict.fromkeys(("early-stopping", "early-stop"), "patience"),
    **dict.fromkeys(("debug",), "verbose"),
    **dict.fromkeys(("resume", "resume-from", "load", "ckpt", "resume-from-checkpoint"), "checkpoint"),
    **dict.fromkeys(("ckpt-path", "checkpoint-path", "load-checkpoint"), "checkpoint"),
    **dict.fromkeys(("fast-dev-run", "validate-only", "check"), "dry-run"),
    **dict.fromkeys(("norm-momentum",), "bn-momentum"),
    **dict.fromkeys(("bn-eps", "norm-eps"), "eps"),
}
"""Other names of the options in `_ABSENT`."""
_LETTERS = {
    "e": "epochs",
    "b": "batch-size",
    "c": "config",
    "o": "output",
    "s": "seed",
    "j": "jobs",
    "n": "name",
    "m": "multirun",
    "y": "yes",
}


PANELS = RUN, LOOK, LEARN, DATA = "Run", "Look", "Learn", "Data"
"""The panels of --help, in this order."""
Command = TypeVar("Command", bound=Callable[..., Any])


class HonestCommand(TyperCommand):
    """A command that refuses options given twice, and answers unknown ones with the line to type."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, of which most are read without pydantic."""
        return read_plainly(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of the command line.

        Raises:
            ConfigError: an option that takes one value is given twice, or there is no such option.
        """
        # No shell fills in the home of --runs-dir=~/runs.
        args = [re.sub(r"^(--[a-z-]+=)(~(?:/.*)?)$", _with_home, arg) for arg in args]
        words = list(args)
        if not ctx.resilient_parsing:
            self._refuse_repeated(ctx, words)
        try:
            return list(super().parse_args(ctx, args))
        except Exception as error:
            problem = None if ctx.resilient_parsing else self._problem(error, words, ctx)
            if problem is None:
                raise
            raise ConfigError(problem) from None

    def _problem(self, error: Any, words: list[str], ctx: Any) -> str | None:
        """Return a sentence with the line to type for an error of the parser; None to keep the parser's own words."""
        message, command = str(getattr(error, "message", "")), _words_of(ctx)
        argument: Any = next((param for param in self.params if param.param_type_name == "argument"), None)
        called = argument and (argument.metavar or argument.name.upper()).strip("[].")
        # By its name: Typer carries its own copy of click, whose place depends on the version.
        match type(error).__name__:
            case "NoSuchOption":
                return self._instead_of(str(getattr(error, "option_name", "")), words, ctx)
            case "BadParameter":
                return _no_number(error, words) or _too_small(error, words) or _no_choice(error, words)
            case "MissingParameter" if error.param is argument:
                return f"bnexp {command} needs a {called}: {argument.help}"
            case "UsageError" if "unexpected extra argument" in message:
                extra = message.rpartition("(")[2].rstrip(")")
                if argument is None:
                    return f"bnexp {command} takes no argument, found {extra}"
                return f"bnexp {command} takes one {called}, found {extra} behind it; {self._one_by_one(ctx, words)}"
        return None

    def _one_by_one(self, ctx: Any, words: list[str]) -> str:
        """Return the line that gives a command its arguments one after the other."""
        values, others, _ = self.make_parser(ctx).parse_args(args=list(words))
        argument = next(param for param in self.params if param.param_type_name == "argument")
        all_words = [shlex.quote(str(word)) for word in (values[argument.name], *others)]
        each = " ".join(all_words) if len(all_words) <= _MOST_IN_LINE else f"{' '.join(all_words[:2])} ..."
        return f'expected a command for each: for one in {each}; do bnexp {_words_of(ctx)} "$one"; done'

    def _refuse_repeated(self, ctx: Any, words: list[str]) -> None:
        try:
            order = self.make_parser(ctx).parse_args(args=list(words))[2]
        except Exception:
            return  # the parser will say so itself
        params: list[Any] = list(dict.fromkeys(order))
        for param in params:
            once = param.param_type_name == "option" and not (param.multiple or param.is_flag or param.count)
            if once and (times := order.count(param)) > 1:
                option = param.opts[0]
                raise ConfigError(f"{option} is given {times} times, and takes one value; expected {option} once")

    def _instead_of(self, option: str, words: list[str], ctx: Any) -> str:
        """Return a sentence on an option that the command lacks: what to type instead."""
        word, value, values = _as_typed(option, words)
        name = word.lstrip("-").lower().replace("_", "-").removeprefix("trainer.")
        if not word.startswith("--") and len(name) == 1:
            name = _LETTERS.get(name, name)
        command = _words_of(ctx)
        begins = f"bnexp {command} has no option {word}"
        if os.path.isfile(word):
            return f"{begins}; the file of this name is ./{word}"
        own = [opt for param in self.params for opt in param.opts if opt.startswith("--")]
        if "--" + name in own:
            return f"{begins}; expected --{name}"
        ours = next((ours for ours, theirs in _OURS.items() if name in theirs), "")
        if ours == "--device cuda" and value.lower() in ("cpu", "mps"):
            ours = f"--device {value.lower()}"
        if ours.split(" ")[0] in own:
            takes = "" if " " in ours or ours == "--quiet" else f" {value or 'VALUE'}"
            count = int(value) if name == "seeds" and (value or "").isdecimal() and len(value or "") < 4 else 0
            several = f", or --seed 0-{count - 1} for {count} seeds" if count > 1 else ""
            return f"{begins}; expected {ours}{takes}{several}"
        if (absent := _ABSENT.get(_SAME.get(name, name))) and "--" + _SAME.get(name, name) not in own:
            behind = words[words.index(word) + 1] if word in words[:-1] else "VALUE"
            return f"{begins}; " + absent.format(command=command, value=value or shlex.quote(behind))
        if name == "seed" and value and not value.isdecimal():
            return f"{begins}; several seeds are trained by: bnexp train CONFIG --seed {value}"
        if line := _set_line(name, value, values):
            if command in ("resume", "probe"):
                return f"{begins}; a run keeps its config, and a new one has another: bnexp train CONFIG {line}"
            if "--set" in own:
                return f"{begins}; it is a key of the config: {line}"
            return f"{begins}; it is a key of the config, which train and check take: {line}"
        taken = f"it takes {', '.join(own) or 'none'}"
        if owners := _commands_with(f"--{name}", ctx):
            instead = _as_argument(name, value, self.params, command)
            return f"{begins}, which belongs to {owners}; {instead or taken}"
        near = nearest(f"--{name}", own)
        return f"{begins}; " + (f"did you mean {near}?" if near else taken)


_NO_NUMBER = re.compile(r"\bvalid (integer|number|float)")
"""The parser's words for a value that is no number, in all its versions."""


def _no_number(error: Any, words: list[str]) -> str | None:
    """Return a sentence on a value that is no number, and how that number is written; None for another problem."""
    match = _NO_NUMBER.search(str(getattr(error, "message", "")))
    if match is None:
        return None
    from bnexp.config.wording import brief, number_meant

    is_whole = match[1] == "integer"
    option, value = _taken(error.param.opts, words)
    hint = number_meant(value, (), "int" if is_whole else "float")
    hint = "" if "quotes" in hint else hint  # whole numbers were expected, or the shell took them
    return f'{option}: expected a {"whole " * is_whole}number, found "{brief(value)}"{hint}'


def _taken(options: Sequence[str], words: Sequence[str]) -> tuple[str, str]:
    """Return which of an option's names was typed, and its value: the word behind it, even if that is an option."""
    for at, typed in enumerate(words):
        word, equals, value = typed.partition("=")
        if word in options:
            return word, value if equals else next(iter(words[at + 1 :]), "")
    return options[0], ""


_TOO_SMALL = re.compile(r"(?:greater than or equal to |x\s*>=\s*)(\d+)")
"""The parser's words for a number below the least, in all its versions."""


def _too_small(error: Any, words: list[str]) -> str | None:
    """Return a sentence on a whole number below the least; None for another problem."""
    match = _TOO_SMALL.search(str(getattr(error, "message", "")))
    if match is None:
        return None
    option, value = _taken(error.param.opts, words)
    return f'{option}: expected a whole number from {match[1]} on, found "{value}"'


def _with_home(match: re.Match[str]) -> str:
    return match[1] + os.path.expanduser(match[2])


def _no_choice(error: Any, words: list[str]) -> str | None:
    """Return a sentence on a value that is no choice, with the choices and the nearest; None for another problem."""
    known = re.findall(r"'([^']*)'", str(getattr(error, "message", "")).partition(" is not one of ")[2])
    if not known:
        return None
    option, value, _ = _as_typed(error.param.opts[0], words)
    near = {"md": "markdown", "text": "table", "tsv": "csv"}.get(value.lower()) or nearest(value, known)
    near = None if "," in value else near
    return f'{option}: expected {", ".join(known)}, found "{value}"' + (f"; did you mean {near}?" if near else "")


def refuse_to_repeat(command: str | None, environment: Mapping[str, str]) -> None:
    """Refuse to be one of several processes that would each do all of a command but `train` and `resume`.

    Raises:
        ConfigError: with the line to type.
    """
    count = environment.get("WORLD_SIZE", "")
    several = count.isdecimal() and int(count) > 1 and "RANK" in environment
    if several and command not in (None, "train", "resume"):
        raise ConfigError(
            f"bnexp {command}: several processes (WORLD_SIZE={count}) would each do all of it; train and resume alone "
            f"divide a run. Expected it without torchrun: bnexp {command} ..."
        )


def _words_of(ctx: Any) -> str:
    """Return the command behind `bnexp`, such as `data verify`."""
    words = []
    while ctx.parent is not None:
        words.append(str(ctx.info_name))
        ctx = ctx.parent
    return " ".join(reversed(words))


def _as_typed(option: str, words: list[str]) -> tuple[str, str, list[str]]:
    """Return an unknown option as it was typed, its value and all values behind it, up to the next option.

    The parser reads `-lr` as `-l -r`, and knows nothing of the value of an option that it does not know.
    """
    for at, typed in enumerate(words):
        word, equals, value = typed.partition("=")
        if word == option or (not option.startswith("--") and typed.startswith("-") and option[1:] in typed):
            behind = [value] if equals else list(_values_behind(words[at + 1 :]))
            return word, behind[0] if behind else "", behind
    return option, "", []


def _values_behind(words: Sequence[str]) -> Iterator[str]:
    """Yield the words up to the next option; a file is an argument of its own, and no value."""
    for word in words:
        if (word.startswith("-") and not word[1:2].isdigit()) or os.path.exists(word):
            return
        yield word


def _set_line(name: str, value: str, values: list[str]) -> str | None:
    """Return the --set that an option of another tool stands for, such as `--set optimizer.lr=0.1`."""
    from bnexp.config.keys import key_called, takes_only

    if name in _FLAGS:
        return f"--set {_FLAGS[name]}"
    key = key_called(name)
    if key is None:
        return None
    if takes_only(key, tuple) and values and not value.startswith("["):
        value = f"[{', '.join(part for word in values for part in word.replace(',', ' ').split())}]"
    if not value and takes_only(key, bool):
        value = "true"
    return f"--set {shlex.quote(f'{key}={value}')}" if value else f"--set {key}=VALUE"


def _commands_with(option: str, ctx: Any) -> str:
    """Return the commands of bnexp that have an option, in words."""
    group = ctx.find_root().command
    return ", ".join(
        name
        for name, command in getattr(group, "commands", {}).items()
        if any(option in param.opts for param in command.params)
    )


def _as_argument(name: str, value: str, params: Sequence[Any], command: str) -> str | None:
    """Return the command with the runs as its argument, where that is what it takes in place of --runs-dir."""
    takes_folder = any(param.param_type_name == "argument" and param.name == "folder" for param in params)
    return f"type: bnexp {command} {shlex.quote(value or 'FOLDER')}" if name == "runs-dir" and takes_folder else None


class PanelGroup(TyperGroup):
    """List the commands by panel in --help; Typer does so only with rich, which takes too long to load."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, of which most are read without pydantic."""
        return read_plainly(super().get_params(ctx))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section per panel: each command with its short help."""
        width = formatter.width - 6 - max(map(len, self.commands))
        for panel in PANELS:
            shown = [
                (name, command.get_short_help_str(width))
                for name, command in self.commands.items()
                if getattr(command, "rich_help_panel", None) == panel
            ]
            with formatter.section(panel):
                formatter.write_dl(shown)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words before and with the command.

        Raises:
            ConfigError: an option that belongs behind a command, or a file in the place of one.
        """
        words = list(args)
        first = next((word for word in words if not word.startswith("-")), "")
        commands = [word for word in words if word in self.commands]
        if not ctx.resilient_parsing and words and words[0].startswith("-") and commands:
            command = commands[0]
            at = words.index(command)
            if words[0].partition("=")[0] in {opt for param in self.commands[command].params for opt in param.opts}:
                behind = shlex.join([command, *words[at + 1 :], *words[:at]])
                raise ConfigError(f"{words[0]} stands before the command; expected it behind: bnexp {behind}")
        if words and words[0] == first and first not in self.commands:
            kind = "file" if first.endswith(ENDINGS) else "config" if first in packaged_configs() else None
            if kind:
                raise ConfigError(
                    f"{first}: a {kind}, and no command; expected bnexp train {shlex.join(words)}, or check"
                )
        return list(super().parse_args(ctx, args))


class HonestTyper(typer.Typer):
    """A Typer whose commands are all `HonestCommand`."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Command], Command]:
        """Return the decorator of a command; see `typer.Typer.command`."""
        return super().command(name, **{"cls": HonestCommand, **settings})
