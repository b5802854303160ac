"""Full ranking of 20,000 users over 10,000 items, and the metrics against ranx and RecTools.

`total_s` is MUMA from float32 score blocks to all metric values (ten metrics, five depths each) for
20,000 users, without the time that making the random scores takes; `memmap_total_s` is the same from
scores stored as one .npy file, reading included. Each is the shortest of its repeats, in a process
of its own, and `peak_mib` is that process's largest resident memory.

The peers get finished lists, so they are compared with `lists_s`: MUMA measuring the same lists by
the same metrics (`compared_metrics`; `--quick` takes two, for ranx compiles each for
seconds, and leaves the memmap out). Building ranx's and RecTools' own
objects from the arrays is reported apart and not counted. A ratio above 1 means that MUMA is faster.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array, load_npz, save_npz

from common import PEERS, emit, in_fresh_process, parser, peak_mib, seconds
from muma.config import build
from muma.evaluation.full_ranking import evaluate, evaluate_lists
from muma.evaluation.metric import Context
from muma.rng import derive

USERS, ITEMS, TAGS, BLOCK, SEED = 20_000, 10_000, 40, 1024, 11
KS = (5, 10, 20, 50, 100)
COMMON = {
    "ndcg": "ndcg.NDCG",
    "recall": "recall.Recall",
    "precision": "precision.Precision",
    "mrr": "reciprocal_rank.ReciprocalRank",
    "map": "average_precision.AveragePrecision",
    "hit_rate": "hit_rate.HitRate",
}
BEYOND = ("coverage.Coverage", "novelty.Novelty", "diversity.Diversity", "gini.Gini")


def metrics(uses: Any, ks: tuple[int, ...] = KS) -> list[Any]:
    """Metrics by their place, at each depth."""
    return [build({"use": f"muma.evaluation.metrics.{use}", "k": k}) for use in uses for k in ks]


def make_world(folder: Path) -> None:
    """Truth (10 items a user in the mean), exclusions (50), popularity and tags, as files."""
    rng = derive(SEED, "world")
    popularity_I = rng.zipf(1.4, ITEMS).clip(max=50_000)
    chance_I = popularity_I**0.5 / np.sum(popularity_I**0.5)

    def draw(per_user: float) -> csr_array:
        count_B = rng.poisson(per_user, USERS)
        items = rng.choice(ITEMS, size=int(count_B.sum()), p=chance_I)
        table = csr_array(
            (np.ones(len(items)), items, np.concatenate([[0], np.cumsum(count_B)])),
            shape=(USERS, ITEMS),
        )
        table.sum_duplicates()
        table.data[:] = 1
        return table

    truth = draw(10)
    exclude = draw(50).astype(bool)
    exclude = csr_array(exclude.astype(np.int8) - exclude.multiply(truth > 0).astype(np.int8))
    exclude.eliminate_zeros()
    save_npz(folder / "truth.npz", truth)
    save_npz(folder / "exclude.npz", exclude.astype(bool))
    np.save(folder / "popularity.npy", popularity_I)
    save_npz(folder / "tags.npz", csr_array((rng.random((ITEMS, TAGS)) < 0.08).astype(np.float32)))


def make_scores(start: int, rows: int, popularity_I: np.ndarray) -> np.ndarray:
    """Deterministic float32 scores of one block: noise, and a little popularity."""
    noise = derive(SEED, "scores", start).standard_normal((rows, ITEMS), dtype=np.float32)
    noise += (0.3 * np.log(popularity_I)).astype(np.float32)
    return noise


def load(folder: Path) -> tuple[csr_array, csr_array, Context]:
    """What `make_world` wrote."""
    context = Context(np.load(folder / "popularity.npy"), csr_array(load_npz(folder / "tags.npz")))
    return (
        csr_array(load_npz(folder / "truth.npz")),
        csr_array(load_npz(folder / "exclude.npz")),
        context,
    )


def rank_blocks(folder: Path, repeats: int, _: list[str]) -> dict[str, Any]:
    """All metrics from generated blocks; the lists are kept for the peers."""
    truth, exclude, context = load(folder)
    assert context.popularity_I is not None
    popularity_I = context.popularity_I
    best, making_s, done = float("inf"), 0.0, None
    for _ in range(repeats):
        making_s = 0.0

        def score_block(user_b: np.ndarray) -> np.ndarray:
            nonlocal making_s
            start = time.perf_counter()
            score_bI = make_scores(int(user_b[0]), len(user_b), popularity_I)
            making_s += time.perf_counter() - start
            return score_bI

        took_s, done = seconds(lambda: _evaluate(score_block, truth, exclude, context))
        best = min(best, took_s - making_s)
    assert done is not None
    np.save(folder / "lists.npy", done.item_BK)
    return {
        "total_s": best,
        "users_per_s": USERS / best,
        "peak_mib": peak_mib(),
        "score_making_s": making_s,
        "metric_values": len(done.per_user) + len(done.aggregate),
    }


def rank_memmap(folder: Path, repeats: int, _: list[str]) -> dict[str, Any]:
    """All metrics from scores stored as one .npy file."""
    truth, exclude, context = load(folder)
    scores = np.load(folder / "scores.npy", mmap_mode="r")

    def score_block(user_b: np.ndarray) -> np.ndarray:
        return np.asarray(scores[user_b[0] : user_b[-1] + 1])

    best, _ = seconds(lambda: _evaluate(score_block, truth, exclude, context), repeats=repeats)
    return {"memmap_total_s": best, "memmap_peak_mib_with_page_cache": peak_mib()}


def measure_lists(folder: Path, repeats: int, names: list[str]) -> dict[str, Any]:
    """The metrics that the peers have too, from finished lists."""
    truth, _, _ = load(folder)
    item_BK = np.load(folder / "lists.npy")
    chosen = metrics([COMMON[name] for name in names])
    best, done = seconds(lambda: evaluate_lists(item_BK, truth, metrics=chosen), repeats=repeats)
    np.savez(folder / "muma.npz", allow_pickle=False, **done.per_user)
    return {"lists_s": best, "lists_peak_mib": peak_mib()}


def measure_ranx(folder: Path, repeats: int, names: list[str]) -> dict[str, Any]:
    """The same by ranx, after compiling everything on a small sample."""
    import ranx

    truth, _, _ = load(folder)
    item_BK = np.load(folder / "lists.npy")
    users = np.flatnonzero(np.diff(truth.indptr) > 0)
    wanted = [f"{name}@{k}" for name in names for k in KS]

    def objects(chosen: np.ndarray) -> tuple[Any, Any]:
        qrels, run = {}, {}
        for u in chosen.tolist():
            items = truth.indices[truth.indptr[u] : truth.indptr[u + 1]].tolist()
            qrels[str(u)] = {str(i): 1 for i in items}
            run[str(u)] = {str(i): -float(rank) for rank, i in enumerate(item_BK[u].tolist())}
        return ranx.Qrels(qrels), ranx.Run(run)

    warm_s, _ = seconds(lambda: ranx.evaluate(*objects(users[:50]), wanted))
    build_s, (qrels, run) = seconds(lambda: objects(users))
    best, _ = seconds(lambda: ranx.evaluate(qrels, run, wanted, return_mean=False), repeats=repeats)
    mine = np.load(folder / "muma.npz")
    gap = max(
        np.abs(np.array([run.scores[name][str(u)] for u in users]) - mine[name][users]).max()
        for name in wanted
    )
    return {
        "ranx_s": best,
        "ranx_build_s": build_s,
        "ranx_compile_s": warm_s,
        "ranx_peak_mib": peak_mib(),
        "ranx_max_abs_difference": float(gap),
    }


def measure_rectools(folder: Path, repeats: int, names: list[str]) -> dict[str, Any]:
    """The same by RecTools, in the peers' environment."""
    truth, _, _ = load(folder)
    np.save(folder / "truth_indices.npy", truth.indices)
    np.save(folder / "truth_indptr.npy", truth.indptr)
    script = Path(__file__).with_name("peer_rectools.py")
    found = in_fresh_process(script, str(folder), str(repeats), *names, python=PEERS)
    mine = np.load(folder / "muma.npz")
    gap = max(abs(np.nanmean(mine[name]) - value) for name, value in found.pop("means").items())
    return {**found, "rectools_max_abs_difference_of_means": float(gap)}


