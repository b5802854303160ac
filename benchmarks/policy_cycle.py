"""The paper's cycle (3.5.3) against its fixes, in worlds of known truth.

    python benchmarks/policy_cycle.py --json
    python benchmarks/policy_cycle.py --quick --json

1. `defect_*`: an arm of true rate 0.05, shown with p = 0.01 in each of 100,000 rounds: what the cycle's
   update (eq. 13, a mean over the *selected* rounds) believes, and the same log by IPS over all rounds and
   by SNIPS; mean over the seeds;
2. `stationary_*` (20 arms of rates 0.02 to 0.2) and `drifting_*` (20 arms that wander around 0.08):
   50,000 rounds, 20 seeds. For each policy `_regret` (rewards lost against the best arm, in all rounds),
   `_bias` (mean over arms of its own estimate minus the truth at the end) and `_worst` (largest error of
   an arm), `_saved` (regret of the cycle minus its own, paired by seed: above 0 it is ahead) and
   `_minus_default` (its regret minus that of MUMA's default: above 0 it is behind the default); `_low`
   and `_high` are 95 % Student intervals over seeds. `epsilon_ucb` draws as the cycle does, and only its
   estimate is a plain mean;
3. `ranked_*`: three slots, the lower ones looked at less, rewards told 200 rounds late;
4. `contextual_*`: rates linear in the candidates' features; `personal_*`: linear in who asks; `_saved` is
   against Thompson sampling without features. These policies are played request by request.

`thompson_forgetting` is MUMA's default: Beta posteriors, floor 0.001, rewards that lose weight with age.
Its half-life of 4,000 rounds was chosen among 500, 1,000, 2,000 and 4,000 in the drifting world, on seeds
100 to 111, which are not in the table. `thompson` forgets nothing: the better one where nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import common
from muma.evaluation.result import Result
from muma.policy.cycle import Cycle
from muma.policy.policy import Context, Feedback
from muma.ranking.ranker import Slate
from muma.rng import derive
from muma.simulation.contextual import ContextualWorld
from muma.simulation.drifting import DriftingWorld
from muma.simulation.outcome import over_seeds
from muma.simulation.personal import PersonalWorld
from muma.simulation.ranked import RankedWorld
from muma.simulation.runner import simulate
from muma.simulation.stationary import StationaryWorld
from muma.simulation.world import ROUND_US, World

FORGETTING = {"use": "muma.policy.discounted.Discounted", "half_life_us": 4000 * ROUND_US}
EVEN = {"least": 0.0}
POLICIES: dict[str, dict[str, Any]] = {
    "cycle": {"use": "muma.policy.cycle.Cycle"},
    "ucb": {"use": "muma.policy.ucb.UCB"},
    "epsilon_ucb": {
        "use": "muma.policy.stochastic_ucb.StochasticUCB",
        "draw": "epsilon",
        "floor": EVEN,
    },
    "softmax_ucb": {"use": "muma.policy.stochastic_ucb.StochasticUCB", "bonus": 0.2},
    "epsilon_greedy": {"use": "muma.policy.epsilon_greedy.EpsilonGreedy"},
    "thompson": {"use": "muma.policy.thompson.Thompson"},
    "thompson_forgetting": {"use": "muma.policy.thompson.Thompson", "forgetting": FORGETTING},
}
FEATURES: dict[str, dict[str, Any]] = {
    "thompson": POLICIES["thompson"],
    "linucb": {"use": "muma.policy.linucb.LinUCB"},
    "lints": {"use": "muma.policy.lints.LinTS", "draws": 300},
}
VECTORS: dict[str, dict[str, Any]] = {
    "thompson": POLICIES["thompson"],
    "neural_linear": {"use": "muma.policy.neural_linear.NeuralLinear", "draws": 300},
}
DEFAULT = "thompson_forgetting"
RATE, CHANCE, ROUNDS = 0.05, 0.01, 100_000


def keys(name: str, found: Result) -> dict[str, float]:
    """A result as flat keys."""
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def defect(seeds: int) -> dict[str, float]:
    """The estimate of one arm by the cycle's update and by weights over all rounds."""
    found: dict[str, list[float]] = {"cycle": [], "ips": [], "snips": []}
    for seed in range(seeds):
        rng = derive(seed, "defect")
        shown = int(rng.binomial(ROUNDS, CHANCE))
        reward_E = (rng.random(shown) < RATE).astype(np.float64)
        item_E, time_E = np.zeros(shown, np.int64), np.arange(shown)
        policy = Cycle()
        policy.learn(Feedback(item_E, reward_E, time_E, np.full(shown, CHANCE)))
        slate = Slate.plain(np.zeros(1, np.int64))
        found["cycle"].append(float(policy.expected(slate, Context("r", shown))[0]))
        found["ips"].append(float(reward_E.sum() / CHANCE / ROUNDS))
        found["snips"].append(float(reward_E.sum() / shown))
    results = {f"defect_{name}": over_seeds(np.array(v)) for name, v in found.items()}
    flat = {"defect_true_rate": RATE, "defect_propensity": CHANCE}
    return flat | {k: v for name, result in results.items() for k, v in keys(name, result).items()}


def table(
    name: str,
    policies: Mapping[str, Mapping[str, Any]],
    world: World,
    *,
    rounds: int,
    seeds: int,
    against: str,
) -> dict[str, float]:
    """Regret, bias and what is saved, as flat keys."""
    played = simulate(policies, world, rounds=rounds, seeds=range(seeds))
    flat: dict[str, float] = {f"{name}_rounds": rounds, f"{name}_seeds": seeds}
    for policy in policies:
        start = f"{name}_{policy}"
        flat |= keys(f"{start}_regret", played.regret(policy))
        flat |= keys(f"{start}_bias", played.bias(policy))
        flat |= keys(f"{start}_worst", played.worst(policy))
        if policy != against:
            flat |= keys(f"{start}_saved", played.saved(policy, against=against))
        if DEFAULT in policies and policy != DEFAULT:
            flat |= keys(f"{start}_minus_default", played.saved(DEFAULT, against=policy))
    return flat


def main() -> None:
    """Command line."""
    args = common.parser(__doc__).parse_args()
    rounds, seeds = (5_000, 10) if args.quick else (50_000, 20)
    few = {"rounds": 300, "seeds": 3} if args.quick else {"rounds": 5_000, "seeds": 10}
    parts = {"rounds": rounds, "seeds": seeds, "against": "cycle"}
    result = {
        **defect(20),
        **table("stationary", POLICIES, StationaryWorld(), **parts),
        **table("drifting", POLICIES, DriftingWorld(), **parts),
        **table("ranked", POLICIES, RankedWorld(), **parts),
        **table("contextual", FEATURES, ContextualWorld(), **few, against="thompson"),
        **table("personal", VECTORS, PersonalWorld(), **few, against="thompson"),
    }
    common.emit(result, as_json=args.json)


if __name__ == "__main__":
    main()
