"""XGBoost as an engine: histogram trees grown leaf by leaf.

Chen and Guestrin, "XGBoost: a scalable tree boosting system", KDD 2016. XGBoost keeps leaf values and
sums them in float32, hence margins of hundreds of trees carry an error of about 1e-6.

Shape: N examples, F features, G lists.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from muma.optional import require
from muma.ranking.engines.base import BoostedEngine, EngineConfig, list_sizes
from muma.ranking.ranker import Examples
from muma.ranking.trees import Tree, xgboost_trees


@cache
def _library() -> Any:
    """XGBoost, which brings others with it for a second or two: compiled trees do without it."""
    return require("xgboost", extra="rank")


_OBJECTIVE = {
    "binary": ("binary:logistic", "logloss"),
    "lambdarank": ("rank:ndcg", "ndcg@10"),
    "pairwise": ("rank:pairwise", "ndcg@10"),
}


class XGBoostConfig(EngineConfig):
    """Parameters of `XGBoostEngine`."""


class XGBoostEngine(BoostedEngine[XGBoostConfig]):
    """Gradient-boosted trees of XGBoost.

    A list of a rank loss has one weight: the mean of its examples' weights.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> value_NF = rng.random((400, 2), dtype=np.float32)
        >>> label_N = (value_NF[:, 0] > 0.5).astype(float)
        >>> examples = Examples(("a", "b"), value_NF, label_N, np.arange(400))
        >>> engine = XGBoostEngine(XGBoostConfig(trees=20)).fit(examples)
        >>> (engine.margin(np.array([[0.1, 0.5], [0.9, 0.5]], np.float32)) > 0).tolist()
        [False, True]
    """

    file = "model.json"

    def __init__(self, config: XGBoostConfig | None = None) -> None:
        super().__init__(config or XGBoostConfig())

    def trees(self) -> tuple[list[Tree], float]:
        """The fitted trees and the margin they start from."""
        return xgboost_trees(self._text or self._booster.save_raw("json"))

    def _learn(self, train: Examples, valid: Examples | None) -> None:
        rounds = self.config.early_stopping_rounds
        held_out = valid if rounds is not None else None
        data = self._matrix(train)
        stop = (
            [_library().callback.EarlyStopping(rounds=rounds, save_best=True)]
            if held_out is not None
            else []
        )
        evals = [(self._matrix(held_out, data), "valid")] if held_out is not None else []
        self._booster = self._trained(data, self.config.trees, evals=evals, callbacks=stop)

    def _learn_more(self, later: Examples) -> None:
        data = self._matrix(later)
        self._booster = self._trained(data, self.config.more_trees, xgb_model=self._booster)

    def _trained(self, data: Any, rounds: int, **options: Any) -> Any:
        booster = _library().train(self._params(), data, rounds, verbose_eval=False, **options)
        booster.set_attr(best_score=None, best_iteration=None)
        return booster

    def _params(self) -> dict[str, Any]:
        config = self.config
        objective, metric = _OBJECTIVE[config.objective]
        return {
            "objective": objective,
            "eval_metric": metric,
            "tree_method": "hist",
            "grow_policy": "lossguide",
            "max_leaves": config.leaves,
            "max_depth": config.depth,
            "learning_rate": config.learning_rate,
            "min_child_weight": config.min_hessian,
            "lambda": config.l2,
            "colsample_bytree": config.column_share,
            "subsample": config.row_share,
            "max_bin": config.bins,
            "monotone_constraints": tuple(self._monotone()),
            "nthread": config.threads,
            "device": config.device,
            "seed": config.seed,
            "verbosity": 0,
        }

    def _matrix(self, examples: Examples, like: Any = None) -> Any:
        """Binned examples; those of `valid` take the bins of `like`."""
        weight, size_G = examples.weight_N, None
        if self.config.objective != "binary":
            size_G = list_sizes(examples.group_N)
            if weight is not None:
                start_G = np.cumsum(size_G) - size_G
                weight = np.add.reduceat(weight, start_G) / size_G
        return _library().QuantileDMatrix(
            examples.value_NF,
            examples.label_N,
            weight=weight,
            group=size_G,
            ref=like,
            max_bin=self.config.bins,
            nthread=self.config.threads,
            **self._types(),
        )

    def _types(self) -> dict[str, Any]:
        if not self.config.categorical:
            return {}
        kinds = ["c" if name in self.config.categorical else "q" for name in self.columns]
        return {"feature_types": kinds, "enable_categorical": True}

    def _margin(self, value_NF: np.ndarray) -> np.ndarray:
        margin_N = self._booster.inplace_predict(
            value_NF, predict_type="margin", validate_features=False
        )
        return margin_N.astype(np.float64)

    def _contributions(self, value_NF: np.ndarray) -> np.ndarray:
        data = _library().DMatrix(value_NF, nthread=self.config.threads, **self._types())
        part_NF = self._booster.predict(data, pred_contribs=True, validate_features=False)
        return part_NF.astype(np.float64)

    def _write(self, path: Path) -> None:
        self._booster.save_model(path)

    def _parsed(self, text: str) -> Any:
        threads = {"nthread": self.config.threads}
        return _library().Booster(threads, model_file=bytearray(text, "utf-8"))
