import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bnexp.config.block import SHOWN, BlockError, check_filling, names_in, numbered_names, parse_block, parse_item
from bnexp.config.items import ACTIVATION_NAMES, ITEMS, NORM_NAMES
from bnexp.config.wording import blanked

POSITIVE = st.floats(1e-12, 1e3)
OPTION_VALUES = {
    "momentum": st.floats(1e-6, 1),
    "eps": POSITIVE,
    "affine": st.booleans(),
    "groups": st.integers(1, 512),
    "size": st.integers(2, 512),
    "rmax": st.floats(1, 100),
    "dmax": st.floats(0, 100),
    "warmup_steps": st.integers(0, 10**6),
    "alpha": POSITIVE,
    "frozen": st.sampled_from(["none", "statistics"]),
    "weight_norm": st.booleans(),
    "slope": st.floats(0, 0.99),
    "p": st.floats(0, 0.99),
}
SPACES = st.text(" \t", max_size=3)
ARROWS = st.sampled_from(["->", "→"])


@st.composite
def items(draw):
    """Draw a name and options that it takes."""
    name = draw(st.sampled_from(list(ITEMS)))
    known = {key: OPTION_VALUES[key] for key in ITEMS[name].options.model_fields if key in OPTION_VALUES}
    return name, draw(st.fixed_dictionaries({}, optional=known))


@st.composite
def rendered(draw, drawn_items):
    """Write items as a person might, with spaces wherever they are free."""
    pieces = []
    for name, options in drawn_items:
        inside = ",".join(
            f"{draw(SPACES)}{key}{draw(SPACES)}={draw(SPACES)}{str(value).lower()}{draw(SPACES)}"
            for key, value in options.items()
        )
        parentheses = f"{draw(SPACES)}({inside})" if options or draw(st.booleans()) else ""
        pieces.append(f"{draw(SPACES)}{name}{parentheses}{draw(SPACES)}")
    line = pieces[0]
    for piece in pieces[1:]:
        line += draw(ARROWS) + piece
    return line


@given(st.data())
def test_what_is_written_is_what_is_read(data):
    drawn = data.draw(st.lists(items(), min_size=1, max_size=8))
    read = parse_block(data.draw(rendered(drawn)))
    assert [item.name for item in read] == [name for name, _ in drawn]
    assert [item.options for item in read] == [ITEMS[name].options(**options) for name, options in drawn]
    assert all(item.kind is ITEMS[item.name] for item in read if not item.options.freezes_statistics)


@given(st.data())
def test_a_slip_is_read_or_refused_with_its_place(data):
    line = data.draw(rendered(data.draw(st.lists(items(), min_size=1, max_size=4))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(line)))
        line = (
            line[:at]
            + data.draw(st.sampled_from(list("()=,->→ bnx0.\n\t\x00é")))
            + line[at + data.draw(st.integers(0, 2)) :]
        )
    _read_or_refuse(line)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_its_place(line):
    _read_or_refuse(line)


def _read_or_refuse(line):
    try:
        parse_block(line, norm="bn", activation="relu")
    except BlockError as error:
        problem, shown, mark = str(error).split("\n")
        assert problem.startswith("item ")
        piece = shown[4:] if len(line) <= SHOWN else shown[4:].removeprefix("... ").removesuffix(" ...")
        assert len(piece) == min(len(line), SHOWN)
        assert piece in blanked(line)
        assert re.fullmatch(r" {4,}\^+", mark)
        assert len(mark) <= len(shown) + 1


@given(st.lists(items(), max_size=3), st.lists(items(), max_size=3), st.data())
def test_the_mark_stands_under_the_item_that_is_wrong(before, after, data):
    lines = [data.draw(rendered([item])) for item in (*before, ("bn", {}), *after)]
    lines[len(before)] = " nonsense(x=1) "
    with pytest.raises(BlockError) as caught:
        parse_block("->".join(lines))
    problem, shown, mark = str(caught.value).split("\n")
    assert f"item {len(before) + 1}" in problem
    assert shown[mark.index("^") : len(mark)] == "nonsense(x=1)"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("linear -> bm -> relu", ['item 2: unknown item "bm"', 'Did you mean "bn"?', "Known: norm, act, linear"]),
        ("linear -> -> relu", ["item 2: nothing here", "expected an item"]),
        ("linear -> relu ->", ["item 3: nothing here"]),
        ("", ["item 1: nothing here"]),
        ("linear, bn", ["item 1: cannot read this", "joined by ->"]),
        ("linear -> bn(momentum=0.1", ["item 2: cannot read this"]),
        ("linear -> bn(momentm=0.1)", ['bn has no option "momentm"', 'Did you mean "momentum"?', "Known: momentum"]),
        ("linear -> relu(slope=1)", ['relu takes no options, found "slope"']),
        ("linear -> bn(eps)", ['cannot read the option "eps" of bn', "expected name=value"]),
        ("linear -> bn(eps=1,)", ['cannot read the option ""']),
        ("linear -> bn(eps=1, eps=2)", ['option "eps" of bn stands twice']),
        ("linear -> bn(eps=small)", ["bn(eps=small)", "expected eps to be a number"]),
        ("linear -> bn(eps=0)", ["bn(eps=0)", "expected eps to be a number above 0"]),
        ("linear -> bn(eps=inf)", ["bn(eps=inf)", "a finite number"]),
        ("linear -> bn(momentum=1.5)", ["expected momentum to be at most 1"]),
        ("linear -> bn(affine=maybe)", ["expected affine to be true or false"]),
        ("linear -> bn(affine=channel)", ["expected affine to be true or false"]),
        ("linear -> ln(affine=maybe)", ["expected affine to be true, false or channel"]),
        ("linear -> bn(frozen=yes)", ["expected frozen to be 'none', 'statistics', 'affine' or 'both'"]),
        ("bn(affine=false, frozen=both)", ["expected frozen to be none or statistics beside affine=false"]),
        ("linear -> ghost_bn(frozen=both)", ['ghost_bn has no option "frozen"']),
        ("dropout(p=1)", ["expected p to be a number below 1"]),
        ("linear -> gn(groups=0)", ["gn(groups=0): expected groups to be at least 1"]),
        ("linear -> gn(groups=2.5)", ["gn(groups=2.5): expected groups to be a whole number"]),
        ("linear -> gn(group=2)", ['gn has no option "group"', 'Did you mean "groups"?']),
        ("linear -> ghost_bn(size=1)", ["expected size to be at least 2"]),
        ("linear -> batch_renorm(rmax=0.5)", ["expected rmax to be at least 1"]),
        ("linear -> batch_renorm(dmax=inf)", ["expected dmax to be a finite number"]),
        ("linear -> dyt(alpha=0)", ["expected alpha to be a number above 0"]),
        ("linear(weight_nrm=true)", ['Did you mean "weight_norm"?']),
        ("linear(weight_norm=true, weight_std=true)", ["expected weight_std to be false beside weight_norm=true"]),
    ],
)
def test_a_mistake_says_what_is_wrong_and_what_was_expected(line, said):
    with pytest.raises(BlockError) as caught:
        parse_block(line)
    for words in said:
        assert words in str(caught.value)


