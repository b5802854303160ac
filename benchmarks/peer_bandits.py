"""Bandits of MABWiser and Vowpal Wabbit; runs in the peers' environment only.

    python benchmarks/peer_bandits.py 100000

The number of arms of MABWiser's UCB1. Prints one flat JSON object, least CPU time of some runs each:

`mabwiser_ucb_predict_ms`, `mabwiser_ucb_update_ms`: `MAB(arms, UCB1)`, choosing the best of all arms and
learning one row; `mabwiser_linucb_1000x64_ms`: `MAB(arms, LinUCB)`, one decision among 1,000 arms, each
with a model of its own over 64 features; `mabwiser_thompson_200_ms`: one decision among 200 arms;
`vw_1000x64_ms`, `vw_200x64_ms`: `--cb_explore_adf --softmax`, one decision among 1,000 or 200 actions of 64
features each, read from text as VW does; `vw_update_ms`: learning from one decision among 200.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from importlib.metadata import version

import numpy as np
import vowpalwabbit
from mabwiser.mab import MAB, LearningPolicy


def best(work, repeats: int) -> float:
    """Least CPU seconds of some runs."""
    found = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        found = min(found, time.process_time() - start)
    return found


def mabwiser(n_arms: int) -> dict[str, float]:
    """UCB1 among many arms; LinUCB among 1,000; Thompson sampling among 200."""
    rng = np.random.default_rng(1)
    arms = list(range(n_arms))
    ucb = MAB(arms, LearningPolicy.UCB1(alpha=1.0))
    ucb.fit(arms, (rng.random(n_arms) < 0.1).astype(int).tolist())
    found = {
        "mabwiser_ucb_predict_ms": best(ucb.predict, 5) * 1e3,
        "mabwiser_ucb_update_ms": best(lambda: ucb.partial_fit([7], [1]), 3) * 1e3,
    }
    linear = MAB(list(range(1000)), LearningPolicy.LinUCB(alpha=0.5))
    x = rng.normal(size=(4000, 64))
    linear.fit(rng.integers(0, 1000, 4000).tolist(), rng.integers(0, 2, 4000).tolist(), x)
    found["mabwiser_linucb_1000x64_ms"] = best(lambda: linear.predict(x[:1]), 5) * 1e3
    thompson = MAB(list(range(200)), LearningPolicy.ThompsonSampling())
    thompson.fit(rng.integers(0, 200, 4000).tolist(), rng.integers(0, 2, 4000).tolist())
    found["mabwiser_thompson_200_ms"] = best(thompson.predict, 20) * 1e3
    return found


def example(n_actions: int, rng: np.random.Generator, label: str = "") -> str:
    """A request as VW's text: one action a line, 64 features each."""
    lines = []
    for action in range(n_actions):
        features = " ".join(f"f{f}:{v:.4f}" for f, v in enumerate(rng.normal(size=64)))
        lines.append(f"{label if action == 3 else ''}|a {features}")
    return "\n".join(lines)


def vw() -> dict[str, float]:
    """Softmax over a linear model, one decision and one update."""
    rng = np.random.default_rng(2)
    learner = vowpalwabbit.Workspace("--cb_explore_adf --softmax --lambda 10 --quiet")
    for _ in range(20):
        learner.learn(example(50, rng, "0:-1.0:0.1 "))
    found = {}
    for name, n_actions in (("vw_1000x64_ms", 1000), ("vw_200x64_ms", 200)):
        text = example(n_actions, rng)
        found[name] = best(lambda text=text: learner.predict(text), 10) * 1e3
    text = example(200, rng, "0:-1.0:0.1 ")
    found["vw_update_ms"] = best(lambda: learner.learn(text), 10) * 1e3
    return found


def main() -> None:
    """Command line."""
    warnings.filterwarnings("ignore")
    flags = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    flags.add_argument("arms", type=int, help="arms of MABWiser's UCB1")
    n_arms = flags.parse_args().arms
    result = {
        "mabwiser": version("mabwiser"),
        "vowpalwabbit": version("vowpalwabbit"),
        "mabwiser_arms": n_arms,
        **mabwiser(n_arms),
        **vw(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
