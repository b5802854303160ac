"""Several labels, one order: a pair of engines for each label, their log-odds weighted and added.

    score = sum over labels of weight_l * m_l

A sum of log-odds stays a sum over features, hence the whole score is explained, not each label alone.
Position is a feature in training and fixed in serving, so that what the place gave is not credited to
the item; examples may carry inverse examination propensities as weights (`propensity.py`).

Shape: N candidates, F features.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Self

import numpy as np
from pydantic import Field
from scipy.special import expit

from muma.artifact import Artifact, Writer
from muma.candidates.storage import artifact_within, load_config, save_config, writer_within
from muma.config import Config
from muma.errors import ConfigError, DataError, NotFittedError
from muma.progress import track
from muma.ranking.engines.base import checked_rows
from muma.ranking.pair import Pair, PairConfig
from muma.ranking.ranker import Examples, Slate

_COLUMNS = "columns.json"


class MultiRankerConfig(Config):
    """Parameters of `MultiRanker`.

    Attributes:
        labels: weight of each label in the score.
        fixed: feature -> the value it has in serving, whatever the rows say (position = 1).
        drop: features not to learn from.
        pair: parameters of every label's pair.
    """

    labels: dict[str, float] = Field(
        default={"click": 1.0, "long_view": 0.5, "like": 0.2}, min_length=1
    )
    fixed: dict[str, float] = {}
    drop: tuple[str, ...] = ()
    pair: PairConfig = PairConfig()


class MultiRanker:
    """Ranks candidates by the weighted log-odds of several labels."""

    def __init__(self, config: MultiRankerConfig | None = None) -> None:
        self.config = config or MultiRankerConfig()
        self.pairs: dict[str, Pair] = {}
        self._columns: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the features that `rank` wants, in order: those of training without `drop`.

        Raises:
            NotFittedError: the ranker was not fitted.
        """
        if not self.pairs:
            raise NotFittedError("MultiRanker is not fitted; call fit first")
        return self._columns

    def fit(
        self,
        train: Mapping[str, Examples],
        valid: Mapping[str, Examples] | None = None,
        later: Mapping[str, Examples] | None = None,
    ) -> Self:
        """Fit the pair of every label; see `Pair.fit` for the three folds.

        Args:
            train: label -> examples, all with the same columns.
            valid: later in time, for early stopping.
            later: later still, for calibration and alpha.

        Raises:
            ConfigError: `fixed` or `drop` names a feature that the examples have not.
            DataError: examples of a label are missing, or columns differ.
        """
        valid, later = valid or {}, later or {}
        columns = self._kept(train)
        pairs = {}
        for label in track(self.config.labels, label="rankers"):
            folds = [
                fold[label].only(columns) if label in fold else None
                for fold in (train, valid, later)
            ]
            learned, stopped, judged = folds
            if learned is None:
                raise DataError(f"there are no examples of label {label!r}; got {[*train]}")
            pairs[label] = Pair(self.config.pair).fit(learned, stopped, judged)
        self.pairs, self._columns = pairs, columns
        self._fix()
        return self

    def served(self, value_NF: np.ndarray) -> np.ndarray:
        """Rows as they are judged in serving: fixed features have their fixed values.

        Raises:
            DataError: wrong width, wrong type or infinite values.
        """
        rows_NF = checked_rows(value_NF, len(self.columns))
        if len(self._place):
            rows_NF = rows_NF.copy()
            rows_NF[:, self._place] = self._value
        return rows_NF

    def score(self, value_NF: np.ndarray) -> np.ndarray:
        """Scores of rows in serving: float64 [N], a weighted sum of log-odds."""
        return self._score(self._margins(self.served(value_NF)))

    def probability(self, value_NF: np.ndarray) -> dict[str, np.ndarray]:
        """Calibrated probability of every label in serving: label -> float64 [N]."""
        return {name: expit(m_N) for name, m_N in self._margins(self.served(value_NF)).items()}

    def rank(self, value_NF: np.ndarray, item_N: np.ndarray) -> Slate:
        """Order candidates, best first; equal scores stay in the order given.

        Args:
            value_NF: float32 [N, F], C-contiguous, columns as in `columns`.
            item_N: dense item index of each row.

        Raises:
            DataError: wrong shapes or infinite values.
        """
        if item_N.shape != (len(value_NF),):
            raise DataError(
                f"item_N has shape {item_N.shape}, value_NF has {len(value_NF)} rows; give one item "
                "a row"
            )
        rows_NF = self.served(value_NF)
        margins = self._margins(rows_NF)
        score_N = self._score(margins)
        order_N = np.argsort(-score_N, kind="stable")
        return Slate(
            item_N=item_N[order_N],
            score_N=score_N[order_N],
            value_NF=rows_NF[order_N],
            columns=self.columns,
            probability={name: expit(margin_N[order_N]) for name, margin_N in margins.items()},
            attribute=self.attribute,
        )

    def attribute(self, value_NF: np.ndarray) -> np.ndarray:
        """Each feature's part of the score: float64 [N, F + 1], the base value last.

        Raises:
            ConfigError: the fusion is `"literal"`, which has no attributions.
        """
        rows_NF = self.served(value_NF)
        parts = [
            weight * self.pairs[label].contributions(rows_NF)
            for label, weight in self.config.labels.items()
        ]
        return np.sum(parts, axis=0)

    def save(self, writer: Writer) -> None:
        """Write config, columns and every pair."""
        columns = json.dumps(self.columns, indent=1)
        save_config(writer, self.config)
        writer.path(_COLUMNS).write_text(columns, encoding="utf-8")
        for place, label in enumerate(self.config.labels):
            self.pairs[label].save(writer_within(writer, f"label-{place}"))

    @classmethod
    def load(cls, artifact: Artifact) -> Self:
        """Read what `save` wrote."""
        ranker = cls(load_config(artifact, MultiRankerConfig))
        ranker._columns = tuple(json.loads(artifact.path(_COLUMNS).read_text(encoding="utf-8")))
        ranker.pairs = {
            label: Pair.load(artifact_within(artifact, f"label-{place}"))
            for place, label in enumerate(ranker.config.labels)
        }
        ranker._fix()
        return ranker

    def _margins(self, rows_NF: np.ndarray) -> dict[str, np.ndarray]:
        return {label: pair.margin(rows_NF) for label, pair in self.pairs.items()}

    def _score(self, margins: Mapping[str, np.ndarray]) -> np.ndarray:
        parts = [weight * margins[label] for label, weight in self.config.labels.items()]
        return np.sum(parts, axis=0)

    def _fix(self) -> None:
        self._place = np.array([self._columns.index(n) for n in self.config.fixed], dtype=np.int64)
        self._value = np.array([*self.config.fixed.values()], dtype=np.float32)

    def _kept(self, train: Mapping[str, Examples]) -> tuple[str, ...]:
        if not train:
            raise DataError("there are no examples; give label -> examples")
        names = next(iter(train.values())).columns
        for label, examples in train.items():
            if examples.columns != names:
                raise DataError(f"examples of {label!r} have other columns than the first label's")
        for role in ("drop", "fixed"):
            if unknown := sorted(set(getattr(self.config, role)) - set(names)):
                raise ConfigError(f"{role} names {unknown}, which the examples have not")
        if both := sorted(set(self.config.drop) & set(self.config.fixed)):
            raise ConfigError(f"{both} are both dropped and fixed; choose one")
        return tuple(name for name in names if name not in self.config.drop)
