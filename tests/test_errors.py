import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnexp.errors import BnexpError, ConfigError, Interrupted, did_you_mean, escaped, nearest

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


@given(st.sampled_from(KNOWN), st.data())
def test_the_hint_is_always_a_known_word(word, data):
    slip = data.draw(st.integers(0, len(word) - 1))
    assert nearest(word[:slip] + word[slip + 1 :], KNOWN) in {*KNOWN, None}
    assert nearest(word, KNOWN) == word


@given(st.text(st.characters() | st.characters(categories=["Cc", "Cf", "Cs"])))
def test_no_message_holds_what_a_terminal_would_act_on(text):
    assert escaped(text).isprintable()
    assert str(BnexpError(text)).split("\n") == [escaped(line) for line in text.split("\n")]


def test_what_can_be_seen_is_left_as_it_is():
    assert escaped("größe → 5 × 5 \\x1b") == "größe → 5 × 5 \\x1b"
    assert escaped("\x1b[31m\n\t\x9b\u202e\ud800") == r"\x1b[31m\n\t\x9b\u202e\ud800"
