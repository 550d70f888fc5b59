"""What was found against what is used."""

import json

import pytest

from bnexp.data.sources.account import Account, Counted, Tally, by_frequency


def test_a_tally_counts_each_kind_and_keeps_its_first_example():
    tally = Tally()
    for name in ("a.heic", "b.heic"):
        tally.add("HEIC", name)
    tally.add("hidden", ".x", 3, expected=True)
    assert tally.counts() == (Counted("HEIC", 2, "a.heic"), Counted("hidden", 3, ".x", expected=True))


def account(left_out, expected=False):
    rest = (Counted("HEIC images, which need a converter", left_out, "cat/1.heic", expected),)
    return Account(99 + left_out, 99, formats=by_frequency(["JPEG"] + ["PNG"] * 98), passed_over=rest)


def test_an_account_reads_as_lines_and_goes_into_json():
    turned = (Counted("images turned as EXIF says", 1_200, "a.jpg"),)
    lines = Account(2_000, 1_200, formats=(("JPEG", 1_200),), changed=turned).lines()
    assert lines == [
        "1,200 of 2,000 files used: 1,200 JPEG",
        "changed on reading: 1,200 images turned as EXIF says (a.jpg)",
    ]
    assert account(2).lines()[0] == "99 of 101 files used: 98 PNG, 1 JPEG"
    record = json.loads(json.dumps(account(2).record()))
    assert (record["seen"], record["used"], record["formats"]) == (101, 99, {"PNG": 98, "JPEG": 1})
    assert record["passed_over"][0] == {
        "what": "HEIC images, which need a converter",
        "count": 2,
        "example": "cat/1.heic",
    }


@pytest.mark.parametrize(("left_out", "expected", "doubts"), [(1, False, 0), (2, False, 1), (50, True, 0)])
def test_more_than_a_trace_that_somebody_may_miss_is_doubtful(left_out, expected, doubts):
    assert len(account(left_out, expected).doubts()) == doubts


@pytest.mark.parametrize(
    ("what", "one", "more"),
    [
        ("hidden or system files", "1 hidden or system file (a)", "3 hidden or system files (a)"),
        ("link that leads nowhere", "1 link that leads nowhere (a)", "3 links that lead nowhere (a)"),
        ("video, which is not read: x", "1 video, which is not read: x (a)", "3 videos, which are not read: x (a)"),
        ("HEIC, which is not read: x", "1 HEIC, which is not read: x (a)", "3 HEIC, which is not read: x (a)"),
    ],
)
def test_what_is_counted_is_said_of_one_or_of_more(what, one, more):
    assert (str(Counted(what, 1, "a")), str(Counted(what, 3, "a"))) == (one, more)
