"""Matched sets against brute force, at ties, calipers and ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muma.errors import ConfigError, DataError
from muma.evaluation.causal.matching import match, on_scale
from muma.rng import derive


def brute_with(score, treated, matches, caliper):
    """Each treated unit: all partners as near as the k-th nearest, inside the caliper."""
    found = {}
    partners = np.flatnonzero(~treated)
    for unit in np.flatnonzero(treated):
        distance = np.abs(score[partners] - score[unit])
        furthest = np.sort(distance)[min(matches, len(partners)) - 1]
        near = distance <= min(furthest, np.inf if caliper is None else caliper) + 1e-10
        found[unit] = sorted(partners[near].tolist())
    return found


def brute_without(score, treated, matches, caliper):
    free = set(np.flatnonzero(~treated).tolist())
    units = np.flatnonzero(treated)
    found = {unit: [] for unit in units}
    for _ in range(matches):
        for unit in sorted(units, key=lambda u: (-score[u], u)):
            if not free:
                continue
            row = min(free, key=lambda r: (abs(score[r] - score[unit]), score[r], r))
            if caliper is None or abs(score[row] - score[unit]) <= caliper:
                found[unit].append(row)
                free.remove(row)
    return {unit: sorted(rows) for unit, rows in found.items()}


worlds = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 12), min_size=n, max_size=n),  # eighths: exact, with many ties
        st.lists(st.booleans(), min_size=n, max_size=n).filter(lambda t: any(t) and not all(t)),
        st.integers(1, 4),
        st.none() | st.sampled_from([0.1, 0.125, 0.25, 1.0]),
    )
)


@pytest.mark.parametrize("replacement", [True, False])
@given(world=worlds)
def test_equals_brute_force(replacement, world):
    score, treated, matches, caliper = np.array(world[0]) / 8, np.array(world[1]), *world[2:]
    sets = match(score, treated, matches=matches, caliper=caliper, replacement=replacement)
    brute = (brute_with if replacement else brute_without)(score, treated, matches, caliper)
    mine = {unit: sorted(sets.members(i).tolist()) for i, unit in enumerate(sets.unit_M.tolist())}
    assert mine == {unit: rows for unit, rows in brute.items() if rows}
    assert sets.unmatched.tolist() == [unit for unit, rows in brute.items() if not rows]
    use, square, value = np.zeros(len(score)), np.zeros(len(score)), np.arange(len(score)) ** 1.5
    for rows in mine.values():
        use[rows] += 1 / len(rows)
        square[rows] += 1 / len(rows) ** 2
    if mine:
        np.testing.assert_allclose(sets.use(len(score)), use, atol=1e-12)
        np.testing.assert_allclose(sets.use(len(score), power=2), square, atol=1e-12)
        means = [value[rows].mean() for rows in mine.values()]
        np.testing.assert_allclose(sets.mean(value), means, rtol=1e-12, atol=1e-12)
        table = np.stack([value, -value], axis=1)
        np.testing.assert_allclose(sets.mean(table)[:, 1], -np.array(means), rtol=1e-12, atol=1e-12)
    if not replacement:
        assert use.max(initial=0) <= 1


@given(st.integers(0, 1000))
def test_rows_in_another_order_give_the_same_answer(seed):
    rng = derive(seed, "order")
    score, treated = rng.integers(0, 9, 40) / 4, rng.permutation([True] * 12 + [False] * 28)
    order = rng.permutation(40)
    first = match(score, treated, matches=2).use(40)
    again = match(score[order], treated[order], matches=2).use(40)
    np.testing.assert_allclose(again, first[order], atol=1e-12)


def test_matching_is_quick_and_large_ties_cost_nothing():
    rng = derive(1, "large")
    score, treated = rng.random(50_000), rng.random(50_000) < 0.3
    sets = match(score, treated, matches=3)
    assert sets.size_M.min() == 3
    assert sets.size_M.mean() < 3.001  # but for scores that are equal to ten digits
    tied = match(np.zeros(50_000), treated)
    assert tied.size_M[0] == (~treated).sum()
    use = tied.use(50_000)
    assert use.sum() == pytest.approx(treated.sum())
    pairs = match(score, treated, replacement=False)
    assert len(np.unique(pairs.order_C)) == len(pairs) == treated.sum()


def test_controls_may_run_out():
    sets = match(np.array([0.9, 0.5, 0.4]), np.array([True, True, False]), replacement=False)
    assert sets.unit_M.tolist() == [0]  # the highest score chooses first
    assert sets.unmatched.tolist() == [1]


@pytest.mark.parametrize(
    ("score", "treated", "options", "error"),
    [
        ([0.1, 0.2], [1, 0], {"matches": 0}, ConfigError),
        ([0.1, 0.2], [1, 0], {"caliper": 0.0}, ConfigError),
        ([0.1, 0.2], [1, 0], {"caliper": float("nan")}, ConfigError),
        ([0.1, np.nan], [1, 0], {}, DataError),
        ([0.1, 0.2], [1, 1], {}, DataError),
        ([0.1, 0.2], [0, 0], {}, DataError),
        ([], [], {}, DataError),
    ],
)
def test_refused(score, treated, options, error):
    with pytest.raises(error):
        match(np.array(score), np.array(treated, bool), **options)


def test_scales():
    np.testing.assert_allclose(on_scale(np.array([0.5, 0.75]), "logit"), [0, np.log(3)])
    np.testing.assert_allclose(on_scale(np.array([0.5, 0.75]), "probability"), [0.5, 0.75])
