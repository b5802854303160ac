"""What a policy's games came to: regret and the bias of its own estimates, with intervals over seeds.

    regret(t) = sum over rounds and slots of examine_k (mean of the k-th best arm - mean of the shown arm)
    bias(t)   = mean over arms of (what the policy expects of the arm - the arm's true mean now)

Both use true means, not drawn rewards, which would only add noise.

Shape: S seeds, C checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from muma.errors import DataError
from muma.evaluation.result import Result


@dataclass(frozen=True)
class Play:
    """One policy in S games.

    Attributes:
        regret_SC: regret up to each checkpoint, in rewards.
        bias_SC: mean over arms of estimate minus truth, in rewards a look.
        worst_SC: largest |estimate - truth| over arms.
    """

    regret_SC: np.ndarray
    bias_SC: np.ndarray
    worst_SC: np.ndarray


@dataclass(frozen=True)
class Simulation:
    """Policies that met the same luck.

    Attributes:
        plays: name -> games.
        rounds_C: rounds played at each checkpoint; the last one is the end.
        seeds: of the games.
    """

    plays: Mapping[str, Play]
    rounds_C: np.ndarray
    seeds: tuple[int, ...]

    def regret(self, name: str) -> Result:
        """Mean regret at the end."""
        return over_seeds(self.plays[name].regret_SC[:, -1], label=f"regret of {name}")

    def bias(self, name: str) -> Result:
        """Mean bias at the end."""
        return over_seeds(self.plays[name].bias_SC[:, -1], label=f"bias of {name}")

    def worst(self, name: str) -> Result:
        """Largest error of an arm's estimate at the end."""
        return over_seeds(self.plays[name].worst_SC[:, -1], label=f"worst error of {name}")

    def saved(self, name: str, *, against: str) -> Result:
        """Regret of `against` minus that of `name`, paired by seed: above 0, `name` is ahead."""
        saved_S = self.plays[against].regret_SC[:, -1] - self.plays[name].regret_SC[:, -1]
        return over_seeds(saved_S, label=f"regret of {against} saved by {name}")

    def curves(self, name: str) -> dict[str, np.ndarray]:
        """What is drawn: regret and bias at each checkpoint, with intervals; float64 [C] each."""
        play = self.plays[name]
        found = {"rounds": self.rounds_C}
        for what, value_SC in (("regret", play.regret_SC), ("bias", play.bias_SC)):
            ends = [over_seeds(value_S) for value_S in value_SC.T]
            found[what] = np.array([end.value for end in ends])
            found[f"{what}_low"] = np.array([end.low for end in ends])
            found[f"{what}_high"] = np.array([end.high for end in ends])
        return found


def over_seeds(value_S: np.ndarray, *, level: float = 0.95, label: str = "") -> Result:
    """Mean over seeds with Student's t interval, which suits some twenty independent games.

    Raises:
        DataError: there is no seed, or a value is NaN.

    Example:
        >>> found = over_seeds(np.array([1.0, 2.0, 3.0]))
        >>> found.value, round(found.low, 3), round(found.high, 3)
        (2.0, -0.484, 4.484)
    """
    value_S = np.asarray(value_S, np.float64)
    if not len(value_S) or np.isnan(value_S).any():
        raise DataError(f"cannot average {len(value_S)} games with NaN or none; play one at least")
    mean, n = float(value_S.mean()), len(value_S)
    half = float("nan")
    if n > 1:
        quantile = float(student.ppf(0.5 + level / 2, n - 1))
        half = float(quantile * value_S.std(ddof=1) / np.sqrt(n))
    return Result(mean, mean - half, mean + half, n=n, effective_n=float(n), label=label)
