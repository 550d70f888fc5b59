"""Sets formulas as mathematics, in MathML: the lessons write them as they are typed, `x_hat = (x - mean) / sqrt(var)`.

A name and what follows it in brackets are a variable and its index, `sum_b` is a sum over b, `x_hat` has a hat. A slash
between spaces divides all factors before it, one without spaces only the last; both divide by one factor.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_TOKEN = re.compile(
    r"(?P<space>\s*)(?P<token>\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?(?:e[+-]?\d+)?|[A-Za-z]+(?:-[a-z]+)+|[A-Za-z]\w*'?|<-|->|\S)"
)
_CODE = re.compile(r"\w\.\w+\(")
"""A call of a method is code."""
_GREEK = {"gamma": "γ", "beta": "β", "eps": "ε", "sigma": "σ", "pi": "π"}
_FUNCTIONS = {"sqrt", "ln", "log", "diag", "tanh", "sigmoid", "erf", "relu"}
_NAMES = {"mean", "var", "ms", "momentum", "running", "new", "factor", "sum", "mod", *_FUNCTIONS, *_GREEK}
_OPERATORS = {"+": "+", "-": "−", "=": "=", "<-": "←", "->": "→", ",": ",", ":": ":", "mod": "mod"}
_WORDS = ("running", "in")
"""Indices that are words."""
_SIGNS = ("+", "-", "mod")
_LONG = 32
"""Letters of a formula whose terms may stand in several lines."""
_ARTICLES = ("a", "A", "I")
_SPACE = '<mspace width="0.2em"/>'


class _NoFormula(Exception):
    """A piece of text is no formula."""


@dataclass(frozen=True)
class _Token:
    text: str
    spaced: bool  # behind a space


@dataclass(frozen=True)
class _Node:
    xml: str
    inner: str = ""  # without the parentheses around it
    tight: bool = False  # stands at what follows, as the d of dx


def to_mathml(formula: str, *, display: bool = False) -> str:
    """Return a formula as `<math>`, whose `alttext` is the formula as it was typed; no formula is returned as text.

    With `display`, a division is a fraction, one above the other, and of a long formula each term, and a bracket at its
    end, is a `<math>` of its own, so that a line may end between them; within a line of text it keeps its slash.
    """
    tokens = _tokens(formula)
    try:
        rows = _Parser(tokens, display).whole(apart=display and len(formula) > _LONG)
    except _NoFormula:
        return escape(formula)
    style = ' displaystyle="true"' if display else ""
    ends = [*(start for start, _ in rows[1:]), len(tokens)]
    texts = [
        "".join(" " * token.spaced + token.text for token in tokens[start:end]).strip()
        for (start, _), end in zip(rows, ends, strict=True)
    ]
    return " ".join(
        f'<math{style} alttext="{escape(text)}"><mrow>{row}</mrow></math>'
        for text, (_, row) in zip(texts, rows, strict=True)
    )


def formula_lines(lines: Sequence[str]) -> list[str]:
    """Return the lines beside a table as HTML, mathematics as such, words as words and code as code.

    A line that begins with a space goes on where the one above it ended.
    """
    whole: list[str] = []
    for line in lines:
        if line.startswith(" ") and whole:
            whole[-1] += f" {line.strip()}"
        else:
            whole.append(line)
    return [f"<code>{escape(line)}</code>" if _CODE.search(line) else _mixed(line) for line in whole]


def _tokens(text: str) -> list[_Token]:
    return [_Token(found["token"], bool(found["space"])) for found in _TOKEN.finditer(text)]


def _mixed(line: str) -> str:
    """Return a line of words and formulas; what has a name that no formula has is words."""
    pieces = [""]
    for found in _TOKEN.finditer(line):
        is_word = _is_word(found["token"])
        if is_word == (len(pieces) % 2 == 1):  # formulas have the even places, words the odd ones
            pieces.append("")
        pieces[-1] += found[0]
    return "".join(escape(piece) if number % 2 else _formula_in(piece) for number, piece in enumerate(pieces))


def _formula_in(piece: str) -> str:
    """Return a formula between words, whose spaces and marks at its ends are those of the sentence."""
    found = re.fullmatch(r"([\s,:]*)(.*?)([\s,:(]*)", piece)
    before, formula, after = found.groups() if found else ("", piece, "")
    return f"{escape(before)}{to_mathml(formula, display=True) if formula else ''}{escape(after)}"


def _is_word(token: str) -> bool:
    name = token.rstrip("'")
    if not name[0].isalpha() or token in _ARTICLES:
        return token in _ARTICLES
    return not (len(name) == 1 or "_" in name or name in _NAMES or re.fullmatch(r"d[a-z]", name))


class _Parser:
    """Reads tokens from the left to the right, one kind of expression a method."""

    def __init__(self, tokens: Sequence[_Token], display: bool) -> None:
        self._tokens, self._at, self._display = tokens, 0, display

    def whole(self, *, apart: bool) -> list[tuple[int, str]]:
        """Return the row that all tokens make, or `apart` the rows of its terms, each with its first token."""
        rows = [(0, self._row(single=apart))]
        while apart and self._at < len(self._tokens) and self._tokens[self._at].text in (*_SIGNS, "("):
            rows.append((self._at, self._row(single=True)))
        if self._at < len(self._tokens) or not self._tokens:
            raise _NoFormula
        return rows

    def _peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self, expected: str = "") -> _Token:
        token = self._peek()
        if token is None or (expected and token.text != expected):
            raise _NoFormula
        self._at += 1
        return token

    def _row(self, *, single: bool = False) -> str:
        """Read terms and the operators between them, up to a closing bracket or the end; if `single`, one term."""
        done, factors = "", list[_Node]()
        while (token := self._peek()) and token.text not in (")", "]", "|"):
            if token.text == "x" and self._between_numbers():
                factors.append(_Node("<mo>×</mo>", tight=bool(self._take())))
            elif single and factors and (token.text in _SIGNS or self._last_bracket()):
                break
            elif token.text in _OPERATORS:
                form = ' form="infix"' if factors or (self._at and single) else ""
                done += _product(factors) + f"<mo{form}>{escape(_OPERATORS[self._take().text])}</mo>"
                factors = []
            elif token.text == "/":
                factors = self._divided(factors)
            else:
                factors.append(self._factor())
        if token and token.text == "|" and not factors and not done:
            raise _NoFormula
        return done + _product(factors)

    def _last_bracket(self) -> bool:
        """Tell whether a bracket begins here, behind a space, that is the last factor of the formula."""
        depth, opened = 0, self._tokens[self._at]
        for number, token in enumerate(self._tokens[self._at :], start=self._at):
            depth += (token.text == "(") - (token.text == ")")
            if depth == 0:
                return opened.text == "(" and opened.spaced and number == len(self._tokens) - 1
        return False

    def _between_numbers(self) -> bool:
        around = [self._tokens[at].text[0] for at in (self._at - 1, self._at + 1) if 0 <= at < len(self._tokens)]
        return len(around) == 2 and all(map(str.isdigit, around))

    def _divided(self, factors: list[_Node]) -> list[_Node]:
        spaced = self._take("/").spaced
        above = factors if spaced else factors[-1:]
        sign = "<mo>−</mo>" if (token := self._peek()) and token.text == "-" and self._take() else ""
        below = self._factor()
        if not above:
            raise _NoFormula
        if not self._display:
            return [*factors, _Node("<mo>/</mo>", tight=True), _Node(sign + below.xml)]
        numerator = above[0].inner if len(above) == 1 and above[0].inner else _product(above)
        fraction = f"<mfrac><mrow>{numerator}</mrow><mrow>{sign}{below.inner or below.xml}</mrow></mfrac>"
        return [*factors[: len(factors) - len(above)], _Node(fraction)]

    def _factor(self) -> _Node:
        """Read a number, a name or a bracket, with its index and its exponent."""
        node = self._atom()
        while (token := self._peek()) and not token.spaced and token.text in ("[", "^"):
            self._take()
            if token.text == "[":
                index = self._row()
                self._take("]")
                node = _Node(f"<msub>{_one(node.xml)}<mrow>{index}</mrow></msub>")
            else:
                above = self._atom()
                node = _Node(f"<msup>{_one(node.xml)}{_one(above.inner or above.xml)}</msup>")
        return node

    def _atom(self) -> _Node:
        token = self._take()
        text = token.text
        if text == "(":
            inner = self._row()
            self._take(")")
            high = "" if "<mfrac>" in inner else ' stretchy="false"'
            return _Node(f"<mrow><mo{high}>(</mo>{inner}<mo{high}>)</mo></mrow>", inner)
        if text == "|":
            inner = self._row()
            self._take("|")
            return _Node(f'<mrow><mo stretchy="true">|</mo>{inner}<mo stretchy="true">|</mo></mrow>')
        if text[0].isdigit():
            return _Node(_number(text))
        if text[0].isalpha():
            return self._named(text)
        raise _NoFormula

    def _named(self, name: str) -> _Node:
        """Return a name, and where a bracket follows at once, the function of what is in it."""
        after = self._peek()
        called = after is not None and after.text == "(" and not after.spaced
        if name == "sqrt" and called:
            return _Node(f"<msqrt><mrow>{self._atom().inner}</mrow></msqrt>")
        if name == "d" and after is not None and (called or after.text[0].isalpha()):
            return _Node("<mi>d</mi>", tight=True)
        if called:
            return _Node(f"<mrow>{_name(name)}<mo>&#x2061;</mo>{self._atom().xml}</mrow>")
        return _Node(_name(name))


def _product(factors: Sequence[_Node]) -> str:
    """Return factors beside each other, a little apart."""
    pieces = ""
    for number, factor in enumerate(factors):
        alone = number == 0 or factors[number - 1].tight or (factor.tight and factor.xml.startswith("<mo>"))
        pieces += ("" if alone else _SPACE) + factor.xml
    return pieces


def _one(xml: str) -> str:
    """Return something that counts as one element."""
    return f"<mrow>{xml}</mrow>"


def _number(text: str) -> str:
    digits, _, exponent = text.partition("e")
    if not exponent:
        return f"<mn>{text}</mn>"
    power = int(exponent)
    sign = "<mo>−</mo>" if power < 0 else ""
    times = "" if float(digits) == 1 else f"<mn>{digits}</mn><mo>×</mo>"
    return f"<mrow>{times}<msup><mn>10</mn><mrow>{sign}<mn>{abs(power)}</mn></mrow></msup></mrow>"


def _name(name: str) -> str:
    """Return a variable: `x_hat`, `running_mean`, `sum_b`, `mean_hw`, `W'`, `gamma`."""
    if name.endswith("'"):
        return f"<msup>{_one(_name(name[:-1]))}<mo>′</mo></msup>"
    base, _, index = name.partition("_")
    if index == "hat":
        return f'<mover accent="true">{_one(_name(base))}<mo>^</mo></mover>'
    if base == "running" and index:
        base, index = index, base
    if re.fullmatch(r"[a-z]\d", base):
        return f"<msub><mi>{base[0]}</mi><mn>{base[1]}</mn></msub>"
    if index:
        letters = f"<mtext>{index}</mtext>" if index in _WORDS else "".join(f"<mi>{one}</mi>" for one in index)
        return f"<msub>{_one(_name(base))}<mrow>{letters}</mrow></msub>"
    if base == "sum":
        return '<mo rspace="0.1em">∑</mo>'
    if re.fullmatch(r"d[a-z]", base):
        return f"<mrow><mi>d</mi><mi>{base[1]}</mi></mrow>"
    return f"<mi>{escape(_GREEK.get(base, base))}</mi>"
