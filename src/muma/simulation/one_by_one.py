"""Any policy in a world, request by request, as it would serve.

Shape: T rounds of a block, A arms, K slots, S seeds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from muma.policy.policy import Context, Feedback, Policy
from muma.progress import Task
from muma.ranking.ranker import Slate
from muma.rng import derive
from muma.simulation.outcome import Play
from muma.simulation.recorder import Recorder
from muma.simulation.world import BLOCK, ROUND_US, Block, World


def play_one_by_one(
    make: Callable[[], Policy],
    world: World,
    *,
    rounds_C: np.ndarray,
    seeds: Sequence[int],
    task: Task,
) -> Play:
    """Play a game a seed, each with a policy of its own.

    Args:
        make: makes a policy that has learned nothing.
        world: deals the rewards.
        rounds_C: checkpoints, the last one is the length of a game.
        seeds: of the games.
        task: moves by one a round.
    """
    plays = []
    for seed in seeds:
        recorder = Recorder(1, rounds_C, world.examine_K)
        _game(make(), world, seed, int(rounds_C[-1]), recorder, task)
        plays.append(recorder.play())
    return Play(
        np.concatenate([play.regret_SC for play in plays]),
        np.concatenate([play.bias_SC for play in plays]),
        np.concatenate([play.worst_SC for play in plays]),
    )


def _game(
    policy: Policy, world: World, seed: int, rounds: int, recorder: Recorder, task: Task
) -> None:
    n_slots = len(world.examine_K)
    waiting: deque[Feedback] = deque()
    for number in range(-(-rounds // BLOCK)):
        block = world.block(seed, number)
        rng = derive(seed, "choices", number)
        for t in range(min(BLOCK, rounds - number * BLOCK)):
            played = number * BLOCK + t
            slate, context = request(block, t, seed, played)
            decision = policy.choose(slate, context, n_slots, rng)
            arm_K = decision.item_K
            liked_K = block.relevant_TA[t, arm_K] & block.examined_TK[t]
            waiting.append(
                Feedback(
                    arm_K,
                    liked_K.astype(np.float64),
                    np.full(n_slots, context.time),
                    decision.propensity_K,
                    value_EF=slate.value_NF[arm_K],
                    vector_ED=_repeated(context.vector_D, n_slots),
                    explored_E=decision.explored_K,
                )
            )
            while len(waiting) > world.delay:
                policy.learn(waiting.popleft())
            mean_A = block.mean_TA[min(t, len(block.mean_TA) - 1)]
            recorder.round(mean_A[None], arm_K[None])
            if recorder.due(played + 1):
                expected_A = policy.expected(slate, context)
                recorder.checkpoint(played + 1, expected_A[None], mean_A[None])
            task.advance()


def request(block: Block, t: int, seed: int, played: int) -> tuple[Slate, Context]:
    """What a policy sees in round `t` of a block."""
    arm_A = np.arange(block.relevant_TA.shape[1])
    value_AF = None if block.value_TAF is None else block.value_TAF[t]
    n_features = 0 if value_AF is None else value_AF.shape[1]
    columns = tuple(f"x{f}" for f in range(n_features))
    vector_D = None if block.vector_TD is None else block.vector_TD[t]
    context = Context(f"{seed}/{played}", time=played * ROUND_US, vector_D=vector_D)
    return Slate.plain(arm_A, value_NF=value_AF, columns=columns), context


def _repeated(vector_D: np.ndarray | None, n: int) -> np.ndarray | None:
    return None if vector_D is None else np.repeat(vector_D[None], n, axis=0)
