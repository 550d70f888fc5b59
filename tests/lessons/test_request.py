"""What can be asked of a lesson, and what a person is told who asks for something else."""

import re
from pathlib import Path

import pytest

from bnexp.config.items import NORM_NAMES
from bnexp.errors import ConfigError
from bnexp.lessons.request import LessonOptions, request_of
from bnexp.lessons.topics import TOPICS, topic_named


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (LessonOptions(example="001"), "expected 000 or 002"),
        (LessonOptions(example="000", input=Path("own.csv")), "choose one of them"),
        (LessonOptions(gamma="1,2"), "--gamma: expected 4 numbers.*feature of the built-in matrix; found 2"),
        (LessonOptions(gamma="1,2,3,4,5"), "found 5"),
        (LessonOptions(beta="1"), "--beta: expected 4 numbers.*found 1"),
        (LessonOptions(gamma="1,2,x,4"), 'found "x"'),
        (LessonOptions(gamma="1,2,,4"), 'found ""'),
        (LessonOptions(gamma="1_0,2,3,4"), 'found "1_0"'),
        (LessonOptions(gamma="1e101,2,3,4"), "--gamma: expected numbers of at most"),
        (LessonOptions(example=""), 'expected 000 or 002, found ""'),
        (LessonOptions(momentum=1.0000001), "at most 1, found 1.0000001"),
        (LessonOptions(gamma="1,2,nan,4"), 'finite numbers.*found "nan"'),
        (LessonOptions(eps=0), r"--eps: expected a number from 1e-60 to 1e\+60, found 0"),
        (LessonOptions(eps=float("nan")), "--eps: expected a number from 1e-60.*found nan"),
        (LessonOptions(eps=float("inf")), "--eps.*found inf"),
        (LessonOptions(momentum=0), "--momentum: expected a number above 0, at most 1, found 0"),
        (LessonOptions(momentum=1.5), "--momentum.*found 1.5"),
        (LessonOptions(seed=1), "--seed: the lesson batchnorm does not take it"),
    ],
)
def test_what_cannot_be_asked_is_answered(words: LessonOptions, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        request_of("batchnorm", words)


@pytest.mark.parametrize("seed", [-1, 2**31, 2**70])
def test_seeds_are_those_of_a_config(seed: int) -> None:
    with pytest.raises(ConfigError, match="--seed: expected a whole number of at least 0, below 2,147,483,648"):
        request_of("whitening", LessonOptions(seed=seed))
    assert request_of("whitening", LessonOptions(seed=2**31 - 1)).seed == 2**31 - 1


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("bacthnorm", 'Did you mean "batchnorm"?'),
        ("tahn", 'Did you mean "tanh", of the lesson saturation?'),
        ("lyaer norm", 'Did you mean "layernorm"?'),
        ("bm", 'Did you mean "bn", of the lesson batchnorm?'),
        *((name, "`bnexp catalog` has a line on it.") for name in ("frn", "EvoNorm-B0", "gelu")),
        ("foo", "Lessons: batchnorm, "),
    ],
)
def test_a_name_of_no_lesson_is_answered_with_the_nearest_one_or_with_where_else_it_stands(
    word: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(f'no lesson "{word}". {said}')):
        topic_named(word)


@pytest.mark.parametrize(
    ("word", "topic"),
    [
        *(("bn", "batchnorm"), ("ln", "layernorm"), ("gn", "groupnorm"), ("in", "instancenorm"), ("rms", "rmsnorm")),
        *(
            ("tanh", "saturation"),
            ("sigmoid", "saturation"),
            ("BatchNorm2d", "batchnorm"),
            ("layer norm", "layernorm"),
            ("LAYER_NORM", "layernorm"),
        ),
        *(("zca", "whitening"), ("ICS", "shift")),
        *(("batch size", "coupling"), ("eval", "training-vs-inference")),
    ],
)
def test_norms_and_words_of_the_field_name_their_lessons(word: str, topic: str) -> None:
    assert topic_named(word) == topic


def test_every_name_is_of_one_lesson_alone() -> None:
    spelled = [re.sub(r"[-_ ]", "", name) for topic, one in TOPICS.items() for name in (topic, *one.names)]
    assert len(spelled) == len(set(spelled))
    norms = {name for one in TOPICS.values() for name in one.names if "_" in name or len(name) == 2} - {"he"}
    assert norms <= set(NORM_NAMES)


def test_gamma_and_beta_of_ones_own_file_begin_at_1_and_0(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    batch = request_of("batchnorm", LessonOptions(input=path)).batch
    assert (list(batch.gamma), list(batch.beta)) == ([1, 1], [0, 0])
    assert batch.source == f"{path} (line 1 names the columns)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,5;1;0,5;2", (1.5, 1, 0.5, 2)),
        ("1.5;1;.5;2", (1.5, 1, 0.5, 2)),
        ("1.5 1 0.5 2", (1.5, 1, 0.5, 2)),
        ("1.5, 1, 0.5, 2", (1.5, 1, 0.5, 2)),
    ],
)
def test_gamma_may_be_written_as_in_other_places(text: str, expected: tuple[float, ...]) -> None:
    assert request_of("batchnorm", LessonOptions(gamma=text)).batch.gamma == expected


def test_twice_as_many_numbers_may_be_decimal_commas() -> None:
    with pytest.raises(ConfigError, match="found 8; decimal commas"):
        request_of("batchnorm", LessonOptions(gamma="1,5,1,0,0,5,2,0"))
