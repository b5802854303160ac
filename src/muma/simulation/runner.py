"""Plays policies in a world of known truth and tells what it cost them.

Every policy meets the same worlds, the same luck and the same numbers for its own draws, so that
differences are paired by seed. Policies of arms are played in all seeds side by side, others request by
request; `exact = True` plays all of them request by request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from muma.config import Spec, build
from muma.errors import ConfigError
from muma.progress import task
from muma.simulation.one_by_one import play_one_by_one
from muma.simulation.outcome import Simulation
from muma.simulation.recorder import checkpoints
from muma.simulation.side_by_side import can_play, play_side_by_side
from muma.simulation.world import World

METHODS = ("choose", "learn", "expected")


def simulate(
    policies: Mapping[str, Spec | Mapping[str, Any]],
    world: World,
    *,
    rounds: int,
    seeds: Sequence[int],
    points: int = 50,
    exact: bool = False,
) -> Simulation:
    """Play each policy in each seed's world.

    Args:
        policies: name -> import path (`use`) and settings.
        world: deals the rewards.
        rounds: length of a game, requests.
        seeds: one game each, at least one, each once.
        points: checkpoints of the curves.
        exact: play every policy request by request.

    Raises:
        ConfigError: there is no policy, round, seed or point, a seed comes twice, or a policy cannot be
            built.

    Example:
        >>> from muma.simulation.stationary import StationaryWorld
        >>> policies = {"ucb": {"use": "muma.policy.ucb.UCB"}}
        >>> found = simulate(policies, StationaryWorld(), rounds=200, seeds=range(3))
        >>> found.regret("ucb").n, found.plays["ucb"].regret_SC.shape
        (3, (3, 50))
    """
    seeds = tuple(seeds)
    if not policies or rounds < 1 or points < 1 or not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(
            f"{len(policies)} policies, {rounds} rounds, seeds {seeds}, {points} points; needed are one "
            "of each at least, and seeds that differ"
        )
    rounds_C = checkpoints(rounds, min(points, rounds))
    plays = {}
    for name, spec in policies.items():
        where = f"policies.{name}"
        policy = build(spec, where=where, methods=METHODS)
        with task(name, total=rounds * len(seeds)) as open_task:
            parts = {"rounds_C": rounds_C, "seeds": seeds, "task": open_task}
            if can_play(policy, world) and not exact:
                plays[name] = play_side_by_side(policy, world, **parts)
            else:
                make = partial(build, spec, where=where)
                plays[name] = play_one_by_one(make, world, **parts)
    return Simulation(plays, rounds_C, seeds)
