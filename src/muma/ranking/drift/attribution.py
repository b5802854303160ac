"""Drift of attributions: the frozen model has come to use its features otherwise.

    share(f) = mean |phi_f| / sum over g of mean |phi_g|
    W(f)     = integral of |F - G| over phi_f, over the reference's deviation of phi_f

Shape: F features, L slots of phi.
"""

from __future__ import annotations

import numpy as np

from muma.ranking.drift.ks import cumulative


def attribution_shares(absolute_F: np.ndarray) -> np.ndarray:
    """Each feature's share of all attribution, from sums of |phi| [..., F]; zeros stay zeros."""
    total = absolute_F.sum(axis=-1, keepdims=True)
    return absolute_F / np.where(total > 0, total, 1.0)


def wasserstein(reference_L: np.ndarray, current_L: np.ndarray, width_L: np.ndarray) -> np.ndarray:
    """1-Wasserstein distance along slots: float64 [...].

    Values count as spread evenly within their slot (so |F - G| is taken as a line between edges), and
    those outside the reference's range as lying at its ends.

    Args:
        reference_L: counts [..., L].
        current_L: counts [..., L].
        width_L: distance from each slot's upper edge to the next one's [..., L]; 0 where unused.
    """
    gap_L = cumulative(reference_L) - cumulative(current_L)
    height_L = np.abs(gap_L)
    return ((height_L[..., :-1] + height_L[..., 1:]) / 2 * width_L[..., :-1]).sum(axis=-1)
