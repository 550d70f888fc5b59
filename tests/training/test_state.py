"""Another form is named by its place."""

import pytest
import torch

from bnexp.training.state import Each, Maybe, Tensors, refuse_other_form

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
