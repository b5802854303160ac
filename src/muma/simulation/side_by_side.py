"""A policy of arms in all games at once: what it does in S seeds is one array operation a round.

The statistics are the policy's own code on S x A rows, the chances are those of `chances`, and the
choices use the same numbers as `play_one_by_one`: both give the same games. (Thompson sampling draws from
the posteriors instead of working out its chances: the same in distribution only.)

Shape: S games, A arms, K slots, T rounds of a block, W numbers a row of the statistics.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from muma.config import build
from muma.policy.arms import ArmPolicy, Evidence
from muma.policy.cycle import Cycle
from muma.policy.floor import Floor
from muma.policy.statistics import ArmStatistics
from muma.policy.ucb import UCB
from muma.progress import Task
from muma.rng import derive
from muma.simulation.chances import CHANCES, over_floor, picked
from muma.simulation.outcome import Play
from muma.simulation.recorder import Recorder
from muma.simulation.world import BLOCK, ROUND_US, World

_NONE = Floor(least=0.0)


def can_play(policy: Any, world: World) -> bool:
    """Whether a policy can be played side by side in a world; any other is played one by one.

    It must be a policy of arms that `chances` knows, fresh, with a floor that holds all arms and a prior
    that needs no ranker.
    """
    if type(policy) not in CHANCES or not isinstance(policy.statistics, ArmStatistics):
        return False
    holds = policy.config.floor.support(world.arms) == world.arms
    return holds and policy.config.prior.label is None and policy.as_of < 0


class Games:
    """The state of one policy in S games."""

    def __init__(self, policy: ArmPolicy[Any], n_seeds: int, n_arms: int) -> None:
        self.policy, self.shape = policy, (n_seeds, n_arms)
        self._forgetting = build(policy.config.forgetting, where="policy.forgetting")
        self._row_RW = self._forgetting.empty(n_seeds * n_arms)
        self._total_1W = self._forgetting.empty(1)
        self._first_S1 = np.arange(n_seeds)[:, None] * n_arms
        self._chance = CHANCES[type(policy)]
        self._floor = _NONE if isinstance(policy, UCB) else policy.config.floor

    def evidence(self, time: int) -> Evidence:
        """What is known of all arms of all games, flat; as `ArmPolicy.evidence`."""
        prior = self.policy.config.prior
        moments = self._forgetting.read(self._row_RW, float(time))
        total = self._forgetting.read(self._total_1W, float(time)).count_N[0]
        prior_N = np.full(len(self._row_RW), min(max(prior.mean, 1e-6), 1 - 1e-6))
        count_N = moments.count_N + prior.strength
        sum_N = moments.sum_N + prior.strength * prior_N
        mean_N = np.divide(sum_N, count_N, out=np.zeros(len(count_N)), where=count_N > 0)
        return Evidence(count_N, mean_N, prior_N, moments, float(total))

    def choose(
        self, evidence: Evidence, u_SK: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Arms and their chances: int64 [S, K] and float64 [S, K]."""
        arm_SK = np.empty(u_SK.shape, np.int64)
        p_SK = np.empty(u_SK.shape)
        left_SA = np.ones(self.shape, dtype=bool)
        game_S = np.arange(self.shape[0])
        for k in range(u_SK.shape[1]):
            own_SA = self._chance(self.policy, evidence, left_SA, rng)
            p_SA = over_floor(own_SA, left_SA, self._floor)
            arm_SK[:, k] = picked(p_SA, u_SK[:, k])
            p_SK[:, k] = p_SA[game_S, arm_SK[:, k]]
            left_SA[game_S, arm_SK[:, k]] = False
        return arm_SK, p_SK

    def learn(self, arm_SK: np.ndarray, reward_SK: np.ndarray, p_SK: np.ndarray, time: int) -> None:
        """Take in the slots of one round."""
        value_SK = reward_SK / p_SK if isinstance(self.policy, Cycle) else reward_SK
        place_E = (arm_SK + self._first_S1).ravel()
        time_E = np.full(len(place_E), time)
        self._forgetting.add(self._row_RW, place_E, value_SK.ravel(), time_E)
        n_slots = arm_SK.shape[1]
        slot_K = np.zeros(n_slots, np.int64)
        self._forgetting.add(self._total_1W, slot_K, np.zeros(n_slots), time_E[:n_slots])


def play_side_by_side(
    policy: ArmPolicy[Any],
    world: World,
    *,
    rounds_C: np.ndarray,
    seeds: Sequence[int],
    task: Task,
) -> Play:
    """Play a game a seed; arguments as of `play_one_by_one`, `policy` a fresh one."""
    games = Games(policy, len(seeds), world.arms)
    recorder = Recorder(len(seeds), rounds_C, world.examine_K)
    rounds = int(rounds_C[-1])
    n_slots, game_S1 = len(world.examine_K), np.arange(len(seeds))[:, None]
    rng = derive(seeds[0], "posteriors", policy.name, len(seeds))
    waiting: deque[tuple[np.ndarray, np.ndarray, np.ndarray, int]] = deque()
    for number in range(-(-rounds // BLOCK)):
        blocks = [world.block(seed, number) for seed in seeds]
        mean_TSA = np.stack([block.mean_TA for block in blocks], axis=1)
        relevant_TSA = np.stack([block.relevant_TA for block in blocks], axis=1)
        examined_TSK = np.stack([block.examined_TK for block in blocks], axis=1)
        uniform = [derive(seed, "choices", number).random((BLOCK, n_slots)) for seed in seeds]
        u_TSK = np.stack(uniform, axis=1)
        for t in range(min(BLOCK, rounds - number * BLOCK)):
            played = number * BLOCK + t
            time = played * ROUND_US
            arm_SK, p_SK = games.choose(games.evidence(time), u_TSK[t], rng)
            reward_SK = (relevant_TSA[t][game_S1, arm_SK] & examined_TSK[t]).astype(np.float64)
            waiting.append((arm_SK, reward_SK, p_SK, time))
            while len(waiting) > world.delay:
                games.learn(*waiting.popleft())
            mean_SA = mean_TSA[min(t, len(mean_TSA) - 1)]
            recorder.round(mean_SA, arm_SK)
            if recorder.due(played + 1):
                expected_SA = games.evidence(time).mean_N.reshape(games.shape)
                recorder.checkpoint(played + 1, expected_SA, mean_SA)
            task.advance(len(seeds))
    return recorder.play()
