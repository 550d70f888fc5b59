"""Formulas as mathematics: what stands above, below and beside what, and that words stay words."""

import re
from xml.etree import ElementTree

import pytest

from bnexp.document.mathml import formula_lines, to_mathml


def shape(formula: str, *, display: bool = True) -> str:
    """Return a formula as nested calls, `frac(x,sqrt(y))`, without rows, spaces and what is not seen."""

    def written(node: ElementTree.Element) -> str:
        name, inner = node.tag.removeprefix("m"), [written(child) for child in node]
        if name in ("i", "n", "o", "text"):
            return (node.text or "").replace("\u2061", "")
        if name in ("row", "ath"):
            return "".join(inner)
        return "" if name == "space" else f"{name}({','.join(inner)})"

    return written(ElementTree.fromstring(f"<mrow>{to_mathml(formula, display=display)}</mrow>")).replace(" ", "")


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("x_hat = (x - mean) / sqrt(var + eps)", "over(x,^)=frac(x−mean,sqrt(var+ε))"),
        ("var = 1/B sum_b (x[b] - mean)^2", "var=frac(1,B)sub(∑,b)sup((sub(x,b)−mean),2)"),
        ("gamma x / sqrt(v) + beta", "frac(γx,sqrt(v))+β"),  # all factors are divided
        ("d x = gamma / sqrt(v) (dy - mean_b(dy))", "dx=frac(γ,sqrt(v))(dy−sub(mean,b)(dy))"),  # by one factor
        ("half = ln 2 / -ln(1 - m)", "half=frac(ln2,−ln(1−m))"),
        ("1/|S| sum_S x", "frac(1,|S|)sub(∑,S)x"),
        ("(1 - momentum) running_mean", "(1−momentum)sub(mean,running)"),
        ("W' = U diag(1 / sqrt(v)) U^T", "sup(W,′)=Udiag(frac(1,sqrt(v)))sup(U,T)"),
        ("x[:, f]^2", "sup(sub(x,:,f),2)"),
        ("eps = 1e-05", "ε=sup(10,−5)"),
        ("(1 - 0.1 x 0.01)^k", "sup((1−0.1×0.01),k)"),
        ("w1 x1 <- -y", "sub(w,1)sub(x,1)←−y"),
        ("5/3 - 2.5e3", "frac(5,3)−2.5×sup(10,3)"),
    ],
)
def test_a_formula_is_set_as_it_is_meant(formula: str, expected: str) -> None:
    assert shape(formula) == expected
    assert f'alttext="{formula}"' in to_mathml(formula).replace("&#x27;", "'").replace("&lt;", "<")


def test_a_long_formula_may_go_on_in_another_line_and_a_fraction_may_not() -> None:
    for typed, terms in (
        ("(1 - momentum) running_mean + momentum mean", ["(1 - momentum) running_mean", "+ momentum mean"]),
        ("y = -gamma x_hat - mean_of(a - b + c) + beta", ["y = -gamma x_hat", "- mean_of(a - b + c)", "+ beta"]),
        ("d x = gamma / sqrt(var + eps) (dy - mean_b(dy))", ["d x = gamma / sqrt(var + eps)", "(dy - mean_b(dy))"]),
        ("y = gamma (x - mean_b(x)) / sqrt(var + eps)", ["y = gamma (x - mean_b(x)) / sqrt(var + eps)"]),
    ):
        assert re.findall('alttext="(.*?)"', to_mathml(typed, display=True)) == terms
        assert re.findall('alttext="(.*?)"', to_mathml(typed)) == [typed]


def test_within_a_line_of_text_a_division_keeps_its_slash_and_its_parentheses() -> None:
    assert shape("sqrt((B - 1) / B)", display=False) == "sqrt((B−1)/B)"


@pytest.mark.parametrize("text", ["(x", "x)", "| x", "/ 2", "x / ", "x = #", "x[1", ""])
def test_what_is_no_formula_stays_the_text_that_it_was(text: str) -> None:
    assert to_mathml(text) == text


def test_words_beside_a_formula_stay_words_and_code_stays_code() -> None:
    lines = ["half-life = ln 2, in <batches>", "running average", "y =", "  x", "X.var(dim=0)", "a (indices from 0)"]
    words = [re.sub(r"<math.*?</math>", "#", line) for line in formula_lines(lines)]
    code = "<code>X.var(dim=0)</code>"
    assert words == ["half-life #, in &lt;batches&gt;", "# average", "#", code, "a (indices from 0)"]
