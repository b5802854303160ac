"""The monitor: learn a reference, then check windows against it (paper 4.2.2).

Shape: N rows, F features, G blocks, Q sums, J statistics.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field

from muma.artifact import read, write
from muma.config import Config, parse
from muma.errors import ConfigError, DataError, NotFittedError, SchemaError
from muma.ranking.drift.bins import Bins
from muma.ranking.drift.calibration import recalibrate
from muma.ranking.drift.ks import ks_p_value
from muma.ranking.drift.psi import MAJOR, MODERATE
from muma.ranking.drift.report import Curve, DriftReport, Finding
from muma.ranking.drift.ruler import Ruler, fit_ruler
from muma.ranking.drift.thresholds import Null, simulate_null, vector
from muma.ranking.drift.window import Window
from muma.rng import derive

KIND, VERSION = "drift-monitor", 1
_FEWEST = 20  # clusters, below which resampling them says nothing


class DriftConfig(Config):
    """Settings of the monitor.

    Attributes:
        rate: chance of a false alarm of one check, over all features and kinds.
        categorical: features whose numbers are names.
        bins: bins of the PSI and of probabilities.
        grid: fine slots a feature, for KS and Wasserstein distances.
        blocks: blocks of clusters to resample.
        resamples: windows without drift to draw.
        seed: of blocks and resamples.
    """

    rate: float = Field(default=0.05, gt=0, lt=1)
    categorical: tuple[str, ...] = ()
    bins: int = Field(default=10, ge=2)
    grid: int = Field(default=60, ge=4)
    blocks: int = Field(default=400, ge=_FEWEST)
    resamples: int = Field(default=1000, ge=19)
    seed: int = 0


@dataclass(frozen=True)
class _Reference:
    """All that is kept of the reference: sums over blocks, never rows."""

    columns: tuple[str, ...]
    ruler: Ruler
    block_GQ: np.ndarray
    rows: int
    clusters: int


class DriftMonitor:
    """Compares windows of events with a reference.

    Thresholds belong to the size of the current window; they are made at the first check of a size
    and kept.

    Args:
        config: the settings.
    """

    def __init__(self, config: DriftConfig = DriftConfig()) -> None:
        self.config = config
        self._reference: _Reference | None = None
        self._nulls: dict[tuple[int, int], Null] = {}

    def fit(self, reference: Window) -> Self:
        """Learn what is normal.

        Raises:
            ConfigError: a categorical feature is not among the columns.
            DataError: there are too few clusters to resample.
        """
        config, columns = self.config, reference.columns
        if unknown := sorted(set(config.categorical) - set(columns)):
            raise ConfigError(f"categorical names {unknown}, which are not among the columns")
        cluster_N = reference.cluster()
        clusters = int(cluster_N.max()) + 1
        if clusters < _FEWEST:
            raise DataError(f"the reference has {clusters} clusters; it needs {_FEWEST} or more")
        category_F = np.isin(columns, config.categorical) if columns else np.zeros(0, dtype=bool)
        ruler = fit_ruler(reference, category_F, grid=config.grid, coarse=config.bins)
        blocks = min(config.blocks, clusters)
        place = derive(config.seed, "drift", "blocks").permutation(clusters)
        block_GQ = ruler.sums(reference, (place * blocks // clusters)[cluster_N], blocks)
        self._reference = _Reference(columns, ruler, block_GQ, len(reference), clusters)
        self._nulls = {}
        return self

    def check(self, current: Window) -> DriftReport:
        """Compare a window with the reference.

        Raises:
            NotFittedError: there is no reference.
            SchemaError: the columns differ from the reference's, or attributions or probabilities
                are there in one and missing in the other.
        """
        reference = self._known()
        self._same(reference, current)
        clusters = int(current.cluster().max()) + 1
        null = self.null(len(current), clusters)
        once_N = np.zeros(len(current), dtype=np.int64)
        sums = (
            reference.block_GQ.sum(axis=0, dtype=np.float64),
            reference.ruler.sums(current, once_N, 1)[0],
        )
        statistics = reference.ruler.statistics(*sums)
        findings = self._findings(statistics, null, sums)
        alarms = [f for f in findings if f.alarm]
        alarms.sort(key=lambda f: (f.adjusted, -f.value / max(f.threshold, 1e-12)))
        report = DriftReport(
            rows=len(current),
            clusters=clusters,
            rate=self.config.rate,
            alarm=bool(alarms),
            reasons=tuple(_sentence(f) for f in alarms),
            findings=findings,
        )
        if current.probability_N is None or current.label_N is None:
            return report
        line = recalibrate(current.probability_N, current.label_N, current.cluster())
        was, now = (_curve(reference.ruler, s) for s in sums)
        return replace(report, recalibration=line, curves=(was, now))

    def null(self, rows: int, clusters: int) -> Null:
        """What statistics of windows of a size do without drift.

        The current window is drawn as `floor(blocks * share)` blocks, share being the smaller of its
        shares of rows and of clusters: thresholds err on the high side.

        Raises:
            NotFittedError: there is no reference.
        """
        reference = self._known()
        share = min(rows / reference.rows, clusters / reference.clusters)
        draws = max(1, int(share * len(reference.block_GQ) + 1e-9))
        effective = max(1, round(draws * reference.clusters / len(reference.block_GQ)))
        key = (draws, effective)
        if key not in self._nulls:
            self._nulls[key] = simulate_null(
                reference.ruler, reference.block_GQ, draws, (reference.clusters, effective),
                resamples=self.config.resamples,
                rng=derive(self.config.seed, "drift", "null", draws),
            )  # fmt: skip
        return self._nulls[key]

    def histogram(self, current: Window, feature: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Edges [L - 2], and counts [L] of reference and current window, of one feature; for pictures."""
        reference = self._known()
        self._same(reference, current)
        f, ruler = reference.columns.index(feature), reference.ruler
        was_FL = reference.block_GQ[:, : len(reference.columns) * ruler.bins.slots].sum(axis=0)
        one = Bins(
            *(
                a[f : f + 1]
                for a in (ruler.bins.edge_FE, ruler.bins.coarse_FL, ruler.bins.category_F)
            )
        )
        now_L = np.bincount(one.codes(current.value_NF[:, f : f + 1])[:, 0], minlength=one.slots)
        return one.edge_FE[0], was_FL.reshape(-1, one.slots)[f], now_L

    def _findings(
        self,
        statistics: dict[str, np.ndarray],
        null: Null,
        sums: tuple[np.ndarray, np.ndarray],
    ) -> tuple[Finding, ...]:
        reference = self._known()
        limit, value_J = null.limit(self.config.rate), vector(statistics)
        t_J, p_J = null.t(value_J), null.p_value(value_J)
        adjusted_J, threshold_J = null.adjusted(t_J), null.mean_J + limit * null.deviation_J
        slots, features = reference.ruler.bins.slots, len(reference.columns)
        size = [s[: features * slots].reshape(features, slots)[:, :-1].sum(axis=1) for s in sums]
        findings, j = [], 0
        for kind, values in statistics.items():
            for f, value in enumerate(values):
                if not np.isnan(value):
                    bound = threshold_J[j] ** 2 if kind == "psi" else threshold_J[j]
                    findings.append(
                        Finding(
                            kind=kind,
                            feature=reference.columns[f] if len(values) == features and kind in _BY_FEATURE else None,
                            value=float(value),
                            threshold=float(bound),
                            p_value=float(p_J[j]),
                            adjusted=float(adjusted_J[j]),
                            alarm=bool(t_J[j] > limit),
                            rule_of_thumb=_thumb(value) if kind == "psi" else None,
                            asymptotic_p=float(ks_p_value(value, size[0][f], size[1][f]))
                            if kind == "ks" else None,
                        )
                    )  # fmt: skip
                j += 1
        return tuple(findings)

    def _same(self, reference: _Reference, current: Window) -> None:
        if current.columns != reference.columns:
            raise SchemaError(
                f"the window's columns differ from the reference's {len(reference.columns)}: "
                f"{sorted(set(current.columns) ^ set(reference.columns)) or 'another order'}"
            )
        ruler = reference.ruler
        for name, there in (("part_NF", ruler.part_bins), ("probability_N", ruler.edge_P)):
            if (getattr(current, name) is None) != (there is None):
                raise SchemaError(
                    f"{name} is {'missing' if there is not None else 'given'} here and not in the "
                    "reference; check what was fitted, or fit again"
                )

    def _known(self) -> _Reference:
        if self._reference is None:
            raise NotFittedError("the monitor has no reference; call fit first")
        return self._reference

    def save(self, folder: str | Path) -> None:
        """Write the sums over blocks, never rows."""
        known = self._known()
        ruler = known.ruler
        with write(
            folder, kind=KIND, version=VERSION, config=self.config.model_dump(mode="json"),
            meta={"columns": list(known.columns), "rows": known.rows, "clusters": known.clusters,
                  "parts": ruler.part_bins is not None, "outcomes": ruler.edge_P is not None},
        ) as writer:  # fmt: skip
            ruler.bins.save(writer, "bins")
            arrays = {"block": known.block_GQ}
            if ruler.part_bins is not None and ruler.part_scale_F is not None:
                ruler.part_bins.save(writer, "part_bins")
                arrays["part_scale"] = ruler.part_scale_F
            if ruler.edge_P is not None and ruler.margin_2 is not None:
                arrays |= {"edge": ruler.edge_P, "margin": ruler.margin_2}
            writer.arrays("sums.npz", arrays)

    @classmethod
    def load(cls, folder: str | Path) -> DriftMonitor:
        """Read what `save` wrote."""
        artifact = read(folder, kind=KIND, version=VERSION)
        monitor, meta = cls(parse(DriftConfig, artifact.config)), artifact.meta
        arrays = artifact.arrays("sums.npz")
        ruler = Ruler(
            Bins.load(artifact, "bins"),
            Bins.load(artifact, "part_bins") if meta["parts"] else None,
            arrays.get("part_scale"), arrays.get("edge"), arrays.get("margin"),
        )  # fmt: skip
        monitor._reference = _Reference(
            tuple(meta["columns"]), ruler, arrays["block"], meta["rows"], meta["clusters"]
        )
        return monitor


_BY_FEATURE = ("psi", "missing", "ks", "share", "wasserstein")


def _thumb(value: float) -> str:
    return "stable" if value < MODERATE else "moderate" if value < MAJOR else "major"


def _sentence(finding: Finding) -> str:
    return (
        f"{finding.kind} of {finding.feature or 'the window'} is {finding.value:.3g}, above "
        f"{finding.threshold:.3g} (adjusted p {finding.adjusted:.2g})"
    )


def _curve(ruler: Ruler, sum_Q: np.ndarray) -> Curve:
    s = ruler.split(sum_Q)
    rows = np.maximum(s["count"], 1)
    return Curve(
        tuple(int(n) for n in s["count"]),
        tuple((s["foretold"] / rows).tolist()),
        tuple((s["happened"] / rows).tolist()),
    )
