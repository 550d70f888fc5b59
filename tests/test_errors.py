import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnexp.errors import (
    BnexpError,
    ConfigError,
    Interrupted,
    did_you_mean,
    nearest,
    nearest_path,
    visible,
    visible_lines,
)

KNOWN = ["bn", "ln", "relu", "leaky_relu", "dropout", "batch_size"]


def test_exit_codes_tell_a_wrong_config_from_failed_work():
    assert BnexpError("x").exit_code == 1
    assert ConfigError("x").exit_code == 2
    assert Interrupted("x").exit_code == 130
    assert issubclass(ConfigError, BnexpError)
    assert issubclass(Interrupted, BnexpError)


@pytest.mark.parametrize(
    ("word", "expected"),
    [("relo", "relu"), ("RELU", "relu"), ("bm", "bn"), ("batchsize", "batch_size"), ("Dropuot", "dropout")],
)
def test_a_slip_is_answered_with_the_word_that_was_meant(word, expected):
    assert nearest(word, KNOWN) == expected
    assert did_you_mean(word, KNOWN) == f' Did you mean "{expected}"?'


@pytest.mark.parametrize("word", ["transformer", "", "x"])
def test_a_word_near_nothing_gets_no_hint(word):
    assert nearest(word, KNOWN) is None
    assert did_you_mean(word, KNOWN) == ""


@pytest.mark.parametrize(
    ("path", "known", "expected"),
    [
        ("/proc/x", ["/proc/8", "/proc/fs"], None),
        ("foo/seed0", ["bar/seed0", "bar"], None),
        ("demo/bm/seed0", ["demo/none/seed0", "demo/bn/seed0"], "demo/bn/seed0"),
        ("a.yml", ["b.yaml", "nofile.yaml"], None),
        ("digits.np", ["numbers.npz", "digits.npz"], "digits.npz"),
        ("nofile.yaml", ["none", "none.yaml"], None),
    ],
)
def test_a_path_is_near_another_where_each_part_is(path, known, expected):
    assert nearest_path(path, known) == expected


@given(st.sampled_from(KNOWN), st.data())
def test_the_hint_is_always_a_known_word(word, data):
    slip = data.draw(st.integers(0, len(word) - 1))
    assert nearest(word[:slip] + word[slip + 1 :], KNOWN) in {*KNOWN, None}
    assert nearest(word, KNOWN) == word


STEERING = {
    "a color": "\x1b[31mred",
    "a title": "\x1b]0;owned\x07",
    "a sequence begun by one character": "\x9b31mred",
    "a return": "good\rbad",
    "a backspace": "good\b\b\b\bbad",
    "a turned direction": "gpj\u202e.exe",
    "an isolated direction": "\u2066name\u2069",
    "a line": "one\u2028two",
    "a broken name": "caf\udce9",
    "a null": "a\0b",
}


@pytest.mark.parametrize("kind", STEERING)
def test_what_steers_a_terminal_is_shown_instead(kind):
    for shown in (visible(STEERING[kind]), visible_lines(f"above\n{STEERING[kind]}\nbelow").replace("\n", "")):
        assert shown.isprintable()
        assert "\\" in shown
        shown.encode()


def test_what_moves_the_cursor_is_shown_as_its_escape():
    assert visible("a\x1b[31mb\nc\u202ed\ud800") == "a\\x1b[31mb\\nc\\u202ed\\ud800"
    assert visible("linear -> bn ± 深") == "linear -> bn ± 深"


def test_a_message_keeps_its_lines():
    assert visible_lines("one\n  two \x1b[0m\n") == "one\n  two \\x1b[0m\n"


@given(st.text())
def test_any_text_is_shown_in_its_lines_and_no_other(text):
    shown = visible_lines(text).split("\n")
    assert len(shown) == text.count("\n") + 1
    assert all(line.isprintable() for line in shown)
    assert visible_lines("\n".join(shown)) == "\n".join(shown)


@given(st.text(st.characters() | st.characters(categories=["Cc", "Cf", "Cs"])))
def test_no_message_holds_what_a_terminal_would_act_on(text):
    assert visible(text).isprintable()
    assert str(BnexpError(text)).split("\n") == [visible(line) for line in text.split("\n")]


def test_what_can_be_seen_is_left_as_it_is():
    assert visible("größe → 5 × 5 \\x1b") == "größe → 5 × 5 \\x1b"
    assert visible("\x1b[31m\n\t\x9b\u202e\ud800") == r"\x1b[31m\n\t\x9b\u202e\ud800"
