"""Ranking 200 candidates by both engines, explaining 20 of them, and LightGBM's lambdarank example.

200 candidates x 100 features, 100 trees of 31 leaves in each engine, one thread. `p50_ms` and `p99_ms`
are one whole `MultiRanker.rank` of one label: checks, both engines, calibration, fusion, ordering,
probabilities. `xgboost_ms` and `lightgbm_ms` are medians of the libraries' own calls in the same run
(`inplace_predict`, `Booster.predict`); `speedup` is their sum over `p50_ms`. `explain_20_ms` is the median
of the fused attributions of 20 candidates. `max_abs_error` is the largest difference between compiled
margins and the libraries'; XGBoost sums in float32.

The lambdarank example: parameters from its train.conf; the last fifth of its training queries stops the
engines early, calibrates and weighs them; its test part is read once, for the figures.
"""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from common import emit, parser
from muma.config import Spec
from muma.ranking.fusing import ndcg
from muma.ranking.multi import MultiRanker, MultiRankerConfig
from muma.ranking.pair import Pair, PairConfig
from muma.ranking.ranker import Examples
from muma.rng import derive

CANDIDATES, FEATURES, TREES, LEAVES, SHOWN = 200, 100, 100, 31, 20
XGBOOST = "muma.ranking.engines.xgboost.XGBoostEngine"
LIGHTGBM = "muma.ranking.engines.lightgbm.LightGBMEngine"
EXAMPLE = "ltr-lightgbm-lambdarank"


