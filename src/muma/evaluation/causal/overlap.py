"""Overlap: is there somebody to compare with, and how few carry the answer?

Shape: N units, S slots of a histogram over the log-odds of treatment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logit

from muma.evaluation.causal.weighting import Estimand, effective_size
from muma.evaluation.metrics.calibration import calibration_error

_SLOTS = 30
_FAR = 12.0  # log-odds beyond which slots are not told apart


@dataclass(frozen=True)
class Overlap:
    """What the scores and the weights look like.

    Attributes:
        edge_S: edges of the slots in log-odds, one more than slots.
        treated_S, untreated_S: share of each group in each slot.
        treated_after_S, untreated_after_S: the same with the design's weights.
        treated_effective, untreated_effective: Kish's effective sizes with those weights.
        treated, untreated: units of each group.
        outside: share of the units asked about whose score lies beyond every score of the other group.
        largest_share: largest weight of one unit, as a share of its group's.
        calibration_error: of the scores, 15 bins of equal mass; in sample unless cross-fitted.
        doubts: what a reader must know, in words; empty if nothing.
    """

    edge_S: np.ndarray
    treated_S: np.ndarray
    untreated_S: np.ndarray
    treated_after_S: np.ndarray
    untreated_after_S: np.ndarray
    treated_effective: float
    untreated_effective: float
    treated: int
    untreated: int
    outside: float
    largest_share: float
    calibration_error: float
    doubts: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data, without the histograms."""
        skip = {"edge_S", "treated_S", "untreated_S", "treated_after_S", "untreated_after_S"}
        plain = {key: value for key, value in vars(self).items() if key not in skip}
        return {**plain, "doubts": list(self.doubts)}


def overlap(
    score_N: np.ndarray, treated_N: np.ndarray, weight_N: np.ndarray, estimand: Estimand
) -> Overlap:
    """Describe overlap.

    Args:
        score_N: P(treated), in (0, 1).
        treated_N: who was treated.
        weight_N: the design's weights, 0 for units left out.
        estimand: of whom the effect is; the doubts are about them.

    Example:
        >>> score = np.array([0.5, 0.5, 0.5, 0.9])
        >>> found = overlap(score, np.array([0, 0, 1, 1], bool), np.ones(4), "att")
        >>> found.outside, found.untreated_effective
        (0.5, 2.0)
    """
    odds_N = np.clip(logit(score_N), -_FAR, _FAR)
    edge_S = np.linspace(odds_N.min() - 1e-9, odds_N.max() + 1e-9, _SLOTS + 1)
    one, zero = weight_N[treated_N], weight_N[~treated_N]
    odds1, odds0 = odds_N[treated_N], odds_N[~treated_N]
    sizes = (effective_size(one), effective_size(zero))
    largest = float(max(one.max() / one.sum(), zero.max() / zero.sum()))
    outside = _outside(score_N, treated_N, estimand)
    return Overlap(
        edge_S=edge_S,
        treated_S=_shares(odds1, np.ones(len(odds1)), edge_S),
        untreated_S=_shares(odds0, np.ones(len(odds0)), edge_S),
        treated_after_S=_shares(odds1, one, edge_S),
        untreated_after_S=_shares(odds0, zero, edge_S),
        treated_effective=sizes[0],
        untreated_effective=sizes[1],
        treated=len(odds1),
        untreated=len(odds0),
        outside=outside,
        largest_share=largest,
        calibration_error=calibration_error(treated_N.astype(np.float64), score_N, bins="mass"),
        doubts=_doubts(outside, largest, sizes, estimand),
    )


def _outside(score_N: np.ndarray, treated_N: np.ndarray, estimand: Estimand) -> float:
    """Share of the units asked about that nobody of the other group brackets."""
    asked_N = treated_N if estimand == "att" else np.ones(len(treated_N), bool)
    beyond_N = np.zeros(len(treated_N), bool)
    for group_N in (treated_N, ~treated_N):
        other = score_N[~group_N]
        beyond_N |= group_N & ((score_N < other.min()) | (score_N > other.max()))
    return float(beyond_N[asked_N].mean())


def _shares(odds_n: np.ndarray, weight_n: np.ndarray, edge_S: np.ndarray) -> np.ndarray:
    return np.histogram(odds_n, edge_S, weights=weight_n)[0] / weight_n.sum()


def _doubts(
    outside: float, largest: float, sizes: tuple[float, float], estimand: Estimand
) -> tuple[str, ...]:
    found = []
    if outside > 0.05:
        who = "treated units" if estimand == "att" else "units"
        found.append(
            f"{outside:.1%} of the {who} have a score beyond every score of the other group: their "
            "comparison is extrapolation; trim, set a caliper or ask for the overlap (ato)"
        )
    if largest > 0.1:
        found.append(f"one unit carries {largest:.1%} of its group's weight")
    if min(sizes) < 30:
        found.append(
            f"the answer rests on an effective {min(sizes):.0f} units of one group; normal intervals are "
            "rough below 30"
        )
    return tuple(found)
