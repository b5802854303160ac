"""RecTools' metrics on lists that MUMA made; runs in the peers' environment only.

Reads `lists.npy` [B, K], `truth_indices.npy` and `truth_indptr.npy` (CSR) from the folder given
first; the second argument is the number of repeats, the others are the metrics. Prints one JSON
object.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from rectools import Columns
from rectools.metrics import MAP, MRR, NDCG, HitRate, Precision, Recall, calc_metrics

from common import peak_mib

KS = (5, 10, 20, 50, 100)
MAKE = {
    "ndcg": lambda k: NDCG(k=k, divide_by_achievable=True),
    "recall": lambda k: Recall(k=k),
    "precision": lambda k: Precision(k=k),
    "mrr": lambda k: MRR(k=k),
    "map": lambda k: MAP(k=k),
    "hit_rate": lambda k: HitRate(k=k),
}


def main(folder: Path, repeats: int, names: list[str]) -> dict[str, object]:
    """Time `calc_metrics` and return it beside the means."""
    start = time.perf_counter()
    item_BK = np.load(folder / "lists.npy")
    indptr = np.load(folder / "truth_indptr.npy")
    user_B = np.flatnonzero(np.diff(indptr) > 0)
    item_BK = item_BK[user_B]
    n_users, depth = item_BK.shape
    lists = pd.DataFrame(
        {
            Columns.User: np.repeat(user_B, depth),
            Columns.Item: item_BK.ravel(),
            Columns.Rank: np.tile(np.arange(1, depth + 1), n_users),
        }
    )
    truth = pd.DataFrame(
        {
            Columns.User: np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)),
            Columns.Item: np.load(folder / "truth_indices.npy"),
        }
    )
    build_s = time.perf_counter() - start
    metrics = {f"{name}@{k}": MAKE[name](k) for name in names for k in KS}
    best, means = float("inf"), {}
    for _ in range(repeats):
        start = time.perf_counter()
        means = calc_metrics(metrics, reco=lists, interactions=truth)
        best = min(best, time.perf_counter() - start)
    return {
        "rectools_s": best,
        "rectools_build_s": build_s,
        "rectools_peak_mib": peak_mib(),
        "means": {name: float(value) for name, value in means.items()},
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])))