def _evaluate(
    score_block: Callable[[np.ndarray], np.ndarray],
    truth: csr_array,
    exclude: csr_array,
    context: Context,
) -> Any:
    chosen = metrics([*COMMON.values(), *BEYOND])
    return evaluate(
        score_block,
        np.arange(USERS),
        truth,
        metrics=chosen,
        exclude=exclude,
        block=BLOCK,
        context=context,
    )


PARTS = {
    part.__name__: part
    for part in (rank_blocks, rank_memmap, measure_lists, measure_ranx, measure_rectools)
}


def run(*, quick: bool) -> dict[str, Any]:
    """All parts, each in a process of its own."""
    repeats = 1 if quick else 3
    names = [*COMMON][:2] if quick else [*COMMON]
    result: dict[str, Any] = {
        "users": USERS,
        "items": ITEMS,
        "depths": ",".join(map(str, KS)),
        "repeats": repeats,
        "compared_metrics": ",".join(names),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_world(folder)
        for part in _parts(folder, quick=quick):
            result |= in_fresh_process(__file__, "--part", part, str(folder), str(repeats), *names)
    result["ranx_given"] = (
        f"Qrels and Run objects built from MUMA's top-{max(KS)} lists, users with ground truth "
        "only, scores = -rank; compiled beforehand; 2 threads where it has them"
    )
    result["ratio_vs_ranx"] = _ratio(result.get("ranx_s"), result["lists_s"])
    result.setdefault("ranx_s", None)
    result.setdefault("rectools_s", None)
    result["ratio_vs_rectools"] = _ratio(result["rectools_s"], result["lists_s"])
    return result


def _parts(folder: Path, *, quick: bool) -> Iterator[str]:
    yield "rank_blocks"
    if not quick:
        _store_scores(folder)
        yield "rank_memmap"
        (folder / "scores.npy").unlink()
    yield from ("measure_lists", "measure_ranx")
    if PEERS.exists():
        yield "measure_rectools"


def _store_scores(folder: Path) -> None:
    popularity_I = np.load(folder / "popularity.npy")
    stored = np.lib.format.open_memmap(
        folder / "scores.npy", mode="w+", dtype=np.float32, shape=(USERS, ITEMS)
    )
    for start in range(0, USERS, BLOCK):
        rows = min(BLOCK, USERS - start)
        stored[start : start + rows] = make_scores(start, rows, popularity_I)
    stored.flush()


def _ratio(peer_s: float | None, ours_s: float) -> float | None:
    return None if peer_s is None else peer_s / ours_s


if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        print(json.dumps(PARTS[sys.argv[2]](Path(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])))
    else:
        flags = parser(__doc__).parse_args()
        emit(run(quick=flags.quick), as_json=flags.json)
