"""A simulation as a recipe: one world, some policies, how long and how often.

    [world]
    use = "muma.simulation.drifting.DriftingWorld"
    arms = 50

    [policies.ours]
    use = "muma.policy.thompson.Thompson"

    [policies.paper]
    use = "muma.policy.cycle.Cycle"

Worlds and policies that are often wanted have names (`WORLDS`, `POLICIES`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from muma.config import Config, Spec, build
from muma.errors import ConfigError
from muma.simulation.outcome import Simulation
from muma.simulation.runner import simulate
from muma.simulation.world import ROUND_US

_FORGETTING = {"use": "muma.policy.discounted.Discounted", "half_life_us": 4000 * ROUND_US}

WORLDS: Mapping[str, Mapping[str, Any]] = {
    "stationary": {"use": "muma.simulation.stationary.StationaryWorld"},
    "drifting": {"use": "muma.simulation.drifting.DriftingWorld"},
    "ranked": {"use": "muma.simulation.ranked.RankedWorld"},
    "contextual": {"use": "muma.simulation.contextual.ContextualWorld"},
    "personal": {"use": "muma.simulation.personal.PersonalWorld"},
}

POLICIES: Mapping[str, Mapping[str, Any]] = {
    "thompson": {"use": "muma.policy.thompson.Thompson"},
    "thompson-forgetting": {"use": "muma.policy.thompson.Thompson", "forgetting": _FORGETTING},
    "cycle": {"use": "muma.policy.cycle.Cycle"},
    "ucb": {"use": "muma.policy.ucb.UCB"},
    "epsilon-ucb": {"use": "muma.policy.stochastic_ucb.StochasticUCB", "draw": "epsilon"},
    "softmax-ucb": {"use": "muma.policy.stochastic_ucb.StochasticUCB", "bonus": 0.2},
    "epsilon-greedy": {"use": "muma.policy.epsilon_greedy.EpsilonGreedy"},
    "linucb": {"use": "muma.policy.linucb.LinUCB"},
    "lints": {"use": "muma.policy.lints.LinTS", "draws": 300},
    "neural-linear": {"use": "muma.policy.neural_linear.NeuralLinear", "draws": 300},
}


class SimulationConfig(Config):
    """One simulation.

    Attributes:
        world: import path and settings of the world.
        policies: name -> import path and settings.
        rounds: length of a game, requests.
        seeds: games of each policy, with the seeds `first_seed` and on.
        first_seed: seed of the first game.
        points: checkpoints of the curves.
        baseline: the policy that the others are compared with; None: the first one.
        exact: play every policy request by request.
    """

    world: Spec = Spec.model_validate(WORLDS["stationary"])
    policies: dict[str, Spec] = {
        name: Spec.model_validate(POLICIES[name]) for name in ("thompson", "ucb", "cycle")
    }
    rounds: int = Field(default=10_000, ge=1)
    seeds: int = Field(default=10, ge=1)
    first_seed: int = 0
    points: int = Field(default=50, ge=1)
    baseline: str | None = None
    exact: bool = False

    @property
    def compared_with(self) -> str:
        """Name of the baseline.

        Raises:
            ConfigError: it is not among the policies.
        """
        names = [*self.policies]
        if not names:
            raise ConfigError("the simulation has no policies; name one at least")
        if self.baseline is not None and self.baseline not in names:
            raise ConfigError(f"baseline {self.baseline!r} is not among {', '.join(names)}")
        return self.baseline or names[0]


def named(name: str, known: Mapping[str, Mapping[str, Any]], *, what: str) -> dict[str, Any]:
    """Settings by a known name, or by import path where there is a dot.

    Raises:
        ConfigError: there is no such name.

    Example:
        >>> named("ucb", POLICIES, what="policy")
        {'use': 'muma.policy.ucb.UCB'}
    """
    if name in known:
        return dict(known[name])
    if "." in name:
        return {"use": name}
    raise ConfigError(
        f"there is no {what} {name!r}; allowed: {', '.join(known)}, or an import path"
    )


def run(config: SimulationConfig) -> Simulation:
    """Play a simulation.

    Raises:
        ConfigError: the world or a policy cannot be built, or the baseline is none of the policies.

    Example:
        >>> found = run(SimulationConfig(rounds=100, seeds=2))
        >>> [*found.plays], found.regret("ucb").n
        (['thompson', 'ucb', 'cycle'], 2)
    """
    _ = config.compared_with
    world = build(config.world, where="world", methods=("block",))
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    return simulate(
        config.policies,
        world,
        rounds=config.rounds,
        seeds=seeds,
        points=config.points,
        exact=config.exact,
    )
