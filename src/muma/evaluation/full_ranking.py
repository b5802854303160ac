"""Rank the whole catalogue for every user, block by block, and measure the lists.

Only one block of dense scores exists at a time; what stays are the lists and one number per user
and metric. Negative sampling is not offered: sampled metrics rank models differently from full ones
(Krichene and Rendle, KDD 2020).

Shape: B users, b users of a block, I items, K list length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from muma import progress
from muma.errors import ConfigError, DataError
from muma.evaluation.intervals import bootstrap_means
from muma.evaluation.metric import AggregateMetric, Context, Metric, RankedLists, UserMetric, dims
from muma.evaluation.result import Result
from muma.topk import top_k


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes:
        per_user: per-user values [B] by metric name; NaN where undefined.
        aggregate: metrics of all lists together, by name.
        item_BK: the lists that were measured, -1 for empty slots.
    """

    per_user: Mapping[str, np.ndarray]
    aggregate: Mapping[str, float]
    item_BK: np.ndarray

    def results(
        self, *, seed: int, n_resamples: int = 2000, level: float = 0.95
    ) -> dict[str, Result]:
        """Means with bootstrap intervals over users, and the aggregates without an interval.

        Args:
            seed: the run's seed.
            n_resamples: bootstrap resamples, shared by all metrics.
            level: confidence level.
        """
        found = bootstrap_means(self.per_user, seed=seed, n_resamples=n_resamples, level=level)
        n, nan = len(self.item_BK), float("nan")
        for name, value in self.aggregate.items():
            found[name] = Result(value, nan, nan, n=n, effective_n=float(n), label=name)
        return found


def evaluate(
    score_block: Callable[[np.ndarray], np.ndarray],
    user_B: np.ndarray,
    truth: csr_array,
    *,
    metrics: Sequence[Metric],
    exclude: csr_array | None = None,
    k_max: int | None = None,
    block: int = 1024,
    context: Context | None = None,
) -> Evaluation:
    """Score, rank and measure every user of `user_B` against the whole catalogue.

    Args:
        score_block: from user indices [b] to scores [b, I]; NaN and -inf are never listed.
        user_B: users to measure; row r of `truth` and `exclude` belongs to `user_B[r]`.
        truth: positive gains [B, I].
        metrics: what to measure; their names must differ.
        exclude: boolean [B, I], items not to list (seen in training, say).
        k_max: length of the lists; the largest k of the metrics if None.
        block: users scored at once.
        context: popularity, features and watch gains for metrics beyond accuracy.

    Raises:
        ConfigError: `k_max` is below a metric's k, `block` below 1, or two metrics share a name.
        DataError: shapes disagree.

    Example:
        >>> from muma.evaluation.metrics.recall import Recall, RecallConfig
        >>> scores = np.array([[0.1, 0.9, 0.5]])
        >>> done = evaluate(lambda user_b: scores[user_b], np.array([0]), csr_array([[0, 1, 1]]),
        ...                 metrics=[Recall(RecallConfig(k=1))])
        >>> done.per_user["recall@1"].tolist(), done.item_BK.tolist()
        ([0.5], [[1]])
    """
    deepest = max((metric.k for metric in metrics), default=1)
    k_max = deepest if k_max is None else k_max
    if k_max < deepest or block < 1:
        raise ConfigError(
            f"k_max is {k_max} and block {block}; allowed are at least {deepest} (the deepest "
            "metric) and at least 1"
        )
    shape = (len(user_B), dims(truth)[1])
    for name, table in (("truth", truth), ("exclude", exclude)):
        if table is not None and table.shape != shape:
            raise DataError(f"{name} has shape {table.shape}; {shape} is needed, a row per user")
    item_BK = np.full((len(user_B), k_max), -1, dtype=np.int64)
    with progress.task("full ranking", total=len(user_B)) as bar:
        for start in range(0, len(user_B), block):
            user_b = user_B[start : start + block]
            score_bI = score_block(user_b)
            if score_bI.shape != (len(user_b), shape[1]):
                raise DataError(
                    f"scores have shape {score_bI.shape}; {(len(user_b), shape[1])} is needed"
                )
            masked = None if exclude is None else exclude[start : start + block]
            item_BK[start : start + block] = top_k(score_bI, k_max, masked)[0]
            bar.advance(len(user_b))
    return evaluate_lists(item_BK, truth, metrics=metrics, context=context)


def evaluate_lists(
    item_BK: np.ndarray,
    truth: csr_array,
    *,
    metrics: Sequence[Metric],
    context: Context | None = None,
) -> Evaluation:
    """Measure lists that exist already; a list shorter than a metric's k has empty slots.

    Raises:
        ConfigError: two metrics share a name, or one is no metric.
        DataError: the lists or the truth are not as `RankedLists` wants them.

    Example:
        >>> from muma.evaluation.metrics.coverage import Coverage
        >>> evaluate_lists(np.array([[0, 1]]), csr_array([[0, 1, 0, 0]]),
        ...                metrics=[Coverage()]).aggregate
        {'coverage@10': 0.5}
    """
    names = [metric.name for metric in metrics]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ConfigError(f"metrics are named twice: {', '.join(twice)}")
    lists = RankedLists(item_BK, truth, context or Context())
    per_user: dict[str, np.ndarray] = {}
    aggregate: dict[str, float] = {}
    for metric in metrics:
        if isinstance(metric, UserMetric):
            per_user[metric.name] = metric.per_user(lists)
        elif isinstance(metric, AggregateMetric):
            aggregate[metric.name] = metric.aggregate(lists)
        else:
            raise ConfigError(f"{metric!r} has neither per_user nor aggregate; it is no metric")
    return Evaluation(per_user, aggregate, item_BK)
