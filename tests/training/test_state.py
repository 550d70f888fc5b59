"""Another form is named by its place."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from bnexp.measure.evaluation import Score
from bnexp.training.progress import Evaluated
from bnexp.training.state import (
    Anything,
    Each,
    Maybe,
    OrAbsent,
    Tensors,
    form_of_type,
    from_plain,
    refuse_other_form,
    to_plain,
)

FORM = {
    "step": 0,
    "loss": 0.0,
    "weights": {"head": torch.zeros(2, 3)},
    "steps": Each((0.0, 0)),
    "best": Maybe({"step": 0}),
    "probes": Tensors(),
}
GOOD = {
    "step": 5,
    "loss": float("nan"),
    "weights": {"head": torch.ones(2, 3)},
    "steps": [(0.5, 1), [0.25, 2]],
    "best": None,
    "probes": {"x": torch.zeros(1)},
}


def test_the_form_itself_is_what_it_should_be():
    refuse_other_form(GOOD, FORM)
    refuse_other_form({**GOOD, "best": {"step": 3}, "steps": [], "probes": {}}, FORM)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"step": "5"}, "step: found 5, expected int"),
        ({"step": True}, "step: found True, expected int"),
        ({"step": -1}, "step: found -1, expected a whole number from 0"),
        ({"step": 10**30}, "step: found 1000"),
        ({"loss": 1}, "loss: found 1, expected float"),
        ({"weights": {}}, "weights.head: found nothing, expected a value"),
        ({"weights": []}, r"weights: found \[\], expected keys and values"),
        ({"weights": {"head": torch.zeros(3)}}, r"weights.head: found float32 \(3,\), expected float32 \(2, 3\)"),
        ({"weights": {"head": torch.zeros(2, 3).int()}}, r"found int32 \(2, 3\), expected float32 \(2, 3\)"),
        ({"more": 1}, "more: found 1, expected nothing"),
        ({"steps": [(0.5, 1), (0.5,)]}, r"steps.1: found \(0.5,\), expected 2 values"),
        ({"steps": "ab"}, "steps: found ab, expected several values"),
        ({"best": {"step": None}}, "best.step: found None, expected int"),
        ({"probes": {"x": 1}}, "probes: found {'x': 1}, expected tensors"),
    ],
)
def test_another_form_is_named(change, words):
    with pytest.raises(ValueError, match=words):
        refuse_other_form({**GOOD, **change}, FORM)


def test_a_missing_value_is_named():
    with pytest.raises(ValueError, match="loss: found nothing, expected a value"):
        refuse_other_form({key: value for key, value in GOOD.items() if key != "loss"}, FORM)


def test_what_may_be_absent_or_is_not_loaded_is_left_open():
    form = {"optimizer": {0: OrAbsent({"step": torch.zeros(())})}, "device": Anything()}
    refuse_other_form({"optimizer": {}, "device": "x"}, form)
    refuse_other_form({"optimizer": {0: {"step": torch.ones(())}}, "device": None}, form)
    with pytest.raises(ValueError, match=r"optimizer\.1: found {}, expected nothing"):
        refuse_other_form({"optimizer": {0: {"step": torch.ones(())}, 1: {}}, "device": None}, form)


@dataclass(frozen=True)
class Inner:
    number: float
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    inner: Inner
    weights: dict[str, Tensor]
    other: Inner | None = None


@pytest.mark.parametrize("other", [None, Inner(2.0, ("a", "b"))])
def test_a_record_becomes_plain_and_a_record_again(other):
    record = Outer(Inner(1.0), {"w": torch.ones(2)}, other)
    plain = to_plain(record)
    assert plain["inner"] == {"number": 1.0, "names": ()}
    assert plain["weights"]["w"] is record.weights["w"]
    assert from_plain(Outer | None, plain) == record
    assert from_plain(Outer | None, to_plain(None)) is None
    refuse_other_form(plain, form_of_type(Outer))


def test_the_form_of_a_record_follows_from_its_types():
    plain = to_plain(Outer(Inner(1.0), {}))
    for change, message in [
        ({"inner": {"number": 1, "names": ()}}, r"inner\.number: found 1, expected float"),
        ({"inner": {"number": 1.0, "names": (1,)}}, r"inner\.names\.0: found 1, expected str"),
        ({"other": {"number": 1.0}}, r"other\.names: found nothing"),
        ({"weights": {"w": 1}}, "weights: found {'w': 1}, expected tensors"),
    ]:
        with pytest.raises(ValueError, match=message):
            refuse_other_form({**plain, **change}, form_of_type(Outer))


@dataclass(frozen=True)
class Grown:
    loss: float
    added: float | None = None


def test_what_an_earlier_version_did_not_have_may_be_absent() -> None:
    form = form_of_type(Grown)
    assert form == {"loss": 0.0, "added": OrAbsent(Maybe(0.0))}
    for stored in ({"loss": 1.0}, {"loss": 1.0, "added": None}, {"loss": 1.0, "added": 0.5}):
        refuse_other_form(stored, form)
        assert from_plain(Grown, stored) == Grown(**stored)
    for stored, words in (({"added": 0.5}, "loss: found nothing"), ({"loss": 1.0, "added": "x"}, "added: found x")):
        with pytest.raises(ValueError, match=words):
            refuse_other_form(stored, form)


@pytest.mark.parametrize("balanced", [None, 0.5])
def test_a_score_is_stored_with_and_without_a_balanced_accuracy(balanced: float | None) -> None:
    evaluated = Evaluated(3, Score(0.25, 0.75, balanced))
    stored = to_plain(evaluated)
    refuse_other_form(stored, form_of_type(Evaluated))
    assert from_plain(Evaluated, stored) == evaluated
    refuse_other_form({"step": 3, "score": {"loss": 0.25, "accuracy": 0.75}}, form_of_type(Evaluated))
