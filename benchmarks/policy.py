"""How fast policies choose and learn, on one core, next to MABWiser and Vowpal Wabbit.

    python benchmarks/policy.py --json
    python benchmarks/policy.py --quick --json     # without the peers

Every figure is the least CPU time of many runs with one thread, ours and the peers': what an idle core
takes, also where others work on the machine.

1. `ucb_top20_1m_ms`: the 20 best of 1,000,000 arms by the index of eq. 12, in `kernels.top_index`;
   `ucb_top20_1m_numpy_ms`: the same by NumPy (index, argpartition, sort); both give the same arms;
   `update_us`: one reward into one of these arms (`kernels.update_arm`), `learn_one_us`: through
   `UCB.learn`, with all its checks;
2. `linucb_1000x64_ms`: LinUCB's index of 1,000 candidates with 64 features, from raw features;
   `linucb_learn_one_ms`: one feedback and the renewed model;
3. `*_choose_ms`: a whole decision of 20 slots out of 200 candidates, propensities included: Thompson
   by quadrature, softmax (Plackett-Luce), stochastic UCB, LinUCB and LinTS (64 features), neural-linear
   (vector of 64);
4. `ips_ms`, `dr_ms`: off-policy estimates of 10,000 rounds with 80 actions, checks included;
   `ips_ratio_obp`, `dr_ratio_obp`: obp's 13 ms (IPW) and 16 ms (DR) over ours. obp does not install on
   Python 3.11, so that its times were measured elsewhere, on another machine: a guide, not a race;
5. peers in the same run (`peer_bandits.py`; only where their environment is there): `*_ratio` is their time
   over ours for the nearest job: `mabwiser_ucb_ratio` one choice among 100,000 arms (ours lists 20),
   `mabwiser_update_ratio` one row (ours through `UCB.learn`), `mabwiser_linucb_ratio` and
   `vw_1000x64_ratio` 1,000 candidates of 64 features, `vw_200x64_ratio` 200 of them against LinUCB
   drawing one slot, `mabwiser_thompson_ratio` one of 200 arms against one slot with its propensity.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import common
from muma.evaluation.off_policy.doubly_robust import DoublyRobust
from muma.evaluation.off_policy.estimator import view
from muma.evaluation.off_policy.ips import IPS
from muma.evaluation.off_policy.logged import Logged
from muma.policy.kernels import top_index, update_arm
from muma.policy.lints import LinTS
from muma.policy.linucb import LinUCB
from muma.policy.neural_linear import NeuralLinear
from muma.policy.policy import Context, Feedback, Policy
from muma.policy.softmax import SoftmaxPolicy
from muma.policy.stochastic_ucb import StochasticUCB
from muma.policy.thompson import Thompson
from muma.policy.ucb import UCB
from muma.ranking.ranker import Slate
from muma.rng import derive

WIDTH, ITEMS = 64, 5000
OBP_IPW_MS, OBP_DR_MS = 13.0, 16.0
PEER_ARMS = 100_000
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def best_ms(work: Callable[[], Any], repeats: int) -> float:
    """Least CPU time of some runs after a first one, in milliseconds."""
    work()
    found = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        found = min(found, time.process_time() - start)
    return found * 1e3


def arms(repeats: int, n_arms: int) -> dict[str, float]:
    """A list of the best of many arms, and one update; asserts that the list is NumPy's."""
    rng = derive(1, "arms")
    count_A = rng.uniform(1, 1000, n_arms)  # discounted counts: no ties
    sum_A = rng.random(n_arms) * count_A
    mean_A, width_A = sum_A / count_A, 1 / np.sqrt(count_A)
    scale = float(np.sqrt(2 * np.log(count_A.sum())))

    def by_numpy() -> np.ndarray:
        index_A = mean_A + scale * width_A
        some = np.argpartition(-index_A, 20)[:20]
        return some[np.lexsort((some, -index_A[some]))][:20]

    np.testing.assert_array_equal(top_index(mean_A, width_A, scale, 20)[0], by_numpy())
    update_arm(count_A, sum_A, mean_A, width_A, 0, 1.0)
    arm_M = rng.integers(0, n_arms, 1000).tolist()

    def updates() -> None:
        for arm in arm_M:
            update_arm(count_A, sum_A, mean_A, width_A, arm, 1.0)

    return {
        "top_ms": best_ms(lambda: top_index(mean_A, width_A, scale, 20), repeats),
        "numpy_ms": best_ms(by_numpy, max(3, repeats // 10)),
        "update_us": best_ms(updates, 20),  # a thousand of them in ms is one in us
    }


def feedback(n: int, rng: np.random.Generator) -> Feedback:
    """Rewards of random items with features and vectors."""
    return Feedback(
        rng.integers(0, ITEMS, n),
        (rng.random(n) < 0.2).astype(np.float64),
        np.sort(rng.integers(0, 10**9, n)),
        rng.uniform(0.01, 1, n),
        value_EF=rng.normal(size=(n, WIDTH)).astype(np.float32),
        vector_ED=rng.normal(size=(n, WIDTH)).astype(np.float32),
    )


def request(n: int, rng: np.random.Generator) -> tuple[Slate, Context]:
    """Candidates, and who asks."""
    value_NF = rng.normal(size=(n, WIDTH)).astype(np.float32)
    columns = tuple(f"x{f}" for f in range(WIDTH))
    slate = Slate.plain(rng.permutation(ITEMS)[:n], rng.normal(size=n), value_NF, columns)
    return slate, Context("r1", 10**9, vector_D=rng.normal(size=WIDTH).astype(np.float32))


def policies(repeats: int) -> dict[str, float]:
    """Decisions and updates of the classes."""
    rng = derive(2, "policies")
    past, one = feedback(20_000, rng), feedback(1, rng)
    slate, context = request(200, rng)
    found = {}
    named: dict[str, Policy] = {
        "thompson": Thompson(),
        "softmax": SoftmaxPolicy(),
        "stochastic_ucb": StochasticUCB(),
        "linucb": LinUCB(),
        "lints": LinTS(),
        "neural_linear": NeuralLinear(),
    }
    for name, policy in named.items():
        policy.learn(past)
        draw = derive(3, name)
        found[f"{name}_choose_ms"] = best_ms(
            lambda p=policy, d=draw: p.choose(slate, context, 20, d), repeats
        )
    for name in ("thompson", "linucb"):
        policy, draw = named[name], derive(4, name)
        found[f"{name}_one_slot_ms"] = best_ms(
            lambda p=policy, d=draw: p.choose(slate, context, 1, d), repeats
        )
    linucb, ucb = LinUCB(), UCB()
    linucb.learn(past)
    ucb.learn(past)
    many, _ = request(1000, rng)
    found["linucb_1000x64_ms"] = best_ms(lambda: linucb.index(many), repeats)

    def renewed() -> None:
        linucb.learn(one)
        linucb.statistics.posterior(WIDTH)

    found["linucb_learn_one_ms"] = best_ms(renewed, repeats)
    found["learn_one_us"] = best_ms(lambda: ucb.learn(one), 10 * repeats) * 1e3
    return found


def off_policy(repeats: int) -> dict[str, float]:
    """IPS and DR of 10,000 rounds and 80 actions."""
    rng = derive(5, "off-policy")
    n, n_actions = 10_000, 80
    target_BA = rng.dirichlet(np.ones(n_actions), n)
    prediction_BA = rng.random((n, n_actions))
    logged = Logged(
        rng.integers(0, n_actions, n),
        (rng.random(n) < 0.1).astype(np.float64),
        np.full(n, 1 / n_actions),
        n_actions,
    )
    ips = best_ms(lambda: IPS().terms(view(logged, target_BA)).value, repeats)
    dr = best_ms(
        lambda: DoublyRobust().terms(view(logged, target_BA, prediction_BA=prediction_BA)).value,
        repeats,
    )
    return {
        "ips_ms": ips,
        "dr_ms": dr,
        "ips_ratio_obp": OBP_IPW_MS / ips,
        "dr_ratio_obp": OBP_DR_MS / dr,
    }


def peers(ours: dict[str, float]) -> dict[str, Any]:
    """MABWiser and Vowpal Wabbit, and how many times longer they take."""
    script = Path(__file__).parent / "peer_bandits.py"
    theirs = common.in_fresh_process(script, str(PEER_ARMS), python=common.PEERS)
    few = arms(50, PEER_ARMS)
    linucb = ours["linucb_1000x64_ms"]
    return {
        **theirs,
        "ucb_top20_100k_ms": few["top_ms"],
        "mabwiser_ucb_ratio": theirs["mabwiser_ucb_predict_ms"] / few["top_ms"],
        "mabwiser_update_ratio": theirs["mabwiser_ucb_update_ms"] * 1e3 / ours["learn_one_us"],
        "mabwiser_linucb_ratio": theirs["mabwiser_linucb_1000x64_ms"] / linucb,
        "mabwiser_thompson_ratio": theirs["mabwiser_thompson_200_ms"]
        / ours["thompson_one_slot_ms"],
        "vw_1000x64_ratio": theirs["vw_1000x64_ms"] / linucb,
        "vw_200x64_ratio": theirs["vw_200x64_ms"] / ours["linucb_one_slot_ms"],
    }


def main() -> None:
    """Command line."""
    args = common.parser(__doc__).parse_args()
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):  # they are read as NumPy loads
        told = {**os.environ, **dict.fromkeys(ONE_THREAD, "1")}
        os.execve(sys.executable, [sys.executable, *sys.argv], told)
    repeats = 10 if args.quick else 100
    top = arms(repeats, 1_000_000)
    result: dict[str, Any] = {
        "ucb_top20_1m_ms": top["top_ms"],
        "ucb_top20_1m_numpy_ms": top["numpy_ms"],
        "update_us": top["update_us"],
        **policies(repeats),
        **off_policy(repeats),
    }
    if not args.quick and common.PEERS.exists():
        result |= peers(result)
    common.emit(result, as_json=args.json)


if __name__ == "__main__":
    main()
