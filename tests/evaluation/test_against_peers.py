"""Every accuracy metric equals ranx and ir_measures, user by user."""

import json
import os
import subprocess
import sys
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from ir_measures import AP, RR, P, R, Success, nDCG
from sklearn.metrics import ndcg_score

from muma.evaluation.full_ranking import evaluate, evaluate_lists
from muma.evaluation.metrics.average_precision import AveragePrecision, AveragePrecisionConfig
from muma.evaluation.metrics.hit_rate import HitRate, HitRateConfig
from muma.evaluation.metrics.ndcg import NDCG, NDCGConfig
from muma.evaluation.metrics.precision import Precision, PrecisionConfig
from muma.evaluation.metrics.recall import Recall, RecallConfig
from muma.evaluation.metrics.reciprocal_rank import ReciprocalRank, ReciprocalRankConfig
from muma.rng import derive

KS = (1, 3, 10, 30, 50)


def all_metrics(k):
    return [
        NDCG(NDCGConfig(k=k)),
        NDCG(NDCGConfig(k=k, gain="exp2")),
        Recall(RecallConfig(k=k)),
        Precision(PrecisionConfig(k=k)),
        ReciprocalRank(ReciprocalRankConfig(k=k)),
        AveragePrecision(AveragePrecisionConfig(k=k)),
        HitRate(HitRateConfig(k=k)),
    ]


def ours(lists, k):
    done = evaluate_lists(lists.item_BK, lists.truth, metrics=all_metrics(k))
    return {name.split("@")[0]: value for name, value in done.per_user.items()}


RANX = {
    "ndcg": "ndcg",
    "ndcg-exp2": "ndcg_burges",
    "recall": "recall",
    "precision": "precision",
    "mrr": "mrr",
    "map": "map",
    "hit_rate": "hit_rate",
}


def with_truth(world):
    return np.flatnonzero((world.gain_BI > 0).any(axis=1))


def ranked(world):
    """Each list as scores that fall with the rank: ties are decided already."""
    return [
        {f"i{i}": float(-rank) for rank, i in enumerate(row) if i >= 0}
        for row in world.lists.item_BK
    ]


def test_equals_ranx(make_world):
    worlds = [make_world(seed) for seed in range(4)]
    cases = [
        {
            "qrels": {
                f"u{u}": {f"i{i}": int(world.gain_BI[u, i]) for i in world.gain_BI[u].nonzero()[0]}
                for u in with_truth(world)
            },
            # ranx cannot hold an empty list: it gets one unjudged document instead
            "run": {f"u{u}": ranked(world)[u] or {"unjudged": 0.0} for u in with_truth(world)},
            "metrics": [f"{peer}@{k}" for peer in RANX.values() for k in KS],
        }
        for world in worlds
    ]
    answer = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("ranx_peer.py"))],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )
    for world, found in zip(worlds, json.loads(answer.stdout), strict=True):
        users = with_truth(world)
        for k in KS:
            mine = ours(world.lists, k)
            for name, peer in RANX.items():
                value = [found[f"{peer}@{k}"][f"u{u}"] for u in users]
                np.testing.assert_allclose(
                    mine[name][users], value, atol=1e-9, rtol=0, err_msg=f"{name}@{k}"
                )


@pytest.mark.parametrize("seed", range(4))
def test_equals_ir_measures_on_tied_scores(make_world, seed):
    """trec_eval breaks ties by the greater document name, so lower indices get greater names."""
    world = make_world(seed)
    n_items = world.score_BI.shape[1]
    qrels, run = [], []
    for u, (scores, gains) in enumerate(zip(world.score_BI, world.gain_BI, strict=True)):
        for i in range(n_items):
            name = f"{n_items - i:04d}"
            if gains[i]:
                qrels.append(ir_measures.Qrel(f"u{u}", name, int(gains[i])))
            if scores[i] > -np.inf:
                run.append(ir_measures.ScoredDoc(f"u{u}", name, float(scores[i])))
    for k in KS:
        peers = {"ndcg": nDCG @ k, "recall": R @ k, "precision": P @ k, "map": AP @ k}
        check_ir_measures(world, k, {**peers, "hit_rate": Success @ k}, qrels, run)
    check_ir_measures(world, n_items, {"mrr": RR}, qrels, run)


@pytest.mark.parametrize("seed", range(4))
def test_equals_ir_measures_mrr_at_k(make_world, seed):
    """RR@k comes from another tool with another tie rule, so it gets the finished lists."""
    world = make_world(seed)
    qrels = [
        ir_measures.Qrel(f"u{u}", f"i{i}", 1) for u, i in zip(*world.gain_BI.nonzero(), strict=True)
    ]
    run = [
        ir_measures.ScoredDoc(f"u{u}", name, score)
        for u, row in enumerate(ranked(world))
        for name, score in row.items()
    ]
    for k in KS:
        check_ir_measures(world, k, {"mrr": RR @ k}, qrels, run)


def check_ir_measures(world, k, peers, qrels, run):
    found = {
        (metric.measure, metric.query_id): metric.value
        for metric in ir_measures.iter_calc(list(peers.values()), qrels, run)
    }
    mine = ours(world.lists, k)
    users = with_truth(world)
    for name, peer in peers.items():
        value = [found.get((peer, f"u{u}"), 0.0) for u in users]
        np.testing.assert_allclose(
            mine[name][users], value, atol=1e-9, rtol=0, err_msg=f"{name}@{k}"
        )


def test_undefined_is_nan_and_empty_list_is_zero(make_world):
    mine = ours(make_world(0).lists, 5)
    for value_B in mine.values():
        assert np.isnan(value_B[0])
        assert value_B[1] == 0.0


def test_equals_sklearn_ndcg_without_ties(make_world):
    world = make_world(3, empty=False)
    keep = (world.gain_BI > 0).any(axis=1)
    score_BI = derive(3, "untied").permuted(
        np.tile(np.arange(30.0, dtype=np.float32), (len(keep), 1)), axis=1
    )
    for k in KS:
        done = evaluate(
            lambda user_b: score_BI[user_b],
            np.arange(len(keep)),
            world.lists.truth,
            metrics=[NDCG(NDCGConfig(k=k))],
            block=7,
        )
        value_B = done.per_user[f"ndcg@{k}"][keep]
        wanted = ndcg_score(world.gain_BI[keep], score_BI[keep], k=k)
        assert value_B.mean() == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("k", [1, 4, 30])
def test_map_and_mrr_by_hand(make_world, k):
    lists = make_world(5).lists
    mine = ours(lists, k)
    config = AveragePrecisionConfig(k=k, normalise="reachable")
    reachable_B = AveragePrecision(config).per_user(lists)
    truth_BI = lists.truth.toarray() > 0
    for u, listed in enumerate(lists.item_BK):
        n = truth_BI[u].sum()
        if n == 0:
            continue
        hits = [item >= 0 and truth_BI[u, item] for item in listed[:k]]
        found = sum(sum(hits[: r + 1]) / (r + 1) for r in range(len(hits)) if hits[r])
        first = next((1 / (r + 1) for r in range(len(hits)) if hits[r]), 0.0)
        assert mine["map"][u] == pytest.approx(found / n, abs=1e-12)
        assert reachable_B[u] == pytest.approx(found / min(n, k), abs=1e-12)
        assert mine["mrr"][u] == pytest.approx(first, abs=1e-12)
