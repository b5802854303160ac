"""What is measured of two windows, as functions of sums over rows: so that resampling is a product.

    kind         value                                              of
    psi          population stability index, coarse bins            feature
    missing      |change of the share of missing values|            feature
    ks           Kolmogorov-Smirnov distance; not of categories     feature
    share        |change of the share of attribution|               feature
    wasserstein  distance of attributions / reference deviation     feature
    label        |change of the label's rate|                       window
    residual     |change of mean (y - p)|                           window
    slope        |change of mean (y - p) z|, z scaled log-odds      window
    error        rise of the expected calibration error             window

The changes of `residual` and `slope` are the scores of a logistic recalibration's two parameters.

Shape: N rows, F features, L slots, C coarse bins, P bins of probability, Q sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muma.ranking.drift.attribution import attribution_shares, wasserstein
from muma.ranking.drift.bins import Bins, fit_bins
from muma.ranking.drift.calibration import expected_calibration_error, log_odds
from muma.ranking.drift.ks import ks_from_counts
from muma.ranking.drift.psi import psi
from muma.ranking.drift.window import Window

VALUE_KINDS = ("psi", "missing", "ks")
PART_KINDS = ("share", "wasserstein")
WINDOW_KINDS = ("label", "residual", "slope", "error")


@dataclass(frozen=True)
class Ruler:
    """Where values, attributions and probabilities are cut, as the reference taught.

    Attributes:
        bins: slots of feature values.
        part_bins: slots of attributions, or None.
        part_scale_F: the reference's deviation of each attribution, or None.
        edge_P: inner edges of the bins of probability, or None.
        margin_2: mean and deviation of the reference's log-odds, or None.
    """

    bins: Bins
    part_bins: Bins | None
    part_scale_F: np.ndarray | None
    edge_P: np.ndarray | None
    margin_2: np.ndarray | None

    @property
    def kinds(self) -> tuple[str, ...]:
        """What this ruler measures."""
        return (
            *VALUE_KINDS,
            *(PART_KINDS if self.part_bins is not None else ()),
            *(WINDOW_KINDS if self.edge_P is not None else ()),
        )

    def sums(self, window: Window, block_N: np.ndarray, blocks: int) -> np.ndarray:
        """Sums over the rows of each block: float32 [G, Q]."""
        parts = [_histogram(self.bins, window.value_NF, block_N, blocks)]
        if self.part_bins is not None and window.part_NF is not None:
            parts.append(_histogram(self.part_bins, window.part_NF, block_N, blocks))
            parts.append(_by_block(np.abs(window.part_NF), block_N, blocks))
        if self.edge_P is not None and window.probability_N is not None:
            parts.append(self._outcomes(window, block_N, blocks))
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def _outcomes(self, window: Window, block_N: np.ndarray, blocks: int) -> np.ndarray:
        chance_N, label_N = window.probability_N, window.label_N
        if self.edge_P is None or self.margin_2 is None or chance_N is None or label_N is None:
            return np.zeros((blocks, 0))
        bins = len(self.edge_P) + 1
        cell_N = block_N * bins + np.searchsorted(self.edge_P, chance_N, side="left")
        z_N = (log_odds(chance_N) - self.margin_2[0]) / self.margin_2[1]
        sums = [
            np.bincount(cell_N, weights=weight_N, minlength=blocks * bins).reshape(blocks, bins)
            for weight_N in (np.ones(len(label_N)), label_N, chance_N)
        ]
        slope_G = np.bincount(block_N, weights=(label_N - chance_N) * z_N, minlength=blocks)
        return np.concatenate([*sums, slope_G[:, None]], axis=1)

    def statistics(self, reference_Q: np.ndarray, current_Q: np.ndarray) -> dict[str, np.ndarray]:
        """Each kind's values: float64 [..., F], or [..., 1] of a window; leading axes are kept."""
        was, now = self.split(reference_Q), self.split(current_Q)
        found = self._of_values(was["value"], now["value"])
        if self.part_bins is not None:
            found |= self._of_parts(was, now)
        if self.edge_P is not None:
            found |= _of_outcomes(was, now)
        return found

    def _of_values(self, was_FL: np.ndarray, now_FL: np.ndarray) -> dict[str, np.ndarray]:
        fold_FLC = np.eye(self.bins.coarse)[self.bins.coarse_FL]
        missing = [c[..., -1] / np.maximum(c.sum(axis=-1), 1) for c in (was_FL, now_FL)]
        ks_F = ks_from_counts(was_FL[..., :-1], now_FL[..., :-1])
        return {
            "psi": psi(_fold(was_FL, fold_FLC), _fold(now_FL, fold_FLC)),
            "missing": np.abs(missing[1] - missing[0]),
            "ks": np.where(self.bins.category_F, np.nan, ks_F),
        }

    def _of_parts(
        self, was: dict[str, np.ndarray], now: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        if self.part_bins is None or self.part_scale_F is None:
            return {}
        edge_FE = self.part_bins.edge_FE
        width_FL = np.zeros(self.part_bins.coarse_FL.shape)
        with np.errstate(invalid="ignore"):
            step_FE = np.diff(edge_FE, axis=1)
        width_FL[:, : edge_FE.shape[1] - 1] = np.where(np.isfinite(step_FE), step_FE, 0.0)
        width_FL /= np.where(self.part_scale_F > 0, self.part_scale_F, 1.0)[:, None]
        shares = [attribution_shares(sums["absolute"]) for sums in (was, now)]
        return {
            "share": np.abs(shares[1] - shares[0]),
            "wasserstein": wasserstein(was["part"], now["part"], width_FL),
        }

    def split(self, sum_Q: np.ndarray) -> dict[str, np.ndarray]:
        """Cut the sums into their kinds, in the order of `sums`."""
        features, head = len(self.bins.edge_FE), sum_Q.shape[:-1]
        shapes: dict[str, tuple[int, ...]] = {"value": (features, self.bins.slots)}
        if self.part_bins is not None:
            shapes |= {"part": (features, self.part_bins.slots), "absolute": (features,)}
        if self.edge_P is not None:
            bins = len(self.edge_P) + 1
            shapes |= {"count": (bins,), "happened": (bins,), "foretold": (bins,), "slope": (1,)}
        found, start = {}, 0
        for name, shape in shapes.items():
            size = int(np.prod(shape))
            part = sum_Q[..., start : start + size]
            found[name] = part.astype(np.float64).reshape(*head, *shape)
            start += size
        return found


def fit_ruler(window: Window, category_F: np.ndarray, *, grid: int, coarse: int) -> Ruler:
    """Lay a ruler along a reference.

    Args:
        window: the reference.
        category_F: which features are categories, bool [F].
        grid: fine slots a feature.
        coarse: bins of the PSI, and of probabilities.
    """
    bins = fit_bins(window.value_NF, category_F, grid=grid, coarse=coarse)
    part_bins = scale_F = edge_P = margin_2 = None
    if window.part_NF is not None:
        none_F = np.zeros(len(window.columns), dtype=bool)
        part_bins = fit_bins(window.part_NF, none_F, grid=grid, coarse=coarse)
        scale_F = window.part_NF.astype(np.float64).std(axis=0)
    if window.probability_N is not None:
        level = np.arange(1, coarse) / coarse
        edge_P = np.unique(np.quantile(window.probability_N, level, method="inverted_cdf"))
        margin_N = log_odds(window.probability_N)
        margin_2 = np.array([margin_N.mean(), margin_N.std() or 1.0])
    return Ruler(bins, part_bins, scale_F, edge_P, margin_2)


def _of_outcomes(was: dict[str, np.ndarray], now: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    found: list[dict[str, np.ndarray]] = []
    for s in (was, now):
        rows = np.maximum(s["count"].sum(axis=-1), 1)
        found.append(
            {
                "label": s["happened"].sum(axis=-1) / rows,
                "residual": (s["happened"] - s["foretold"]).sum(axis=-1) / rows,
                "slope": s["slope"][..., 0] / rows,
                "error": expected_calibration_error(s["count"], s["happened"], s["foretold"]),
            }
        )
    change = {name: (found[1][name] - found[0][name])[..., None] for name in WINDOW_KINDS}
    return {name: c if name == "error" else np.abs(c) for name, c in change.items()}


def _fold(count_FL: np.ndarray, fold_FLC: np.ndarray) -> np.ndarray:
    """Counts of coarse bins: [..., F, L] -> [..., F, C]."""
    folded = np.moveaxis(count_FL, -2, 0).reshape(len(fold_FLC), -1, count_FL.shape[-1]) @ fold_FLC
    return np.moveaxis(folded, 0, 1).reshape(*count_FL.shape[:-1], fold_FLC.shape[-1])


def _histogram(bins: Bins, value_NF: np.ndarray, block_N: np.ndarray, blocks: int) -> np.ndarray:
    code_NF = bins.codes(value_NF)
    count_FGL = [
        np.bincount(block_N * bins.slots + code_N, minlength=blocks * bins.slots).reshape(
            blocks, -1
        )
        for code_N in code_NF.T
    ]
    return np.concatenate(count_FGL, axis=1) if count_FGL else np.zeros((blocks, 0))


def _by_block(value_NF: np.ndarray, block_N: np.ndarray, blocks: int) -> np.ndarray:
    sums = [np.bincount(block_N, weights=column_N, minlength=blocks) for column_N in value_NF.T]
    return np.stack(sums, axis=1) if sums else np.zeros((blocks, 0))