@pytest.mark.parametrize("norm", NORM_NAMES)
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_placeholders_are_filled(norm, activation):
    assert parse_block("linear -> norm -> act", norm, activation) == parse_block(f"linear -> {norm} -> {activation}")


def test_a_filling_brings_its_options():
    assert parse_block("linear -> norm", "bn(eps=1e-3)") == parse_block("linear -> bn(eps=0.001)")


def test_a_norm_of_none_takes_the_item_out():
    assert parse_block("linear -> norm -> act", "none", "relu") == parse_block("linear -> relu")


@pytest.mark.parametrize(("line", "key"), [("linear -> norm", "model.norm"), ("linear -> act", "model.activation")])
def test_a_placeholder_that_stands_for_nothing_names_its_key(line, key):
    with pytest.raises(BlockError, match=f"stands for {key}, which is not set"):
        parse_block(line)


@pytest.mark.parametrize(("line", "key"), [("norm(eps=1)", "model.norm: bn"), ("act(x=1)", "model.activation: leaky")])
def test_options_of_a_placeholder_belong_to_its_key(line, key):
    with pytest.raises(BlockError, match=f"such as {key}"):
        parse_block(line, "bn", "relu")


@pytest.mark.parametrize(
    ("key", "text"),
    [("norm", "bn"), ("norm", " none "), ("norm", "ln (eps=1e-3)"), ("activation", "leaky_relu(slope=0.2)")],
)
def test_a_filling_of_the_right_role_passes(key, text):
    check_filling(key, text)


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("norm", "relu", 'unknown norm "relu"'),
        ("norm", "bnn", 'Did you mean "bn"?'),
        ("norm", "none(eps=1)", "none"),
        ("norm", "bn(eps=0)", "a number above 0"),
        ("activation", "none", 'unknown activation "none"'),
        ("activation", "no", "Known: relu"),
        ("activation", "bn", 'unknown activation "bn"'),
        ("norm", "", 'unknown norm ""'),
    ],
)
def test_a_filling_of_another_role_is_refused(key, text, said):
    with pytest.raises(BlockError, match=re.escape(said)):
        check_filling(key, text)


def test_one_item_by_itself():
    assert parse_item("bn(momentum=0.5)") == parse_block("bn(momentum=0.5)")[0]
    with pytest.raises(BlockError, match=r'^unknown item "x"'):
        parse_item("x")


def test_names_keep_the_placeholders():
    assert names_in("linear -> norm→act -> dropout(p=0.1)") == {"linear", "norm", "act", "dropout"}


@given(st.lists(items(), min_size=1, max_size=8))
def test_numbered_names_are_unique_and_count_up(drawn):
    block = parse_block(" -> ".join(name for name, _ in drawn))
    numbered = numbered_names(block)
    assert len(set(numbered)) == len(numbered)
    for name in {item.name for item in block}:
        given_names = [number for item, number in zip(block, numbered, strict=True) if item.name == name]
        count = len(given_names)
        assert given_names == ([name] if count == 1 else [f"{name}{index}" for index in range(1, count + 1)])


def test_a_block_over_several_lines_is_shown_on_one():
    with pytest.raises(BlockError) as caught:
        parse_block("linear ->\n  nonsense\n")
    assert str(caught.value).split("\n")[1] == "    linear ->   nonsense "


def test_a_very_long_line_is_refused_at_once():
    # Two free runs of spaces next to each other in a regular expression would take minutes here.
    with pytest.raises(BlockError):
        parse_block("bn" + " " * 300_000 + "!")


@given(st.text(max_size=20))
def test_a_filling_is_accepted_or_refused_never_more(text):
    assume(text.strip() not in ITEMS)
    for key in ("norm", "activation"):
        try:
            check_filling(key, text)
        except BlockError as error:
            assert str(error)  # noqa: PT017  (accepting is right as well)


def test_of_a_long_line_the_part_around_the_mistake_is_shown():
    line = " -> ".join(["linear"] * 40 + ["lineer"] + ["relu"] * 40)
    with pytest.raises(BlockError) as caught:
        parse_block(line)
    _, shown, mark = str(caught.value).split("\n")
    assert len(shown) == 4 + 4 + SHOWN + 4
    assert shown[mark.index("^") : mark.rindex("^") + 1] == "lineer"
