"""Colours of explanations: a colour a group, and a scale from low to high values.

Okabe and Ito's colours, told apart with any kind of colour vision; blue to red by way of grey.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

OKABE_ITO = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6d1f", "#5b5ea6",
             "#44803f", "#a23b57")  # fmt: skip
OTHER, MISSING = "#7a8794", "#c3cad1"
UP, DOWN = "#d55e00", "#0072b2"
SCALE = ("#2166ac", "#a7a9b4", "#c8352b")
"""Low, middle, high."""


def group_colours(groups: Sequence[str]) -> dict[str, str]:
    """Group -> colour, in the order in which groups first come; `other`, and those past ten, grey.

    Example:
        >>> group_colours(["item", "other", "item", "social"])
        {'item': '#0072b2', 'other': '#7a8794', 'social': '#e69f00'}
    """
    found, left = {}, list(OKABE_ITO)
    for group in dict.fromkeys(groups):
        found[group] = left.pop(0) if group != "other" and left else OTHER
    return found


def shades(value_N: np.ndarray) -> np.ndarray:
    """Values as shades in [0, 1]: 0 at the 5th percentile, 1 at the 95th; NaN stays NaN.

    Example:
        >>> shades(np.array([0.0, 5.0, np.nan, 10.0])).round(2).tolist()
        [0.0, 0.5, nan, 1.0]
    """
    value_N = np.asarray(value_N, np.float64)
    known_N = np.isfinite(value_N)
    if not known_N.any():
        return np.full(len(value_N), np.nan)
    low, high = np.percentile(value_N[known_N], [5, 95])
    if high <= low:
        low, high = value_N[known_N].min(), value_N[known_N].max()
    if high <= low:
        return np.where(known_N, 0.5, np.nan)
    return np.where(known_N, np.clip((value_N - low) / (high - low), 0.0, 1.0), np.nan)
