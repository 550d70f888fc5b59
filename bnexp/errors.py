"""Errors that a person can mend are a `BnexpError`; every other exception is a bug in bnexp.

Exit codes: 0 done, 1 the work failed, 2 the config or the command line is wrong, 130 interrupted by Ctrl-C and
143 by SIGTERM, 138 and 140 by SIGUSR1 and SIGUSR2.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import PurePath

_ENDING = re.compile(r"(?<=.)\.[A-Za-z]\w+$")


class BnexpError(Exception):
    """The work failed. The message says what was found, where, what was expected and how to mend it.

    It quotes keys, values and file names that anybody may have written; what a terminal would act on is escaped.
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(visible_lines(message))


class Interrupted(BnexpError):
    """A person or the system stopped the work; what was written until then is whole."""

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ConfigError(BnexpError):
    """The config or the command line is wrong; nothing was started and nothing was written."""

    exit_code = 2


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word nearest to `word`, or None when none is near."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    # One wrong letter in two, such as bm for bn, is as near as a short name gets.
    near = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.5 if len(word) <= 2 else 0.65)
    return by_lower[near[0]] if near else None


def nearest_path(path: str, known: Iterable[str]) -> str | None:
    """Return the known path nearest to `path`, part by part, or None; folders and endings that both have do not count.

    `/data/a.npz` is not near `/data/b.npz`.
    """
    parts = PurePath(path).parts
    near = [other for other in known if _all_near(parts, PurePath(other).parts)]
    return nearest(path, near) or next(iter(near), None)


def _all_near(parts: Sequence[str], others: Sequence[str]) -> bool:
    stems = ((_ENDING.sub("", part), _ENDING.sub("", other)) for part, other in zip(parts, others, strict=False))
    return len(parts) == len(others) and all(part == other or nearest(part, [other]) for part, other in stems)


def did_you_mean(word: str, known: Iterable[str], nearest: Callable[[str, Iterable[str]], str | None] = nearest) -> str:
    """Return ` Did you mean "x"?` for the known word nearest to `word`, or an empty string when none is near."""
    near = nearest(word, known)
    return f' Did you mean "{near}"?' if near else ""


def visible(text: str) -> str:
    """Return text in one line that cannot steer a terminal: what does not print is written as its escape.

    That is every control character, and every mark that turns the direction of writing.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def visible_lines(text: str) -> str:
    """Return text that cannot steer a terminal, as `visible`, in the lines that it has."""
    return "\n".join(map(visible, text.split("\n")))
