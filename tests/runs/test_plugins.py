"""What meta.json says of the code of a run is read without trust, and tells arms apart where both have the norm."""

from pathlib import Path

import pytest

from bnexp.runs.plugins import Recorded, differing, keys_of, other_code, recorded_in

SHA = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "damaged",
    [None, [], "mad", {"mad": None}, {"mad": []}, {"mad": {"path": 3, "sha256": SHA}}, {"mad": {"path": "mad.py"}}],
)
def test_what_cannot_be_read_is_left_out(damaged: object) -> None:
    assert recorded_in({"plugins": damaged}) == {}
    assert recorded_in({}) == {}


def test_the_key_of_an_arm_names_package_and_checksum() -> None:
    own = {"path": "/x/mad.py", "sha256": SHA, "distribution": None}
    found = recorded_in({"plugins": {"mad": own, "zed": {**own, "distribution": "my-norms 1.2"}}})
    assert found["mad"] == Recorded("/x/mad.py", SHA, None)
    assert keys_of(found) == {
        "plugins.mad": "sha256 0123456789ab",
        "plugins.zed": "my-norms 1.2, sha256 0123456789ab",
    }


def test_code_differs_only_between_those_that_have_it() -> None:
    mad, bn = {"model.norm": "mad", "plugins.mad": "a"}, {"model.norm": "bn"}
    assert differing("plugins.mad", [mad, bn]) == [mad]
    assert differing("model.norm", [mad, bn]) == [mad, bn]


def test_a_path_in_a_record_is_quoted_and_cannot_steer_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text(
        '{"plugins": {"../x": {"path": "a; rm -rf b\\u001b[2J", "sha256": "' + SHA + '"}}}'
    )
    said = other_code(tmp_path)
    assert said is not None
    assert "--plugin 'a; rm -rf b" in said
