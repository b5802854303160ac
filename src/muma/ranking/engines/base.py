"""What both engines share: their config, the checks of examples, how they lie in an artifact.

Shape: N examples, F features, G lists.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

import numpy as np
from pydantic import Field, model_validator

from muma.artifact import Artifact, Writer
from muma.candidates.storage import load_config, save_config
from muma.config import Config, config_type
from muma.errors import ConfigError, DataError, NotFittedError
from muma.ranking.flat_trees import MOST_LEAVES, FlatTrees, flatten
from muma.ranking.ranker import Examples
from muma.ranking.tree_shap import TreeShap, explainer
from muma.ranking.trees import Tree

_LARGEST_CATEGORY = 65_535
_LARGEST_GRADE = 30


class EngineConfig(Config):
    """Parameters of a gradient-boosted engine.

    Attributes:
        objective: `"binary"` learns log-odds of a 0/1 label; `"lambdarank"` orders each list by NDCG,
            `"pairwise"` by RankNet's loss on its pairs (XGBoost alone).
        trees: trees to grow at most.
        more_trees: trees that `fit_more` adds.
        leaves: leaves of a tree at most; trees grow leaf by leaf, best gain first.
        depth: depth of a tree at most; 0 leaves it free.
        learning_rate: shrinkage of each tree.
        min_hessian: smallest sum of second derivatives in a leaf.
        l2: penalty on leaf values.
        column_share: share of the features tried for each tree.
        row_share: share of the examples drawn for each tree.
        bins: histogram bins of a feature at most.
        increasing: features whose growth may only raise the margin.
        decreasing: features whose growth may only lower it.
        categorical: features that are category codes: integers from 0, NaN when unknown.
        early_stopping_rounds: rounds without progress on `valid` before stopping; None never stops.
        threads: threads to use, in learning and in scoring.
        device: `"cuda"` needs a build of the library with GPU support.
        seed: of every draw; the same seed gives the same bits.
    """

    objective: Literal["binary", "lambdarank", "pairwise"] = "binary"
    trees: int = Field(default=300, ge=1)
    more_trees: int = Field(default=50, ge=1)
    leaves: int = Field(default=31, ge=2)
    depth: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=0.1, gt=0, le=1)
    min_hessian: float = Field(default=1.0, ge=0)
    l2: float = Field(default=1.0, ge=0)
    column_share: float = Field(default=1.0, gt=0, le=1)
    row_share: float = Field(default=1.0, gt=0, le=1)
    bins: int = Field(default=255, ge=2)
    increasing: tuple[str, ...] = ()
    decreasing: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    early_stopping_rounds: int | None = Field(default=30, ge=1)
    threads: int = Field(default=1, ge=1)
    device: Literal["cpu", "cuda"] = "cpu"
    seed: int = 0

    @model_validator(mode="after")
    def _one_role_each(self) -> Self:
        named = [*self.increasing, *self.decreasing, *self.categorical]
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(
                f"{twice} stand more than once in increasing, decreasing and categorical; "
                "name each feature once"
            )
        return self


C = TypeVar("C", bound=EngineConfig)


class BoostedEngine(ABC, Generic[C]):
    """An engine without its library: checks, columns, saving.

    A subclass learns (`_learn`), scores (`_margin`), explains (`_contributions`), and writes and
    parses its library's own text file (`_write`, `_parsed`).
    """

    file: ClassVar[str]

    def __init__(self, config: C) -> None:
        self.config = config
        self._text: str | None = None  # of a model that was read and not handed to the library yet
        self._held: Any = None
        self._flat: FlatTrees | None = None
        self._shap: TreeShap | None = None
        self._columns: tuple[str, ...] | None = None

    @property
    def booster(self) -> Any:
        """The library's own model, once fitted."""
        return self._booster

    @property
    def _booster(self) -> Any:
        if self._text is not None:
            self._held, self._text = self._parsed(self._text), None
        return self._held

    @_booster.setter
    def _booster(self, booster: Any) -> None:
        self._held, self._text = booster, None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the features the engine was fitted on.

        Raises:
            NotFittedError: it was not fitted.
        """
        if self._columns is None:
            raise NotFittedError(f"{type(self).__name__} is not fitted; call fit first")
        return self._columns

    def fit(self, train: Examples, valid: Examples | None = None) -> Self:
        """Learn from `train`; stop early by `valid`, which is later in time, and keep its best round.

        Raises:
            ConfigError: the config names a feature that there is not.
            DataError: the examples cannot be learned from.
        """
        self._check(train, "train")
        if valid is not None:
            self._check(valid, "valid", wanted=train.columns)
        self._columns = train.columns
        self._learn(train, valid)
        self._flatten()
        return self

    def fit_more(self, later: Examples) -> Self:
        """Grow `more_trees` new trees on later examples, on top of the old trees, which stay.

        Raises:
            DataError: the examples cannot be learned from, or have other columns.
            NotFittedError: it was not fitted.
        """
        self._check(later, "later", wanted=self.columns)
        self._learn_more(later)
        self._flatten()
        return self

    def margin(self, value_NF: np.ndarray) -> np.ndarray:
        """Margins of rows: float64 [N].

        Trees of up to 64 leaves are scored by the compiled kernel of `flat_trees`, larger ones by the
        library (`library_margin`).

        Raises:
            DataError: wrong width, wrong type or infinite values.
            NotFittedError: it was not fitted.
        """
        rows_NF = checked_rows(value_NF, len(self.columns))
        if self._flat is not None:
            return self._flat.margin(rows_NF)
        return self._margin(rows_NF) if len(rows_NF) else np.zeros(0)

    def library_margin(self, value_NF: np.ndarray) -> np.ndarray:
        """The same by the library's own code, in its own precision: float64 [N]."""
        rows_NF = checked_rows(value_NF, len(self.columns))
        return self._margin(rows_NF) if len(rows_NF) else np.zeros(0)

    def contributions(self, value_NF: np.ndarray) -> np.ndarray:
        """Exact path-dependent TreeSHAP of the margin: float64 [N, F + 1], the base value last.

        Rows sum to `margin` up to rounding. Lundberg et al., "From local explanations to global
        understanding with explainable AI for trees", 2020, algorithm 2.

        Raises:
            DataError: wrong width, wrong type or infinite values.
            NotFittedError: it was not fitted.
        """
        rows_NF = checked_rows(value_NF, width := len(self.columns))
        if self._shap is None and self._flat is not None:
            self._shap = explainer(self.trees()[0], self._flat)
        if self._shap is not None:
            return self._shap.contributions(rows_NF)
        return self._contributions(rows_NF) if len(rows_NF) else np.zeros((0, width + 1))

    def library_contributions(self, value_NF: np.ndarray) -> np.ndarray:
        """The same by the library's own code, in its own precision: float64 [N, F + 1]."""
        rows_NF = checked_rows(value_NF, width := len(self.columns))
        return self._contributions(rows_NF) if len(rows_NF) else np.zeros((0, width + 1))

    def save(self, writer: Writer) -> None:
        """Write config, columns and the model in the library's own text format."""
        columns = json.dumps(self.columns, indent=1)
        save_config(writer, self.config)
        writer.path("columns.json").write_text(columns, encoding="utf-8")
        self._write(writer.path(self.file))

    @classmethod
    def load(cls, artifact: Artifact) -> Self:
        """Read what `save` wrote."""
        config: Any = load_config(artifact, config_type(cls))
        engine = cls(config)
        engine._columns = tuple(json.loads(artifact.path("columns.json").read_text("utf-8")))
        engine._text = artifact.path(cls.file).read_text(encoding="utf-8")
        engine._flatten()
        return engine

    @abstractmethod
    def _learn(self, train: Examples, valid: Examples | None) -> None: ...

    @abstractmethod
    def _learn_more(self, later: Examples) -> None: ...

    @abstractmethod
    def _margin(self, value_NF: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def _contributions(self, value_NF: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def _write(self, path: Path) -> None: ...

    @abstractmethod
    def _parsed(self, text: str) -> Any:
        """The library's model; asked for only when compiled trees are not enough."""

    @abstractmethod
    def trees(self) -> tuple[list[Tree], float]:
        """The fitted trees and the margin they start from."""

    def _flatten(self) -> None:
        trees, base = self.trees()
        small = max((tree.leaves for tree in trees), default=1) <= MOST_LEAVES
        self._flat = flatten(trees, base, len(self.columns)) if small else None
        self._shap = None  # made when first asked for

    def _monotone(self) -> list[int]:
        """Sign of each feature's constraint: 1, -1 or 0."""
        up, down = set(self.config.increasing), set(self.config.decreasing)
        return [(name in up) - (name in down) for name in self.columns]

    def _check(
        self, examples: Examples, what: str, *, wanted: tuple[str, ...] | None = None
    ) -> None:
        if wanted is not None and examples.columns != wanted:
            raise DataError(
                f"{what}: the columns differ from those fitted; give them in that order"
            )
        check_examples(examples, what, ranked=self.config.objective != "binary")
        config = self.config
        for role in ("increasing", "decreasing", "categorical"):
            if unknown := sorted(set(getattr(config, role)) - set(examples.columns)):
                raise ConfigError(
                    f"{role} names {unknown}, which the examples have not; they have "
                    f"{', '.join(examples.columns[:20])}{' ...' if len(examples.columns) > 20 else ''}"
                )
        for name in config.categorical:
            value_N = examples.value_NF[:, examples.columns.index(name)]
            code_N = value_N[~np.isnan(value_N)]
            if np.any((code_N < 0) | (code_N > _LARGEST_CATEGORY) | (code_N != np.floor(code_N))):
                raise DataError(
                    f"{what}: categorical feature {name!r} has values that are no codes; allowed "
                    f"are integers from 0 to {_LARGEST_CATEGORY:,} and NaN"
                )


def checked_rows(value_NF: np.ndarray, width: int) -> np.ndarray:
    """Rows of features as a C-contiguous float32 block.

    Raises:
        DataError: the block has another width or type, or holds infinite values.
    """
    if value_NF.ndim != 2 or value_NF.shape[1] != width or value_NF.dtype.kind not in "fiu":
        raise DataError(
            f"features have shape {value_NF.shape} and type {value_NF.dtype}; the model was fitted "
            f"on {width} columns: give float32 [N, {width}]"
        )
    if np.isinf(value_NF).any():
        raise DataError("features hold infinite values; write NaN where a value is missing")
    return np.ascontiguousarray(value_NF, dtype=np.float32)


def check_examples(examples: Examples, what: str, *, ranked: bool) -> None:
    """Refuse examples that nothing can be learned from.

    Raises:
        DataError: there are none, shapes differ, a value is infinite, a label or a weight is not
            allowed, all labels are the same, or the examples of a list lie apart.
    """
    n, columns = len(examples), examples.columns
    if n == 0:
        raise DataError(f"{what}: there are no examples; give at least two of different labels")
    if len(set(columns)) < len(columns):
        raise DataError(f"{what}: column names are not unique; rename the doubled ones")
    weight_N = np.ones(n) if examples.weight_N is None else examples.weight_N
    for name, array, shape in (
        ("value_NF", examples.value_NF, (n, len(columns))),
        ("group_N", examples.group_N, (n,)),
        ("weight_N", weight_N, (n,)),
    ):
        if array.shape != shape:
            raise DataError(f"{what}: {name} has shape {array.shape}, it must be {shape}")
    bad_f = np.flatnonzero(np.isinf(examples.value_NF).any(axis=0))
    if len(bad_f):
        names = [columns[place] for place in bad_f]
        raise DataError(f"{what}: infinite values in {names[:5]}; write NaN for a missing value")
    if not np.all(np.isfinite(weight_N) & (weight_N >= 0)) or weight_N.sum() <= 0:
        raise DataError(f"{what}: weights must be finite, not negative, and not all zero")
    list_sizes(examples.group_N, what)
    _check_labels(examples, what, ranked=ranked)


def list_sizes(group_N: np.ndarray, what: str = "examples") -> np.ndarray:
    """Number of examples of each list, in order: int64 [G].

    Raises:
        DataError: examples of one list lie apart.
    """
    start_G = np.flatnonzero(np.r_[True, group_N[1:] != group_N[:-1]])
    if len(np.unique(group_N)) < len(start_G):
        raise DataError(
            f"{what}: examples of one list lie apart; sort them by group_N before fitting"
        )
    return np.diff(np.r_[start_G, len(group_N)])


def _check_labels(examples: Examples, what: str, *, ranked: bool) -> None:
    label_N = examples.label_N
    top = _LARGEST_GRADE if ranked else 1
    allowed = np.isfinite(label_N) & (label_N >= 0) & (label_N <= top)
    if not np.all(allowed & (label_N == np.floor(label_N))):
        kind = f"grades, integers from 0 to {top}" if ranked else "0 or 1"
        raise DataError(f"{what}: labels must be {kind}; got {label_N[~allowed][:3].tolist()}")
    same = label_N[1:] == label_N[:-1]
    if ranked:
        same = same | (examples.group_N[1:] != examples.group_N[:-1])
    if same.all():
        where = "in every list" if ranked else "of all examples"
        raise DataError(
            f"{what}: the label {where} is the same; there is nothing to learn from. Give examples "
            "of both kinds"
        )