def synthetic(seed: int, n: int) -> Examples:
    """Impressions of many weak features, a tenth of the values missing."""
    rng = derive(seed, "ranking")
    value_NF = rng.normal(size=(n, FEATURES)).astype(np.float32)
    value_NF[rng.random(value_NF.shape) < 0.1] = np.nan
    full_NF = np.nan_to_num(value_NF)
    truth_N = full_NF[:, :40] @ np.linspace(0.5, 0.05, 40) + full_NF[:, 0] * full_NF[:, 1]
    label_N = (rng.random(n) < expit(truth_N)).astype(float)
    columns = tuple(f"feature_{place}" for place in range(FEATURES))
    return Examples(columns, value_NF, label_N, np.arange(n) // 20)


def quantiles_ms(work: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Median and 99th percentile of single calls, in milliseconds."""
    for _ in range(20):
        work()
    taken = np.empty(repeats)
    for place in range(repeats):
        start = time.perf_counter()
        work()
        taken[place] = time.perf_counter() - start
    low, high = np.quantile(taken, [0.5, 0.99]) * 1e3
    return float(low), float(high)


def latency(*, quick: bool) -> dict[str, float]:
    """Times of ranking and explaining, and of the libraries' own calls."""
    parts = {"trees": TREES, "leaves": LEAVES, "early_stopping_rounds": None, "threads": 1}
    pair = PairConfig(
        first=Spec(use=XGBOOST, **parts), second=Spec(use=LIGHTGBM, **parts), resamples=20
    )
    ranker = MultiRanker(MultiRankerConfig(labels={"click": 1.0}, pair=pair))
    size = 5_000 if quick else 20_000
    ranker.fit({"click": synthetic(1, size)}, {"click": synthetic(2, 2_000)})
    fitted, rows = ranker.pairs["click"], synthetic(3, 2_000).value_NF
    value_NF, item_N = rows[:CANDIDATES].copy(), np.arange(CANDIDATES)
    shown_NF = value_NF[:SHOWN].copy()
    repeats = 300 if quick else 3_000
    first, second = fitted.first, fitted.second
    p50, p99 = quantiles_ms(lambda: ranker.rank(value_NF, item_N), repeats)
    library = [
        quantiles_ms(lambda engine=engine: engine.library_margin(value_NF), repeats)[0]  # pyright: ignore[reportAttributeAccessIssue]
        for engine in (first, second)
    ]
    compiled = [
        quantiles_ms(lambda engine=engine: engine.margin(value_NF), repeats)[0]
        for engine in (first, second)
    ]
    explain, explain_p99 = quantiles_ms(lambda: ranker.attribute(shown_NF), repeats // 10)
    errors = [
        float(np.abs(engine.margin(rows) - engine.library_margin(rows)).max())  # pyright: ignore[reportAttributeAccessIssue]
        for engine in (first, second)
    ]
    additive = ranker.attribute(rows).sum(axis=1) - ranker.score(rows)
    return {
        "p50_ms": p50,
        "p99_ms": p99,
        "explain_20_ms": explain,
        "explain_20_p99_ms": explain_p99,
        "xgboost_ms": library[0],
        "lightgbm_ms": library[1],
        "compiled_xgboost_ms": compiled[0],
        "compiled_lightgbm_ms": compiled[1],
        "speedup": sum(library) / p50,
        "xgboost_ratio": library[0] / compiled[0],
        "lightgbm_ratio": library[1] / compiled[1],
        "max_abs_error": max(errors),
        "additivity_error": float(np.abs(additive).max()),
    }


def lambdarank_folder() -> Path | None:
    """Where LightGBM's lambdarank example lies, or None."""
    home = Path(__file__).resolve().parents[1]
    for place in (os.environ.get("MUMA_DATA"), home.parent / "shared" / "data"):
        if place and (Path(place) / EXAMPLE).is_dir():
            return Path(place) / EXAMPLE
    return None


def read_svmlight(folder: Path, part: str) -> Examples:
    """One part of the example; a feature that a line leaves out is 0."""
    lines = gzip.decompress((folder / f"rank.{part}.gz").read_bytes()).decode().splitlines()
    sizes = gzip.decompress((folder / f"rank.{part}.query.gz").read_bytes()).decode().split()
    value_NF = np.zeros((len(lines), 301), dtype=np.float32)
    label_N = np.zeros(len(lines))
    for row, line in enumerate(lines):
        grade, *cells = line.split()
        label_N[row] = float(grade)
        for cell in cells:
            column, value = cell.split(":")
            value_NF[row, int(column)] = float(value)
    columns = tuple(f"feature_{place}" for place in range(301))
    return Examples(
        columns, value_NF, label_N, np.repeat(np.arange(len(sizes)), [int(size) for size in sizes])
    )


def lambdarank(folder: Path, **changes: Any) -> dict[str, float]:
    """NDCG of both engines and the pair on the example's test part."""
    whole, test = read_svmlight(folder, "train"), read_svmlight(folder, "test")
    held = whole.group_N >= np.quantile(np.unique(whole.group_N), 0.8)
    train, valid = whole.rows(~held), whole.rows(held)
    parts = {"trees": 100, "leaves": 31, "learning_rate": 0.1, "min_hessian": 5.0, **changes}
    pair = Pair(
        PairConfig(
            first=Spec(use=XGBOOST, **{**parts, "min_hessian": changes.get("min_hessian", 0.1)}),
            second=Spec(use=LIGHTGBM, **{"min_examples": 50, **parts}),
            objective="lambdarank",
        )
    ).fit(train, valid)
    scores = {
        "lambdarank": pair.margin(test.value_NF),
        "lambdarank_xgboost": pair.first.margin(test.value_NF),
        "lambdarank_lightgbm": pair.second.margin(test.value_NF),
    }
    result = {
        f"{name}_ndcg{k}": float(ndcg(score_N, test.label_N, test.group_N, k=k).mean())
        for name, score_N in scores.items()
        for k in (1, 3)
    }
    return {**result, "lambdarank_alpha": pair.alpha, "valid_loss": pair.report().fusion.loss[2]}


def main() -> None:
    flags = parser(__doc__).parse_args()
    result: dict[str, Any] = latency(quick=flags.quick)
    folder = lambdarank_folder()
    result.update(lambdarank(folder) if folder else {"lambdarank": "its data set is absent"})
    emit(result, as_json=flags.json)


if __name__ == "__main__":
    main()
