"""What a person can mend is said by a `BnexpError`; every other exception is a bug in bnexp.

Exit codes: 0 done, 1 the work failed, 2 the config or the command line is wrong, 130 interrupted.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class BnexpError(Exception):
    """The work failed. The message says what was found, where, what was expected and how to mend it.

    A message quotes keys, values and file names that anybody may have written; what a terminal would act on is escaped.
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__("\n".join(escaped(line) for line in message.split("\n")))


class Interrupted(BnexpError):
    """The person stopped the work; what was written until then is whole."""

    exit_code = 130


class ConfigError(BnexpError):
    """The config or the command line is wrong; nothing was started and nothing was written."""

    exit_code = 2


def escaped(text: str) -> str:
    r"""Return text with every letter that cannot be seen, a line break among them, as its escape, such as \x1b."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word nearest to `word`, or None when none is near."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    # One wrong letter in two, such as bm for bn, is as near as a short name gets.
    near = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.5 if len(word) <= 2 else 0.6)
    return by_lower[near[0]] if near else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean "x"?` for the known word nearest to `word`, or an empty string when none is near."""
    near = nearest(word, known)
    return f' Did you mean "{near}"?' if near else ""
