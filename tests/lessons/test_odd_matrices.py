"""What the lessons say of matrices that are not what one teaches on: each sentence must hold of them as well."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bnexp.document.exports import to_json
from bnexp.document.terminal import to_text
from bnexp.document.values import Lesson
from bnexp.lessons.registry import LESSONS
from bnexp.lessons.request import LessonOptions, request_of

ODD = {
    "constant, and not exact in binary": "0.1,0.1\n0.1,0.1\n0.1,0.1\n",
    "a constant column": "0.1,1,5\n0.1,2,4\n0.1,4,9\n",
    "two examples alike": "1,2\n1,2\n",
    "two examples": "0.001,2\n0.002,5\n",
    "squares underflow": "1e-300,2e-300\n3e-300,1e-300\n5e-300,7e-300\n",
    "tiny": "1e-8,2e-8,4e-8\n3e-8,1e-8,1e-8\n",
    "as large as may be": "1e150,-1e150\n-1e150,1e150\n",
    "far from 0 for what they vary by": "1e8,1.00000001e8,1e8\n1.00000002e8,1e8,1e8\n",
    "scales apart": "1e-6,1,1e6\n2e-6,3,5e6\n4e-6,2,2e6\n",
    "zeros": "0,0,0\n0,0,0\n",
    "mean 0 in each row": "1,-1,0\n2,0,-2\n-1,0,1\n",
    "the same rows in other order": "1,2,9\n9,1,2\n2,9,1\n",
}
TOPICS = ("batchnorm", "layernorm", "rmsnorm", "groupnorm")
Teach = Callable[..., Lesson]


@pytest.fixture
def teach(tmp_path: Path) -> Teach:
    """Return what teaches a topic on the text of a CSV file."""

    def on(topic: str, text: str, **words: object) -> Lesson:
        path = tmp_path / "odd.csv"
        path.write_text(text)
        return LESSONS[topic](request_of(topic, LessonOptions(input=path, **words)))  # type: ignore[arg-type]

    return on


def prose(lesson: Lesson) -> str:
    return " ".join(to_text(lesson).split())


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("eps", [1e-60, 1e-5, 1e9])
def test_every_number_of_an_odd_matrix_is_finite(teach: Teach, topic: str, kind: str, eps: float) -> None:
    width = len(ODD[kind].splitlines()[0].split(","))
    lesson = teach(topic, ODD[kind], eps=eps, gamma=",".join(["1e100"] * width))
    assert "null" not in json.dumps(json.loads(to_json(lesson))["numbers"])
    assert not re.search(r"\b(nan|inf)\b", to_text(lesson))


def test_a_column_that_rounding_lets_vary_is_called_constant(teach: Teach) -> None:
    text = prose(teach("batchnorm", ODD["a constant column"]))
    assert "Without any variance: x1." in text
    assert "Without any variance" not in prose(teach("batchnorm", ODD["squares underflow"]))
    assert "All features alike: example 1, example 2" in prose(
        teach("layernorm", ODD["two examples alike"].replace("2", "1"))
    )
    assert "All features alike" not in prose(teach("layernorm", ODD["squares underflow"]))


@pytest.mark.parametrize("kind", ["two examples alike", "two examples", "tiny"])
def test_of_two_examples_nothing_is_left_only_where_eps_is_small(teach: Teach, kind: str) -> None:
    said = "what is left is due to eps"
    assert said not in prose(teach("batchnorm", ODD[kind]))
    assert said in prose(teach("batchnorm", "a,b\n1,20\n2,50\n"))


def test_where_eps_is_not_small_it_is_said(teach: Teach) -> None:
    small = "almost 1, but never quite"
    for topic in ("batchnorm", "layernorm"):
        assert small in prose(teach(topic, "1,20,3\n2,50,9\n7,3,5\n"))
        assert small not in prose(teach(topic, ODD["tiny"]))
        assert "eps is not small" in prose(teach(topic, ODD["tiny"]))
        assert small not in prose(teach(topic, "1,20,3\n2,50,9\n7,3,5\n", eps=10.0))
    assert "would be forgotten, were eps small" in prose(teach("layernorm", ODD["tiny"]))
    assert "were eps small" in prose(teach("rmsnorm", ODD["tiny"]))
    assert "not large beside eps" in prose(teach("groupnorm", "1,2,3,4\n5,6,7,9\n", eps=1e9))


def test_rows_that_eps_pressed_together_are_not_called_alike_but_for_mean_and_scale(teach: Teach) -> None:
    said = "only in their mean and in their scale"
    assert said in prose(teach("layernorm", "1,2,4\n10,20,40\n"))
    assert said not in prose(teach("layernorm", ODD["the same rows in other order"], eps=1e9))


def test_a_feature_stays_large_only_where_one_is(teach: Teach) -> None:
    said = "above the mean in every example stays above it"
    assert f"{said}: x3" in prose(teach("layernorm", "1,2,9\n3,1,7\n2,0,4\n"))
    assert said not in prose(teach("layernorm", ODD["the same rows in other order"]))
    assert said not in prose(teach("layernorm", ODD["zeros"]))


def test_what_layer_norm_forgets_is_said_to_be_kept_only_where_it_is(teach: Teach) -> None:
    said = "What layer normalization forgets is kept"
    assert said in prose(teach("rmsnorm", "1,2,3\n5,6,7\n"))
    assert said not in prose(teach("rmsnorm", ODD["mean 0 in each row"]))
    assert said not in prose(teach("rmsnorm", ODD["zeros"]))
    assert "next to nothing of it" in prose(teach("rmsnorm", ODD["mean 0 in each row"]))


def test_without_gamma_no_gradient_is_claimed(teach: Teach) -> None:
    text = "1,2\n3,7\n4,4\n"
    assert "no gradient reaches x" in prose(teach("batchnorm", text, gamma="0,0"))
    assert "nothing reaches x" in prose(teach("layernorm", text, gamma="0,1"))
