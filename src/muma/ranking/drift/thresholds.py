"""Thresholds from the reference itself: how large does each statistic get when nothing has changed?

Clusters of the reference (users) are thrown into blocks at random; a pair of windows of the sizes at
hand, drawn from the blocks with replacement, is a world without drift. Rows of a user stay together, so
their correlation is in the answer. Over many such pairs each statistic j is standardised,

    t_j = (s_j - mean_j) / deviation_j,   alarm when t_j > c,   c = (1 - rate) quantile of max over j of t_j

so that a whole check, over all features and kinds, gives a false alarm with probability `rate`.

Reference: Westfall and Young, "Resampling-based multiple testing", 1993 (single-step max-T); Efron
and Tibshirani, "An introduction to the bootstrap", 1993.

Shape: B resamples, G blocks, Q sums, J statistics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muma.ranking.drift.ruler import Ruler

_FIXED = 1e-6  # deviation of a statistic that never moves, but for rounding
_CHUNK = 64  # resamples together: some tens of MiB


@dataclass(frozen=True)
class Null:
    """What the statistics do without drift.

    Attributes:
        mean_J: mean of each (transformed) statistic.
        deviation_J: its standard deviation, held off zero.
        value_BJ: the values themselves, float32.
        top_B: largest t of each resample, ascending.
    """

    mean_J: np.ndarray
    deviation_J: np.ndarray
    value_BJ: np.ndarray
    top_B: np.ndarray

    def limit(self, rate: float) -> float:
        """c: the t above which a check alarms."""
        at = int(np.ceil((1 - rate) * (len(self.top_B) + 1))) - 1
        return float(self.top_B[min(at, len(self.top_B) - 1)])

    def t(self, value_J: np.ndarray) -> np.ndarray:
        """Standardised values; -inf where a statistic does not exist."""
        t_J = (value_J - self.mean_J) / self.deviation_J
        return np.where(np.isnan(t_J), -np.inf, t_J)

    def p_value(self, value_J: np.ndarray) -> np.ndarray:
        """Of each statistic on its own; NaN where it does not exist."""
        above_J = (self.value_BJ >= value_J.astype(np.float32)).sum(axis=0)
        p_J = (1 + above_J) / (len(self.value_BJ) + 1)
        return np.where(np.isnan(value_J), np.nan, p_J)

    def adjusted(self, t_J: np.ndarray) -> np.ndarray:
        """P-values that hold over the whole check."""
        above_J = len(self.top_B) - np.searchsorted(self.top_B, t_J, side="left")
        return np.where(np.isneginf(t_J), np.nan, (1 + above_J) / (len(self.top_B) + 1))


def vector(statistics: dict[str, np.ndarray]) -> np.ndarray:
    """All statistics in one row [..., J]; PSI by its root, whose tail is that of the others."""
    return np.concatenate(
        [np.sqrt(value) if kind == "psi" else value for kind, value in statistics.items()], axis=-1
    )


def simulate_null(
    ruler: Ruler,
    block_GQ: np.ndarray,
    draws: int,
    clusters: tuple[int, int],
    *,
    resamples: int,
    rng: np.random.Generator,
) -> Null:
    """Draw pairs of windows without drift.

    Args:
        ruler: what to measure.
        block_GQ: sums over the reference's blocks.
        draws: blocks in the current window; the reference has all G.
        clusters: how many clusters reference and current window have.
        resamples: pairs to draw.
        rng: the generator.
    """
    blocks = len(block_GQ)
    even_G = np.full(blocks, 1 / blocks)
    found = []
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        pair = [
            rng.multinomial(n, even_G, size=size).astype(np.float32) @ block_GQ
            for n in (blocks, draws)
        ]
        found.append(vector(ruler.statistics(*pair)))
    value_BJ = np.concatenate(found)
    mean_J = value_BJ.mean(axis=0)
    deviation_J = np.maximum(value_BJ.std(axis=0, ddof=1), _least(ruler, value_BJ, clusters))
    t_BJ = (value_BJ - mean_J) / deviation_J
    top_B = np.sort(np.where(np.isnan(t_BJ), -np.inf, t_BJ).max(axis=1))
    return Null(mean_J, deviation_J, value_BJ.astype(np.float32), top_B)


def _least(ruler: Ruler, value_BJ: np.ndarray, clusters: tuple[int, int]) -> np.ndarray:
    """Deviations below which resampling cannot see.

    What never happened among n clusters may still have a rate of 3 / n (the rule of three), so shares
    deviate at least as much as an event of that rate would. Of a PSI this is for constant features only.
    """
    n, m = clusters
    share = np.sqrt(min(3 / n, 1.0) * (1 / n + 1 / m))
    floor = {"psi": np.sqrt(share * max(np.log(1 / share), 1.0)), "missing": share, "ks": share}
    features = len(ruler.bins.edge_FE)
    sizes = dict.fromkeys(ruler.kinds[: 5 if ruler.part_bins is not None else 3], features)
    parts = [np.full(sizes.get(kind, 1), floor.get(kind, share * 1e-3)) for kind in ruler.kinds]
    least_J = np.concatenate(parts)
    # a root of a PSI that does vary knows its own deviation, and the floor would drown it
    varies_J = value_BJ.std(axis=0) > _FIXED
    least_J[:features] = np.where(varies_J[:features], 0.0, least_J[:features])
    return np.where(np.isnan(value_BJ).all(axis=0), np.nan, least_J)
