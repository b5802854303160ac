"""Watch time with the bias of duration removed, and how much of it a list finds.

Long videos are watched longer in seconds and less far in percent, so that both raw watch time and
completion rate rank videos by their duration. The debiased gain is the quantile of the watch time
among views of videos of about the same duration (D2Q: Zhan et al., Deconfounding Duration Bias in
Watch-time Prediction for Video Recommendation, KDD 2022):

    q(w, d) = (share of training views in the bin of d with watch < w) + half the share with = w

Shape: N views, M duration bins, B users, K list length. Times are in milliseconds.
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.errors import DataError, NotFittedError
from muma.evaluation.metric import RankedLists, dims, lookup

Reduce = Literal["sum", "mean", "share"]


def completion(watch_ms_N: np.ndarray, duration_ms_N: np.ndarray) -> np.ndarray:
    """Watch time over duration, capped at 1; NaN where either is missing or the duration is 0.

    Example:
        >>> completion(np.array([5.0, 30.0, 5.0]), np.array([10.0, 20.0, 0.0])).tolist()
        [0.5, 1.0, nan]
    """
    duration_N = np.asarray(duration_ms_N, dtype=np.float64)
    safe_N = np.where(duration_N > 0, duration_N, np.nan)
    return np.minimum(np.asarray(watch_ms_N, dtype=np.float64) / safe_N, 1.0)


class DurationQuantileConfig(Config):
    """Options of `DurationQuantile`; `n_bins` duration bins of equal mass."""

    n_bins: int = Field(default=20, ge=1)


class DurationQuantile:
    """Quantile of a watch time among training views of videos of about the same duration.

    Example:
        >>> model = DurationQuantile(DurationQuantileConfig(n_bins=2))
        >>> _ = model.fit(np.array([1, 3, 10, 30]), np.array([5, 5, 50, 50]))
        >>> model.transform(np.array([3, 10, 0]), np.array([5, 50, 50])).tolist()
        [0.75, 0.25, 0.0]
    """

    def __init__(self, config: DurationQuantileConfig | None = None) -> None:
        self.config = config or DurationQuantileConfig()
        self._edge_M: np.ndarray | None = None
        self._watch_ms: list[np.ndarray] = []

    def fit(self, watch_ms_N: np.ndarray, duration_ms_N: np.ndarray) -> Self:
        """Learn the bins and their watch times from training views; fitting again starts anew.

        Views with a missing value or without a positive duration are left out. Views of one
        duration are never split over two bins, so that there may be fewer bins than asked for.

        Raises:
            DataError: lengths differ, or no view is usable.
        """
        watch_N, duration_N, usable_N = _views(watch_ms_N, duration_ms_N)
        if not usable_N.any():
            raise DataError("no view has both a watch time and a positive duration to fit on")
        watch_N, duration_N = watch_N[usable_N], duration_N[usable_N]
        level_M = np.arange(1, self.config.n_bins) / self.config.n_bins
        self._edge_M = np.unique(np.quantile(duration_N, level_M, method="higher"))
        bin_N = np.searchsorted(self._edge_M, duration_N, side="right")
        self._watch_ms = [
            np.sort(watch_N[bin_N == number]) for number in range(len(self._edge_M) + 1)
        ]
        return self

    def transform(self, watch_ms_N: np.ndarray, duration_ms_N: np.ndarray) -> np.ndarray:
        """Quantile of each view, in [0, 1]; NaN where a value is missing or the duration is 0.

        Raises:
            NotFittedError: `fit` was not called.
            DataError: lengths differ.
        """
        if self._edge_M is None:
            raise NotFittedError("DurationQuantile was not fitted; call fit on training views")
        watch_N, duration_N, usable_N = _views(watch_ms_N, duration_ms_N)
        bin_N = np.searchsorted(self._edge_M, duration_N, side="right")
        quantile_N = np.full(len(watch_N), np.nan)
        for number, known in enumerate(self._watch_ms):
            here_N = usable_N & (bin_N == number)
            below_N = np.searchsorted(known, watch_N[here_N], side="left")
            up_to_N = np.searchsorted(known, watch_N[here_N], side="right")
            quantile_N[here_N] = (below_N + up_to_N) / (2 * len(known)) if len(known) else np.nan
        return quantile_N


def _views(
    watch_ms_N: np.ndarray, duration_ms_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    watch_N = np.asarray(watch_ms_N, dtype=np.float64)
    duration_N = np.asarray(duration_ms_N, dtype=np.float64)
    if watch_N.ndim != 1 or watch_N.shape != duration_N.shape:
        raise DataError(f"watch {watch_N.shape} and duration {duration_N.shape} must be equal [N]")
    return watch_N, duration_N, np.isfinite(watch_N) & np.isfinite(duration_N) & (duration_N > 0)


def watch_gain(lists: RankedLists, *, k: int, reduce: Reduce = "sum") -> np.ndarray:
    """Debiased watch gain that the first `k` slots find, for each user.

    Reads `lists.context.watch_gain`, whose stored entries are the items the user watched. An item
    that is listed but was not watched adds nothing.

    - `"sum"`: sum of the gains of the watched items in the list; 0 if it holds none.
    - `"mean"`: their mean; NaN if the list holds none.
    - `"share"`: the sum over the largest sum that k slots can hold, in [0, 1]; NaN if that is 0.

    NaN for a user who watched nothing, whatever the reduction.

    Raises:
        DataError: the context has no watch gains, or of another shape than the truth.

    Example:
        >>> from scipy.sparse import csr_array
        >>> from muma.evaluation.metric import Context
        >>> gains = csr_array([[0.0, 0.5, 0.75]])
        >>> lists = RankedLists(np.array([[0, 2]]), gains, Context(watch_gain=gains))
        >>> watch_gain(lists, k=2).tolist(), watch_gain(lists, k=2, reduce="share").tolist()
        ([0.75], [0.6])
    """
    gains = lists.context.watch_gain
    if gains is None or dims(gains) != dims(lists.truth):
        raise DataError("watch_gain needs context.watch_gain, of the shape of the truth [B, I]")
    found_BK = lookup(gains, lists.item_BK[:, :k])
    sum_B = np.nansum(found_BK, axis=1)
    if reduce == "mean":
        count_B = np.count_nonzero(~np.isnan(found_BK), axis=1)
        sum_B = np.where(count_B > 0, sum_B / np.maximum(count_B, 1), np.nan)
    elif reduce == "share":
        size_B = np.diff(gains.indptr)
        gain = np.asarray(gains.data, dtype=np.float64)
        row = np.repeat(np.arange(len(size_B)), size_B)
        best = gain[np.lexsort((-gain, row))]
        rank = np.arange(len(best)) - np.repeat(gains.indptr[:-1], size_B)
        ideal_B = np.bincount(row[rank < k], weights=best[rank < k], minlength=len(sum_B))
        sum_B = np.where(ideal_B > 0, sum_B / np.where(ideal_B > 0, ideal_B, 1.0), np.nan)
    return np.where(np.diff(gains.indptr) > 0, sum_B, np.nan)


class WatchGainConfig(Config):
    """Options of `WatchGain`: depth `k`, and how the found gains are put together."""

    k: int = Field(default=10, ge=1)
    reduce: Reduce = "sum"


class WatchGain:
    """Debiased watch gain@k, see `watch_gain`; reads `context.watch_gain`."""

    needs: tuple[str, ...] = ("watch_gain",)

    def __init__(self, config: WatchGainConfig | None = None) -> None:
        self.config = config or WatchGainConfig()
        self.k = self.config.k
        self.name = f"watch_gain-{self.config.reduce}@{self.k}"

    def per_user(self, lists: RankedLists) -> np.ndarray:
        """Watch gain of each user [B]."""
        return watch_gain(lists, k=self.k, reduce=self.config.reduce)
