"""The small sample of the Open Bandit Dataset: two logs of two policies, and the second rebuilt.

Saito et al., NeurIPS Datasets and Benchmarks 2021 (CC BY 4.0). One campaign was shown by a uniform
policy for one half of the users and by Bernoulli Thompson sampling with fixed Beta priors for the
other, so that the value of the second, estimated from the log of the first, can be looked up.

Shape: B rounds, A items, K = 3 positions, F features of the user, G features of the item.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
from scipy.special import betainc
from scipy.stats import beta as beta_law

from muma.evaluation.off_policy.logged import Logged

SLOTS = 3


def read_log(root: Path, policy: str, campaign: str, *, all_codes: bool = True) -> Logged:
    """The rounds of a policy (`"random"`, `"bts"`) in a campaign (`"all"`, `"men"`).

    The context is one column a code of the user; without `all_codes` the first code of each column of
    the file has none, as in the published study.
    """
    table = pl.read_csv(root / policy / campaign / f"{campaign}.csv.gz")
    columns = table.select(pl.col("^user_feature_.*$"))
    users = columns.to_dummies()
    if not all_codes:
        users = users.drop(f"{c.name}_{c.min()}" for c in columns)
    return Logged(
        action_B=table["item_id"].to_numpy(),
        reward_B=table["click"].to_numpy().astype(np.float64),
        propensity_B=table["propensity_score"].to_numpy(),
        n_actions=int(read_items(root, campaign).shape[0]),
        position_B=table["position"].to_numpy() - 1,
        context_BF=users.to_numpy().astype(np.float32),
    )


def read_items(root: Path, campaign: str) -> np.ndarray:
    """One number and three codes an item, in the order of obp's own reader; float64 [A, 4]."""
    table = pl.read_csv(root / "random" / campaign / "item_context.csv.gz").sort("item_id")
    codes = [
        np.unique(table[f"item_feature_{i}"].to_numpy(), return_inverse=True)[1] for i in (1, 2, 3)
    ]
    return np.column_stack([table["item_feature_0"].to_numpy(), *codes]).astype(np.float64)


def read_prior(root: Path, campaign: str) -> tuple[np.ndarray, np.ndarray]:
    """The Beta priors of the production policy: alpha and beta, float64 [A] each."""
    text = (root / "prior_bts.yaml").read_text(encoding="utf-8")
    prior = json.loads(re.sub(r"(\w+):", r'"\1":', text))[campaign]
    return np.array(prior["alpha"]), np.array(prior["beta"])


def sampled_policy(
    alpha_A: np.ndarray, beta_A: np.ndarray, *, draws: int = 100_000, seed: int = 12345
) -> np.ndarray:
    """Probability of each item in each position by Monte Carlo, float64 [K, A].

    With 100,000 draws and seed 12345 of NumPy's legacy generator these are the published study's.
    """
    rng = np.random.RandomState(seed)
    count_KA = np.zeros((SLOTS, len(alpha_A)))
    for _ in range(draws):
        count_KA[np.arange(SLOTS), rng.beta(alpha_A, beta_A).argsort()[::-1][:SLOTS]] += 1
    return count_KA / draws


def exact_policy(alpha_A: np.ndarray, beta_A: np.ndarray, *, points: int = 40_000) -> np.ndarray:
    """The same by quadrature, float64 [K, A].

    P(item a is k-th) = integral of its density times the chance that exactly k - 1 others are above:
    elementary symmetric sums of the others' odds of being above.
    """
    right = float(beta_law.ppf(1 - 1e-12, alpha_A, beta_A).max())
    x_X = np.linspace(0, right, points + 1)[1:]
    below_AX = np.maximum(betainc(alpha_A[:, None], beta_A[:, None], x_X), 1e-300)
    density_AX = beta_law.pdf(x_X, alpha_A[:, None], beta_A[:, None])
    log_AX = np.log(below_AX)
    none_AX = density_AX * np.exp(log_AX.sum(axis=0) - log_AX)
    odds_AX = (1 - below_AX) / below_AX
    one_AX = odds_AX.sum(axis=0) - odds_AX
    with np.errstate(over="ignore", invalid="ignore"):
        two_AX = (one_AX**2 - ((odds_AX**2).sum(axis=0) - odds_AX**2)) / 2
        terms = [none_AX, none_AX * one_AX, none_AX * two_AX]
    return np.array([np.trapezoid(np.nan_to_num(t, posinf=0.0), x_X, axis=1) for t in terms])
