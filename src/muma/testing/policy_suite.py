"""What every policy must do; subclass, give `make()`, and run with pytest.

class TestMine(PolicySuite):
    def make(self) -> Policy:
        return MyPolicy(MyConfig(temperature=0.1))

A policy that leaves nothing to chance says `deterministic = True`. `draws` is the number of ranked
answers whose frequencies are compared with the logged probabilities; `many_draws` that of the slow run.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from scipy.stats import chi2

from muma import artifact
from muma.errors import ConfigError, DataError
from muma.policy.policy import Context, Decision, Feedback, Policy
from muma.ranking.ranker import Slate
from muma.rng import derive

NOW = 1_700_000_000_000_000
SECOND = 1_000_000
N_FEATURES, WIDTH, N_ITEMS = 3, 8, 600
LEAST_P = 1e-4  # a right policy fails one comparison of frequencies in 10,000; the seeds are fixed


def slate_of(n: int, *, seed: int = 0, first: int = 0) -> Slate:
    """Candidates with scores, features and a calibrated probability of a click.

    Args:
        n: how many.
        seed: of what they are.
        first: their items are drawn from `first` on, below `first + N_ITEMS`.
    """
    rng = derive(seed, "policy_suite", n)
    item_N = first + rng.permutation(N_ITEMS)[:n]
    value_NF = rng.normal(size=(n, N_FEATURES)).astype(np.float32)
    score_N = -np.sort(-(value_NF.sum(axis=1, dtype=np.float64) / 2 - 1))
    probability = {"click": 1 / (1 + np.exp(-score_N))}
    return Slate(item_N, score_N, value_NF, ("a", "b", "c"), probability)


def context_of(number: int = 0) -> Context:
    """A request, with an interest vector."""
    vector_D = derive(number, "policy_suite", "vector").normal(size=WIDTH).astype(np.float32)
    return Context(f"request {number}", NOW + number, user=number, vector_D=vector_D)


def feedback_of(n: int, *, seed: int = 0, items: np.ndarray | None = None) -> Feedback:
    """Feedback on random items, in random order of time, with clicks and shares of reward."""
    rng = derive(seed, "policy_suite", "feedback", n)
    items = np.arange(N_ITEMS) if items is None else items
    item_E = rng.choice(items, n)
    reward_E = (rng.random(n) < 0.1 + 0.5 * (item_E % 7) / 7).astype(np.float64)
    reward_E[rng.random(n) < 0.1] = 0.5
    return Feedback(
        item_E=item_E,
        reward_E=reward_E,
        time_E=NOW - rng.integers(0, 3_600, n) * SECOND,
        propensity_E=rng.uniform(0.05, 1.0, n),
        value_EF=rng.normal(size=(n, N_FEATURES)).astype(np.float32),
        vector_ED=rng.normal(size=(n, WIDTH)).astype(np.float32),
        explored_E=rng.random(n) < 0.2,
    )


def rows_of(feedback: Feedback, row_n: np.ndarray) -> Feedback:
    """Some rows of feedback."""
    names = ("item_E", "reward_E", "time_E", "propensity_E", "value_EF", "vector_ED", "explored_E")
    kept = {n: v[row_n] for n in names if (v := getattr(feedback, n)) is not None}
    return replace(feedback, **kept)


def lists_of(
    policy: Policy, slate: Slate, context: Context, k: int
) -> dict[tuple[int, ...], float]:
    """Probability of every possible list of `k` places, by brute force over `next_slot`."""
    chance = {(): 1.0}
    for _ in range(min(k, len(slate))):
        longer = {}
        for taken, p in chance.items():
            p_N = policy.next_slot(slate, context, taken)
            longer |= {(*taken, i): p * p_N[i] for i in np.flatnonzero(p_N).tolist()}
        chance = longer
    return chance


def places_of(slate: Slate, decision: Decision) -> list[int]:
    """Places of the items of a decision."""
    place = {item: i for i, item in enumerate(slate.item_N.tolist())}
    return [place[item] for item in decision.item_K.tolist()]


def frequencies_fit(count_M: np.ndarray, p_M: np.ndarray) -> float:
    """p-value of a chi-square test of counts against probabilities.

    Cells of fewer than 5 expected counts are pooled; a count where the probability is 0 gives 0.
    """
    if count_M[p_M == 0].any():
        return 0.0
    expected_M = p_M * count_M.sum()
    rare_M = expected_M < 5
    seen = np.append(count_M[~rare_M], count_M[rare_M].sum())
    wanted = np.append(expected_M[~rare_M], expected_M[rare_M].sum())
    seen, wanted = seen[wanted > 0], wanted[wanted > 0]
    if len(wanted) < 2:
        return 1.0
    return float(chi2.sf(((seen - wanted) ** 2 / wanted).sum(), len(wanted) - 1))


class PolicySuite:
    """Contract of `Policy`."""

    deterministic: ClassVar[bool] = False
    draws: ClassVar[int] = 1_500
    many_draws: ClassVar[int] = 200_000

    def make(self) -> Policy:
        """A policy that has learned nothing."""
        raise NotImplementedError

    def learned(self) -> Policy:
        """The same after some feedback."""
        policy = self.make()
        policy.learn(feedback_of(2_000))
        return policy

    @pytest.mark.parametrize("n", [1, 2, 7, 150, 500])
    def test_probabilities_of_a_slot(self, n: int) -> None:
        slate, context = slate_of(n), context_of()
        for policy in (self.make(), self.learned()):
            floor = policy.choose(slate, context, 1, derive(0)).floor
            for n_taken in sorted({0, n // 2, n - 1}):
                taken = derive(n_taken, "taken").permutation(n)[:n_taken]
                p_N = policy.next_slot(slate, context, taken.tolist())
                assert p_N.shape == (n,)
                assert p_N.dtype == np.float64
                assert p_N.sum() == pytest.approx(1, abs=1e-9)
                assert (p_N[taken] == 0).all()
                assert p_N[p_N > 0].min() >= min(floor, 1.0) - 1e-12
                np.testing.assert_array_equal(p_N, policy.next_slot(slate, context, taken.tolist()))

    def test_a_decision_says_the_probabilities_it_was_drawn_from(self) -> None:
        policy, slate = self.learned(), slate_of(30)
        for number in range(20):
            context = context_of(number)
            decision = policy.choose(slate, context, 8, derive(1, context.request_id))
            expected_N = policy.expected(slate, context)
            assert expected_N.shape == (30,)
            assert decision.request_id == context.request_id
            assert decision.as_of <= NOW
            assert 0 <= decision.floor <= 1
            assert 0 <= decision.error < 0.5
            taken: list[int] = []
            for s, place in enumerate(places_of(slate, decision)):
                p_N = policy.next_slot(slate, context, taken)
                assert decision.propensity_K[s] == pytest.approx(p_N[place], rel=1e-9, abs=1e-12)
                assert 0 < decision.propensity_K[s] <= 1
                assert decision.support_K[s] == np.count_nonzero(p_N)
                left = [i for i in range(30) if i not in taken]
                best = max(left, key=lambda i: (expected_N[i], slate.score_N[i], -slate.item_N[i]))
                assert decision.explored_K[s] == (place != best)
                taken.append(place)
            if self.deterministic:
                assert (decision.propensity_K == 1).all()
                assert (decision.support_K == 1).all()
                assert decision.floor == 1

    def test_logged_probabilities_match_frequencies(self) -> None:
        self.compare_frequencies(self.draws)

    @pytest.mark.slow
    def test_logged_probabilities_match_the_frequencies_of_many_draws(self) -> None:
        self.compare_frequencies(self.draws if self.deterministic else self.many_draws)

    def compare_frequencies(self, draws: int) -> None:
        """Lists of 3 of 6 against all 120 of them, and one slot of 25 candidates, Holm-corrected."""
        ranked, single = (slate_of(6, seed=1), 3), (slate_of(25, seed=2), 1)
        p_values = []
        for policy, (slate, k), n in (
            (self.learned(), ranked, draws),
            (self.learned(), single, min(draws // 4, 5_000)),
            (self.make(), ranked, min(draws // 4, 5_000)),
        ):
            context = context_of(len(p_values))
            chance = lists_of(policy, slate, context, k)
            assert sum(chance.values()) == pytest.approx(1, abs=1e-9)
            count = dict.fromkeys(itertools.permutations(range(len(slate)), k), 0)
            rng = derive(draws, "policy_suite", "draws", len(p_values))
            for _ in range(n):
                decision = policy.choose(slate, context, k, rng)
                places = tuple(places_of(slate, decision))
                count[places] += 1
                logged = math.prod(decision.propensity_K.tolist())
                assert abs(logged - chance[places]) <= 1e-9 * chance[places]
            p_M = np.array([chance.get(places, 0.0) for places in count])
            p_values.append(frequencies_fit(np.array(list(count.values())), p_M))
        for rank, p in enumerate(sorted(p_values)):  # Holm: the smallest against all, and so on
            assert p * (len(p_values) - rank) > LEAST_P, p_values

    def test_all_candidates_are_reachable(self) -> None:
        """With the policy's floor, an item that was never seen and few rivals."""
        slate = slate_of(5, first=N_ITEMS)
        p_N = self.learned().next_slot(slate, context_of(), [])
        assert np.count_nonzero(p_N) == (1 if self.deterministic else 5)

    def test_closed_places_have_no_chance(self) -> None:
        policy, slate, context = self.learned(), slate_of(12), context_of()
        p_N = np.zeros(12)
        for taken, closed in (([], [0, 3]), ([5, 1], [0, 11, 7]), ([0], list(range(1, 11)))):
            p_N = policy.next_slot(slate, context, taken, closed)
            assert p_N.sum() == pytest.approx(1, abs=1e-9)
            assert (p_N[[*taken, *closed]] == 0).all()
        assert p_N[11] == 1
        with pytest.raises(DataError, match="taken"):
            policy.next_slot(slate, context, [0], [0])

    def test_choices_follow_from_seed_and_request(self) -> None:
        policy, slate = self.learned(), slate_of(40)
        numbers = list(range(12))

        def play(order: list[int]) -> dict[int, tuple[list[int], list[float]]]:
            answers = {}
            for number in order:
                context = context_of(number)
                decision = policy.choose(slate, context, 5, derive(7, context.request_id))
                answers[number] = (decision.item_K.tolist(), decision.propensity_K.tolist())
            return answers

        first = play(numbers)
        assert play(numbers[::-1]) == first
        assert play(derive(1).permutation(12).tolist()) == first

    def test_the_order_of_candidates_does_not_matter(self) -> None:
        slate = slate_of(60)
        tied = replace(slate, score_N=np.round(slate.score_N))
        for policy, some in ((self.make(), slate), (self.learned(), slate), (self.learned(), tied)):
            order_N = derive(2, "order").permutation(60)
            moved = some.take(order_N)
            for taken in ([], [5, 17, 3]):
                p_N = policy.next_slot(some, context_of(), taken)
                there = [int(np.flatnonzero(order_N == i)[0]) for i in taken]
                moved_N = policy.next_slot(moved, context_of(), there)
                np.testing.assert_allclose(moved_N, p_N[order_N], rtol=1e-7, atol=1e-12)

    def test_the_order_of_batches_does_not_matter(self) -> None:
        feedback, slate = feedback_of(1_000), slate_of(60)
        whole = self.make()
        whole.learn(feedback)
        for seed in range(3):
            rng = derive(seed, "batches")
            parts = np.split(rng.permutation(1_000), np.sort(rng.integers(0, 1_000, 9)))
            policy = self.make()
            for row_n in parts:
                policy.learn(rows_of(feedback, row_n))
            for context in (context_of(), replace(context_of(), time=NOW - 10**9)):
                np.testing.assert_allclose(
                    policy.next_slot(slate, context, []),
                    whole.next_slot(slate, context, []),
                    rtol=1e-6,
                    atol=1e-10,
                )

    def test_saving_keeps_everything(self, tmp_path: Path) -> None:
        slate = slate_of(40)
        for number, policy in enumerate((self.make(), self.learned())):
            folder = tmp_path / str(number)
            with artifact.write(folder, kind="policy", version=1) as writer:
                policy.save(writer)
            loaded = type(policy).load(artifact.read(folder, kind="policy", version=1))
            for _ in range(2):
                ours, theirs = (
                    p.choose(slate, context_of(), 9, derive(3)) for p in (policy, loaded)
                )
                assert ours.policy == theirs.policy
                assert ours.as_of == theirs.as_of
                np.testing.assert_array_equal(ours.item_K, theirs.item_K)
                np.testing.assert_array_equal(ours.propensity_K, theirs.propensity_K)
                policy.learn(feedback_of(300, seed=5))
                loaded.learn(feedback_of(300, seed=5))

    def test_nothing_handed_in_changes(self) -> None:
        policy, slate, feedback = self.make(), slate_of(20), feedback_of(50)
        arrays = [slate.item_N, slate.score_N, slate.value_NF, slate.probability["click"]]
        arrays += [feedback.item_E, feedback.reward_E, feedback.time_E, feedback.propensity_E]
        copies = [array.copy() for array in arrays]
        policy.learn(feedback)
        policy.choose(slate, context_of(), 5, derive(0))
        for array, copy in zip(arrays, copies, strict=True):
            np.testing.assert_array_equal(array, copy)

    def test_more_slots_than_candidates(self) -> None:
        for n, k in ((1, 1), (1, 5), (4, 9)):
            decision = self.learned().choose(slate_of(n), context_of(), k, derive(0))
            assert len(decision) == n
            assert sorted(decision.item_K.tolist()) == sorted(slate_of(n).item_N.tolist())
            assert decision.propensity_K[-1] == 1
            assert decision.support_K[-1] == 1
            assert not decision.explored_K[-1]

    @pytest.mark.parametrize(
        ("spoil", "words"),
        [
            (lambda s: s.take(np.arange(0)), "empty"),
            (lambda s: replace(s, score_N=np.where(np.arange(8) == 3, np.nan, 0.0)), "is nan"),
            (lambda s: replace(s, score_N=np.where(np.arange(8) == 3, np.inf, 0.0)), "is inf"),
            (lambda s: replace(s, item_N=np.where(np.arange(8) < 2, 5, s.item_N)), "twice"),
            (lambda s: replace(s, item_N=np.where(np.arange(8) < 1, -1, s.item_N)), "item -1"),
        ],
    )
    def test_wrong_slates_are_refused(self, spoil: Callable[[Slate], Slate], words: str) -> None:
        policy, slate = self.learned(), spoil(slate_of(8))
        with pytest.raises(DataError, match=words):
            policy.choose(slate, context_of(), 2, derive(0))
        with pytest.raises(DataError, match=words):
            policy.next_slot(slate, context_of(), [])

    def test_wrong_slots_are_refused(self) -> None:
        policy, slate = self.learned(), slate_of(4)
        for k in (0, -1):
            with pytest.raises(ConfigError, match="at least one slot"):
                policy.choose(slate, context_of(), k, derive(0))
        for taken in ([0, 1, 2, 3], [4], [-1], [1, 1], [0.5], [[1]]):
            with pytest.raises(DataError, match="taken"):
                policy.next_slot(slate, context_of(), taken)  # pyright: ignore[reportArgumentType]

    @pytest.mark.parametrize(
        ("name", "value"),
        [("reward_E", x) for x in (-0.1, 1.1, np.nan, np.inf)]
        + [("propensity_E", x) for x in (0.0, -0.1, 1.1, np.nan)]
        + [("item_E", -1), ("time_E", -1)],
    )
    def test_wrong_feedback_is_refused_whole(self, name: str, value: float) -> None:
        policy, slate = self.learned(), slate_of(40)
        before_N = policy.next_slot(slate, context_of(), [])
        feedback = feedback_of(100, seed=9)
        wrong_E = getattr(feedback, name).copy()
        wrong_E[70] = value
        with pytest.raises(DataError, match="row 70"):
            policy.learn(replace(feedback, **{name: wrong_E}))
        with pytest.raises(DataError, match="shape"):
            policy.learn(replace(feedback, **{name: wrong_E[:50]}))
        np.testing.assert_array_equal(policy.next_slot(slate, context_of(), []), before_N)

    def test_no_feedback_changes_nothing(self) -> None:
        policy, slate = self.learned(), slate_of(40)
        before_N = policy.next_slot(slate, context_of(), [])
        policy.learn(rows_of(feedback_of(10), np.arange(0)))
        np.testing.assert_array_equal(policy.next_slot(slate, context_of(), []), before_N)
