"""How good the rankers are: probabilities of shown items, and order over the whole catalogue.

Shape: N impressions, B users, K places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.special import expit

from muma.app.source_scores import PREFIX
from muma.app.training import Matrix, Trained, fit_rankers, ranking_of
from muma.evaluation.clustered import clustered, weighted_auc, weighted_log_loss
from muma.evaluation.full_ranking import evaluate_lists
from muma.evaluation.intervals import bootstrap_mean, paired_difference
from muma.evaluation.metrics.calibration import calibration_error
from muma.evaluation.metrics.ndcg import NDCG
from muma.evaluation.result import Result
from muma.topk import NO_ITEM

PIPELINE = "pipeline"
NETWORK = ".InterestSource"  # how the path of a source ends that is the interest network


@dataclass(frozen=True)
class Judgement:
    """One model of one label on the test impressions.

    Attributes:
        auc, log_loss: with intervals over users.
        calibration: expected calibration error.
        ndcg: mean NDCG@10 of the users' impressions.
        auc_gain, log_loss_gain, ndcg_gain: the pipeline minus this model, paired over users; None for
            the pipeline itself. A negative difference of log losses is a gain.
    """

    auc: Result
    log_loss: Result
    calibration: float
    ndcg: Result
    auc_gain: Result | None = None
    log_loss_gain: Result | None = None
    ndcg_gain: Result | None = None


def test_rows(trained: Trained, table: str) -> Matrix:
    """The rows of the test fold."""
    return trained.matrices[table].part(trained.folds, "test")


def pipeline_probabilities(trained: Trained) -> dict[str, dict[str, np.ndarray]]:
    """Label -> model -> probability of every test impression: the pair, and each engine alone."""
    ranker = trained.rankers["impressions"]
    value_NF = ranker.served(np.ascontiguousarray(test_rows(trained, "impressions").value_NF))
    found: dict[str, dict[str, np.ndarray]] = {}
    for label, pair in ranker.pairs.items():
        report = pair.report()
        found[label] = {PIPELINE: expit(pair.margin(value_NF))}
        for engine, calibration in ((pair.first, report.first), (pair.second, report.second)):
            name = f"{type(engine).__name__.removesuffix('Engine')} alone"
            found[label][name] = expit(calibration.logit(engine.margin(value_NF)))
    return found


def judge(
    rows: Matrix, label: str, probabilities: Mapping[str, np.ndarray], *, seed: int
) -> dict[str, Judgement]:
    """Measure models of one label on the same impressions, paired with the pipeline.

    Args:
        rows: the impressions.
        label: which label.
        probabilities: model -> float64 [N]; the pipeline's among them.
        seed: of the resamples.
    """
    label_N, user_N = rows.rows.labels[label], rows.rows.user_N
    auc = {name: weighted_auc(label_N, p_N) for name, p_N in probabilities.items()}
    loss = {name: weighted_log_loss(label_N, p_N) for name, p_N in probabilities.items()}
    ndcg = {name: _ndcg(rows, label_N, p_N) for name, p_N in probabilities.items()}
    alone = [clustered(metric, user_N, seed=seed) for metric in (auc, loss)]
    against = [clustered(metric, user_N, baseline=PIPELINE, seed=seed) for metric in (auc, loss)]
    found = {}
    for name in probabilities:
        mine = name == PIPELINE
        found[name] = Judgement(
            auc=alone[0][name],
            log_loss=alone[1][name],
            calibration=calibration_error(label_N, probabilities[name]),
            ndcg=bootstrap_mean(ndcg[name], seed=seed),
            auc_gain=None if mine else _turned(against[0][name]),
            log_loss_gain=None if mine else _turned(against[1][name]),
            ndcg_gain=None if mine else paired_difference(ndcg[PIPELINE], ndcg[name], seed=seed),
        )
    return found


def ablations(trained: Trained) -> dict[str, dict[str, np.ndarray]]:
    """Label -> what was left out -> probability of every test impression, by rankers fitted without.

    Left out in turn: the real-time features, the interest network's score, the other sources' scores,
    the attributes.
    """
    matrix = trained.matrices["impressions"]
    models = trained.config.candidates.models
    network = {f"{PREFIX}{name}" for name, m in models.items() if m.use.endswith(NETWORK)}
    groups = {
        "without features": [c for c in matrix.columns if not c.startswith((PREFIX, "item_attr.", "user_attr."))],
        "without interest score": [c for c in matrix.columns if c in network],
        "without candidate scores": [c for c in matrix.columns if c.startswith(PREFIX) and c not in network],
        "without attributes": [c for c in matrix.columns if c.startswith(("item_attr.", "user_attr."))],
    }  # fmt: skip
    section = ranking_of(trained.config)
    found: dict[str, dict[str, np.ndarray]] = {label: {} for label in section.labels}
    for name, dropped in groups.items():
        if not dropped:
            continue
        kept = [place for place, column in enumerate(matrix.columns) if column not in dropped]
        columns = tuple(matrix.columns[place] for place in kept)
        part = Matrix(matrix.rows, columns, np.ascontiguousarray(matrix.value_NF[:, kept]))
        categorical = tuple(c for c in trained.categorical if c in columns)
        ranker = fit_rankers(section, {"impressions": part}, trained.folds, categorical)[
            "impressions"
        ]
        value_NF = np.ascontiguousarray(part.part(trained.folds, "test").value_NF)
        for label, p_N in ranker.probability(value_NF).items():
            found[label][name] = p_N
    return found


def full_lists(trained: Trained, user_B: np.ndarray, k: int) -> np.ndarray:
    """The lists that the pipeline gives at the begin of the test window, int64 [B, K].

    Args:
        trained: a finished training.
        user_B: users with at least one test target, as the comparison of models asks for.
        k: length.
    """
    rows = test_rows(trained, "lists")
    score_N = trained.rankers["lists"].score(np.ascontiguousarray(rows.value_NF))
    user_N, item_N = rows.rows.user_N, rows.rows.item_N
    order_N = np.lexsort((-score_N, user_N))
    user_N, item_N = user_N[order_N], item_N[order_N]
    first_N = np.searchsorted(user_N, user_N)
    place_N = np.arange(len(user_N)) - first_N
    row_N = np.searchsorted(user_B, user_N)
    known_N = (row_N < len(user_B)) & (user_B[np.minimum(row_N, len(user_B) - 1)] == user_N)
    keep_N = known_N & (place_N < k)
    item_BK = np.full((len(user_B), k), NO_ITEM, dtype=np.int64)
    item_BK[row_N[keep_N], place_N[keep_N]] = item_N[keep_N]
    return item_BK


def _ndcg(rows: Matrix, label_N: np.ndarray, score_N: np.ndarray) -> np.ndarray:
    """NDCG@10 of each list of impressions, NaN for a list without a positive: float64 [G]."""
    group_N = np.unique(rows.rows.group_N, return_inverse=True)[1]
    order_N = np.lexsort((-score_N, group_N))
    place_N = np.arange(len(order_N)) - np.searchsorted(group_N[order_N], group_N[order_N])
    lists, longest = int(group_N.max()) + 1, int(place_N.max()) + 1
    column_N = np.empty(len(order_N), dtype=np.int64)
    column_N[order_N] = place_N
    hit_N = label_N > 0
    truth = csr_array((label_N[hit_N], (group_N[hit_N], column_N[hit_N])), shape=(lists, longest))
    length_G = np.bincount(group_N)
    shown = np.arange(min(10, longest))
    item_GK = np.where(shown < length_G[:, None], shown, NO_ITEM)
    done = evaluate_lists(item_GK, truth, metrics=[NDCG()])
    value_G = done.per_user["ndcg@10"]
    return np.where(np.diff(truth.indptr) > 0, value_G, np.nan)


def _turned(result: Result) -> Result:
    """`baseline - model` from `model - baseline`."""
    return Result(
        -result.value, -result.high, -result.low, result.n, result.effective_n, result.label
    )
