"""LightGBM as an engine: histogram trees grown leaf by leaf.

Ke et al., "LightGBM: a highly efficient gradient boosting decision tree", NeurIPS 2017. Everything is
float64; `deterministic` and one layout of the histograms make fits repeatable bit for bit.

Shape: N examples, F features.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from muma.optional import require
from muma.ranking.engines.base import BoostedEngine, EngineConfig, list_sizes
from muma.ranking.ranker import Examples
from muma.ranking.trees import Tree, lightgbm_trees


@cache
def _library() -> Any:
    """LightGBM, which brings others with it for a second or two: compiled trees do without it."""
    return require("lightgbm", extra="rank")


_OBJECTIVE = {"binary": ("binary", "binary_logloss"), "lambdarank": ("lambdarank", "ndcg")}


class LightGBMConfig(EngineConfig):
    """Parameters of `LightGBMEngine`.

    Attributes:
        min_examples: fewest examples in a leaf.
    """

    min_examples: int = Field(default=20, ge=1)
    min_hessian: float = Field(default=1e-3, ge=0)

    @field_validator("objective")
    @classmethod
    def _offered(cls, objective: str) -> str:
        if objective not in _OBJECTIVE:
            raise ValueError(f"LightGBM has no objective {objective!r}; allowed: {[*_OBJECTIVE]}")
        return objective


class LightGBMEngine(BoostedEngine[LightGBMConfig]):
    """Gradient-boosted trees of LightGBM.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> value_NF = rng.random((400, 2), dtype=np.float32)
        >>> label_N = (value_NF[:, 0] > 0.5).astype(float)
        >>> examples = Examples(("a", "b"), value_NF, label_N, np.arange(400))
        >>> engine = LightGBMEngine(LightGBMConfig(trees=20)).fit(examples)
        >>> (engine.margin(np.array([[0.1, 0.5], [0.9, 0.5]], np.float32)) > 0).tolist()
        [False, True]
    """

    file = "model.txt"

    def __init__(self, config: LightGBMConfig | None = None) -> None:
        super().__init__(config or LightGBMConfig())

    def trees(self) -> tuple[list[Tree], float]:
        """The fitted trees and the margin they start from (LightGBM's is in its first tree)."""
        text = self._text or self._booster.model_to_string(num_iteration=-1)
        return lightgbm_trees(text), 0.0

    def _learn(self, train: Examples, valid: Examples | None) -> None:
        rounds = self.config.early_stopping_rounds
        held_out = valid if rounds is not None else None
        data = self._dataset(train)
        stop = [_library().early_stopping(rounds, verbose=False)] if held_out is not None else []
        sets = [self._dataset(held_out, data)] if held_out is not None else []
        booster = _library().train(
            self._params(), data, self.config.trees, valid_sets=sets, callbacks=stop
        )
        self._keep(booster.model_to_string(num_iteration=booster.best_iteration))

    def _learn_more(self, later: Examples) -> None:
        data = self._dataset(later)
        more = _library().train(
            self._params(), data, self.config.more_trees, init_model=self._booster
        )
        self._keep(more.model_to_string(num_iteration=-1))

    def _keep(self, text: str) -> None:
        """Hold the model as it would be loaded, without its training data."""
        self._text = text

    def _params(self) -> dict[str, Any]:
        config = self.config
        objective, metric = _OBJECTIVE[config.objective]
        return {
            "objective": objective,
            "metric": metric,
            "eval_at": [10],
            "num_leaves": config.leaves,
            "max_depth": config.depth or -1,
            "learning_rate": config.learning_rate,
            "min_data_in_leaf": config.min_examples,
            "min_sum_hessian_in_leaf": config.min_hessian,
            "lambda_l2": config.l2,
            "feature_fraction": config.column_share,
            "bagging_fraction": config.row_share,
            "bagging_freq": 1 if config.row_share < 1 else 0,
            "max_bin": config.bins,
            "monotone_constraints": self._monotone(),
            "num_threads": config.threads,
            "device_type": config.device,
            "seed": config.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }

    def _dataset(self, examples: Examples, like: Any = None) -> Any:
        """Binned examples; those of `valid` take the bins of `like`."""
        config = self.config
        ranked = config.objective != "binary"
        return _library().Dataset(
            examples.value_NF,
            examples.label_N,
            weight=examples.weight_N,
            group=list_sizes(examples.group_N) if ranked else None,
            reference=like,
            categorical_feature=[self.columns.index(name) for name in config.categorical],
            params={"verbosity": -1, "max_bin": config.bins, "num_threads": config.threads},
        )

    def _margin(self, value_NF: np.ndarray) -> np.ndarray:
        threads = self.config.threads
        return self._booster.predict(value_NF, raw_score=True, num_threads=threads)

    def _contributions(self, value_NF: np.ndarray) -> np.ndarray:
        threads = self.config.threads
        return self._booster.predict(value_NF, pred_contrib=True, num_threads=threads)

    def _write(self, path: Path) -> None:
        self._booster.save_model(path, num_iteration=-1)

    def _parsed(self, text: str) -> Any:
        return _library().Booster(model_str=text)
