"""The fixed split: exact, stratified, complete, and mixed."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bnexp.data.parts import stratified_split
from effort import examples


@st.composite
def labels_and_held_out(draw):
    counts = draw(st.lists(st.integers(1, 40), min_size=1, max_size=8).filter(lambda counts: sum(counts) >= 2))
    labels = torch.repeat_interleave(torch.arange(len(counts)) * 3, torch.tensor(counts))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(draw(st.integers(0, 100))))
    return labels[order], draw(st.integers(1, len(labels) - 1)), draw(st.integers(0, 2**31))


@settings(deadline=None, max_examples=examples(150), database=None, derandomize=True)
@given(labels_and_held_out())
def test_the_parts_are_exact_disjoint_complete_and_stratified_within_one(case):
    labels, held_out, seed = case
    rest, chosen = stratified_split(labels, held_out, seed)
    assert len(chosen) == held_out
    assert sorted([*rest.tolist(), *chosen.tolist()]) == list(range(len(labels)))
    for label in labels.unique():
        share = int((labels == label).sum()) * held_out / len(labels)
        assert abs(int((labels[chosen] == label).sum()) - share) < 1


@settings(deadline=None, max_examples=examples(30), database=None, derandomize=True)
@given(labels_and_held_out())
def test_the_same_seed_gives_the_same_split_whatever_torch_drew(case):
    first = stratified_split(*case)
    torch.rand(3)
    for one, other in zip(first, stratified_split(*case), strict=True):
        assert torch.equal(one, other)


def test_another_seed_gives_another_split():
    labels = torch.arange(10).repeat(20)
    chosen = [set(stratified_split(labels, 50, seed)[1].tolist()) for seed in range(3)]
    assert chosen[0] != chosen[1] != chosen[2] != chosen[0]


def test_the_split_is_taken_from_the_whole_set_not_from_its_ends():
    _, chosen = stratified_split(torch.arange(10).repeat(100), 200, seed=0)
    # 200 of 1,000 in each fifth are 40 on average; five standard deviations of that draw are 26.
    for fifth in range(5):
        assert abs(int(((chosen // 200) == fifth).sum()) - 40) < 26


def test_both_orders_mix_the_classes_even_when_the_set_is_sorted():
    labels = torch.arange(10).repeat_interleave(100)
    for part in stratified_split(labels, 500, seed=0):
        counts = torch.bincount(labels[part[:100]], minlength=10)
        assert counts.min() >= 1
        assert counts.max() <= 25


def test_the_largest_remainders_get_what_is_left():
    # Shares of 4 in 10: 0.4, 1.2 and 2.4. The whole parts give 3; the 4th goes to a largest remainder, the first.
    labels = torch.tensor([0] + [1] * 3 + [2] * 6)
    _, chosen = stratified_split(labels, 4, seed=0)
    assert torch.bincount(labels[chosen], minlength=3).tolist() == [1, 1, 2]
