"""The choice is exactly the greedy one: an oracle that looks at every node after every single choice agrees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from newbon_core.hooks import DomainTerm
from newbon_core.scheduler.picks import Picks
from newbon_core.scheduler.select import choose, in_name_order

# Quarters add up exactly, so that ties are ties in whichever order sums are made.
QUARTERS = st.integers(-12, 12).map(lambda n: n / 4)


@dataclass(frozen=True)
class Problem:
    sequences: list[list[float]]
    order: list[int]
    count: int
    terms: list[DomainTerm]

    def values(self, layer: int) -> np.ndarray:
        return np.array([seq[layer] if layer < len(seq) else -np.inf for seq in self.sequences])

    @property
    def passed(self) -> np.ndarray:
        return np.array([bool(seq) for seq in self.sequences], dtype=np.bool_)

    def solve(self) -> Picks:
        in_order = self.order == list(range(len(self.order)))
        return choose(self.values, self.passed, None if in_order else np.array(self.order), self.count, self.terms)


@st.composite
def problems(draw: st.DrawFn, domains: int) -> Problem:
    nodes = draw(st.integers(1, 7))
    sequences = draw(st.lists(st.lists(QUARTERS, max_size=6), min_size=nodes, max_size=nodes))
    terms = []
    for _ in range(domains):
        size = draw(st.integers(1, 3))
        codes = draw(st.lists(st.integers(0, size - 1), min_size=nodes, max_size=nodes))
        counts = draw(st.lists(st.integers(0, 4), min_size=size, max_size=size))
        weight = draw(st.sampled_from([0.25, 1.0, 4.0, -0.5]))
        terms.append(DomainTerm(np.array(codes), np.array(counts, dtype=np.float64), weight))
    return Problem(sequences, draw(st.permutations(range(nodes))), draw(st.integers(1, 25)), terms)


@dataclass
class Choice:
    slot: int
    layer: int
    score: float
    runner_up: int
    runner_up_score: float


def naive(problem: Problem) -> list[Choice]:
    taken = [0] * len(problem.sequences)
    counts = [term.counts.copy() for term in problem.terms]
    chosen: list[Choice] = []

    def offer(slot: int) -> float:
        parts = zip(problem.terms, counts, strict=True)
        part = sum(term.weight * held[term.codes[slot]] for term, held in parts)
        return problem.sequences[slot][taken[slot]] - part

    while len(chosen) < problem.count:
        open_slots = [slot for slot in problem.order if taken[slot] < len(problem.sequences[slot])]
        if not open_slots:
            break
        offers = {slot: offer(slot) for slot in open_slots}
        best, *others = sorted(open_slots, key=lambda slot: -offers[slot])
        second = others[0] if others else -1
        chosen.append(Choice(best, taken[best], offers[best], second, offers.get(second, -np.inf)))
        taken[best] += 1
        for term, held in zip(problem.terms, counts, strict=True):
            held[term.codes[best]] += 1
    return chosen


def agree(problem: Problem) -> None:
    picks = problem.solve()
    expected = naive(problem)
    assert picks.slots.tolist() == [one.slot for one in expected]
    assert picks.layers.tolist() == [one.layer for one in expected]
    assert picks.scores.tolist() == [one.score for one in expected]
    slots, scores = picks.runner_up()
    assert slots.tolist() == [one.runner_up for one in expected]
    assert scores.tolist() == [one.runner_up_score for one in expected]


@given(problems(domains=0))
def test_a_group_is_chosen_as_one_by_one(problem: Problem) -> None:
    agree(problem)


@given(problems(domains=1))
def test_a_group_is_chosen_as_one_by_one_over_zones(problem: Problem) -> None:
    agree(problem)


@given(problems(domains=2))
def test_a_group_is_chosen_as_one_by_one_over_zones_and_racks(problem: Problem) -> None:
    agree(problem)


def test_nothing_is_chosen_where_nothing_passed() -> None:
    for terms in ([], [DomainTerm(np.array([0, 0]), np.zeros(1), 1.0)]):
        for count in (1, 3):
            assert len(Problem([[], []], [0, 1], count, terms).solve()) == 0
            assert len(Problem([], [], count, []).solve()) == 0


def test_equal_nodes_are_taken_in_the_order_of_names() -> None:
    passed = np.array([True, False, True, True])
    assert in_name_order(passed, None).tolist() == [0, 2, 3]
    assert in_name_order(passed, np.array([3, 2, 1, 0])).tolist() == [3, 2, 0]
    assert Problem([[0.0]] * 3, [2, 0, 1], 3, []).solve().slots.tolist() == [2, 0, 1]


def test_a_rising_sequence_is_followed_to_its_end() -> None:
    rising = [[float(j) for j in range(50)], [0.5] * 50, [0.25] * 50]
    assert Problem(rising, [0, 1, 2], 60, []).solve().slots.tolist() == [1] * 50 + [2] * 10
    assert Problem(rising[:1], [0], 49, []).solve().slots.tolist() == [0] * 49
