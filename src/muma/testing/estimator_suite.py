"""What every off-policy estimator must do; subclass, give `make()`, and run with pytest.

class TestMine(EstimatorSuite):
    def make(self) -> Estimator:
        return MyEstimator()
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from muma.errors import DataError
from muma.evaluation.off_policy.asymptotic import Asymptotic
from muma.evaluation.off_policy.estimator import Estimator, Rounds, Terms, view
from muma.evaluation.off_policy.evaluate import estimate
from muma.evaluation.off_policy.logged import Logged
from muma.evaluation.off_policy.units import errors, units_of
from muma.rng import derive
from muma.testing.bandit_world import BanditWorld
from muma.testing.slate_world import SlateWorld

_REPETITIONS = 200


class EstimatorSuite:
    """Contract of `Estimator`, on worlds of known value."""

    def make(self) -> Estimator:
        """The estimator under test, at its defaults."""
        raise NotImplementedError

    def past(self, n: int = 120, *, seed: int = 0) -> Rounds:
        """A past with predictions that are wrong, so that nothing rests on a right model."""
        rng = derive(seed, "estimator_suite", n)
        if self.make().per_answer:
            logged, target_BA = SlateWorld().log(n // 3, rng)
        else:
            logged, target_BA, _ = BanditWorld().log(n, rng)
        logged = replace(logged, unit_B=np.arange(n) // 3 // 2)
        prediction_BA = derive(0, "prediction").random((1, logged.n_actions)) + np.zeros((n, 1))
        return view(logged, target_BA, prediction_BA=prediction_BA)

    def value(self, rounds: Rounds) -> float:
        """The estimate."""
        return self.make().terms(rounds).value

    def worlds(self) -> Iterator[tuple[Rounds, float]]:
        """Pasts and the true value of their target policies."""
        estimator = self.make()
        for seed in range(_REPETITIONS):
            rng = derive(seed, "worlds")
            if estimator.per_answer:
                # an estimator that multiplies down the answer wants probabilities given the slots above
                world = SlateWorld(interference=0.6 if estimator.needs_model else 0.0)
                logged, target_BA = world.log(150, rng, marginal=not estimator.needs_model)
                value = world.value
            else:
                bandit = BanditWorld()
                logged, target_BA, _ = bandit.log(450, rng)
                value = bandit.value
            prediction_BA = np.full(target_BA.shape, 0.4) + 0.2 * np.arange(target_BA.shape[1]) / 10
            yield view(logged, target_BA, prediction_BA=prediction_BA), value

    def test_it_finds_the_known_value_if_it_is_consistent(self) -> None:
        estimator = self.make()
        found = [(estimator.terms(rounds).value, value) for rounds, value in self.worlds()]
        miss = np.array([estimate - value for estimate, value in found])
        sure = 4 * miss.std(ddof=1) / _REPETITIONS**0.5
        if estimator.consistent:
            # ratios and fitted baselines are biased by the order of one over the rounds
            assert abs(miss.mean()) < sure + 1 / 450
        else:
            # whatever it does to weights, it stays on the scale of the rewards
            assert abs(miss.mean()) < 0.3

    def test_there_is_one_finite_term_a_round(self) -> None:
        rounds = self.past()
        terms = self.make().terms(rounds)
        assert terms.numerator_B.shape == (120,)
        assert np.isfinite(terms.numerator_B).all()
        for other_B in (terms.denominator_B, terms.weight_B):
            if other_B is not None:
                assert other_B.shape == (120,)
                assert (other_B >= 0).all()

    def test_the_order_of_rounds_does_not_matter(self) -> None:
        rounds = self.past()
        order_B = derive(1, "order").permutation(len(rounds.logged))
        assert rounds.prediction_BA is not None
        shuffled = view(
            rounds.logged.rows(order_B),
            rounds.target_BA[order_B],
            prediction_BA=rounds.prediction_BA[order_B],
        )
        assert self.value(shuffled) == pytest.approx(self.value(rounds), abs=1e-12)

    def test_the_names_of_actions_do_not_matter(self) -> None:
        rounds = self.past()
        name_A = derive(2, "names").permutation(rounds.logged.n_actions)
        place_A = np.argsort(name_A)
        assert rounds.prediction_BA is not None
        renamed = view(
            replace(rounds.logged, action_B=name_A[rounds.logged.action_B]),
            np.ascontiguousarray(rounds.target_BA[:, place_A]),
            prediction_BA=np.ascontiguousarray(rounds.prediction_BA[:, place_A]),
        )
        assert self.value(renamed) == pytest.approx(self.value(rounds), abs=1e-12)

    def test_rewards_in_another_unit_give_the_value_in_that_unit(self) -> None:
        rounds = self.past()
        assert rounds.prediction_BA is not None
        scaled = view(
            replace(rounds.logged, reward_B=60 * rounds.logged.reward_B),
            rounds.target_BA,
            prediction_BA=60 * rounds.prediction_BA,
        )
        assert self.value(scaled) == pytest.approx(60 * self.value(rounds), rel=1e-10)

    def test_the_target_that_acted_is_worth_what_was_earned(self) -> None:
        rounds = self.past()
        estimator, logged = self.make(), rounds.logged
        target_BA = np.zeros((len(logged), logged.n_actions))
        target_BA[np.arange(len(logged)), logged.action_B] = 1.0
        sure = replace(logged, propensity_B=np.ones(len(logged)))
        terms = estimator.terms(view(sure, target_BA, prediction_BA=rounds.prediction_BA))
        if estimator.consistent:
            count = len(logged) if not estimator.per_answer else len(logged) / 3
            assert terms.value == pytest.approx(logged.reward_B.sum() / count, abs=1e-12)

    def test_nothing_handed_in_changes_and_the_answer_is_the_same_twice(self) -> None:
        rounds = self.past()
        copies = [rounds.weight_B.copy(), rounds.target_BA.copy(), rounds.logged.reward_B.copy()]
        assert self.value(rounds) == self.value(rounds)
        now = [rounds.weight_B, rounds.target_BA, rounds.logged.reward_B]
        for was, is_now in zip(copies, now, strict=True):
            np.testing.assert_array_equal(was, is_now)

    def test_linearised_errors_have_mean_zero(self) -> None:
        rounds = self.past()
        terms: Terms = self.make().terms(rounds)
        error_U = errors(terms, units_of(rounds.logged.unit_B, len(rounds.logged)))
        assert abs(error_U.mean()) < 1e-12

    def test_one_round_has_a_value_and_no_interval(self) -> None:
        logged = Logged(
            np.array([0]), np.array([1.0]), np.array([0.5]), 2,
            position_B=np.array([0]), slate_B=np.array([0]),
        )  # fmt: skip
        result = estimate(
            self.make(), logged, np.array([[0.5, 0.5]]),
            prediction_BA=np.array([[0.4, 0.6]]), interval=Asymptotic(),
        )  # fmt: skip
        assert np.isfinite(result.value)
        assert np.isnan(result.low)
        assert np.isnan(result.high)
        assert result.n == 1

    def test_a_model_is_asked_for_by_name(self) -> None:
        rounds = replace(self.past(), prediction_BA=None)
        estimator = self.make()
        if estimator.needs_model:
            with pytest.raises(DataError, match="predicted rewards"):
                estimator.terms(rounds)
        else:
            assert np.isfinite(estimator.terms(rounds).value)

    def test_an_answer_needs_to_be_known(self) -> None:
        rounds = self.past()
        estimator = self.make()
        blank = replace(rounds, logged=replace(rounds.logged, slate_B=None, position_B=None))
        if estimator.per_answer:
            with pytest.raises(DataError, match="slate_B and position_B"):
                estimator.terms(blank)
        else:
            assert np.isfinite(estimator.terms(blank).value)
