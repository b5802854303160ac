"""The contract of this room: `Examples` in, `Slate` out; arrays on both sides.

An engine learns one label and speaks in margins: log-odds for a binary label, an unbounded score for a
rank loss. Margins add up, so attributions do (eq. 21); probabilities are made only at the end.

Shape: N examples or candidates, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np

from muma.artifact import Artifact, Writer
from muma.errors import NotFittedError


@dataclass(frozen=True)
class Examples:
    """What an engine learns from.

    Attributes:
        columns: names of the F features, unique.
        value_NF: float32 [N, F], C-contiguous; NaN is a missing value.
        label_N: float64 [N], 0 or 1 for a binary label, a grade (0, 1, 2 ...) for a rank loss.
        group_N: int64 [N], which list an example belongs to; examples of one list lie together.
        weight_N: float64 [N], importance, 1 for all by default.
    """

    columns: tuple[str, ...]
    value_NF: np.ndarray
    label_N: np.ndarray
    group_N: np.ndarray
    weight_N: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.label_N)

    def rows(self, keep_N: np.ndarray) -> Examples:
        """Some of the examples; `keep_N` is a mask or an index that keeps lists together."""
        weight = None if self.weight_N is None else self.weight_N[keep_N]
        return Examples(
            self.columns,
            np.ascontiguousarray(self.value_NF[keep_N]),
            self.label_N[keep_N],
            self.group_N[keep_N],
            weight,
        )

    def only(self, columns: tuple[str, ...]) -> Examples:
        """The same examples with some of the features, in the order given."""
        place = [self.columns.index(name) for name in columns]
        return replace(
            self, columns=columns, value_NF=np.ascontiguousarray(self.value_NF[:, place])
        )


class Engine(Protocol):
    """One gradient-boosted model of one label (eq. 19)."""

    def fit(self, train: Examples, valid: Examples | None = None) -> Self:
        """Learn from `train` and return self; stop early by `valid`, which is later in time.

        Raises:
            DataError: there are no examples, one class only, or values that are infinite.
        """
        ...

    def fit_more(self, later: Examples) -> Self:
        """Go on with later examples: new trees on top of the old ones."""
        ...

    def margin(self, value_NF: np.ndarray) -> np.ndarray:
        """Margins of rows: float64 [N].

        Args:
            value_NF: float32 [N, F], C-contiguous, columns as in training.
        """
        ...

    def contributions(self, value_NF: np.ndarray) -> np.ndarray:
        """Exact TreeSHAP of the margin: float64 [N, F + 1], the base value last; rows sum to it."""
        ...

    def save(self, writer: Writer) -> None:
        """Write the model in the library's own text format."""
        ...

    @classmethod
    def load(cls, artifact: Artifact) -> Self:
        """Read what `save` wrote."""
        ...


Attribute = Callable[[np.ndarray], np.ndarray]
"""float32 [n, F] -> float64 [n, F + 1]: each feature's part of the score, the base last."""


@dataclass(frozen=True)
class Slate:
    """Candidates in order, with what they were judged by.

    Attributes:
        item_N: dense item indices, best first.
        score_N: the score that ordered them, float64; a sum of log-odds.
        value_NF: float32 [N, F], the features behind each, in the same order.
        columns: names of the features.
        probability: label -> calibrated probability, float64 [N].
        attribute: explains rows of features; None for candidates that no ranker stands behind.
    """

    item_N: np.ndarray
    score_N: np.ndarray
    value_NF: np.ndarray
    columns: tuple[str, ...]
    probability: dict[str, np.ndarray]
    attribute: Attribute | None = None

    def __len__(self) -> int:
        """Number of candidates."""
        return len(self.item_N)

    @classmethod
    def plain(
        cls,
        item_N: np.ndarray,
        score_N: np.ndarray | None = None,
        value_NF: np.ndarray | None = None,
        columns: tuple[str, ...] = (),
    ) -> Slate:
        """Candidates without a ranker: scores are 0 and features none unless given.

        Example:
            >>> len(Slate.plain(np.arange(3)))
            3
        """
        n = len(item_N)
        return cls(
            np.asarray(item_N, dtype=np.int64),
            np.zeros(n) if score_N is None else np.asarray(score_N, dtype=np.float64),
            np.zeros((n, len(columns)), np.float32) if value_NF is None else value_NF,
            columns,
            {},
        )

    def attributions(self, first: int | None = None) -> np.ndarray:
        """Parts of the scores of the `first` candidates (None: all): float64 [n, F + 1], base last.

        Raises:
            NotFittedError: no ranker stands behind the candidates.
        """
        return self.explained(self.value_NF[:first])

    @property
    def explained(self) -> Attribute:
        """`attribute`, for those who cannot do without.

        Raises:
            NotFittedError: no ranker stands behind the candidates.
        """
        if self.attribute is None:
            raise NotFittedError(
                "these candidates were not ranked by a model; nothing to attribute"
            )
        return self.attribute

    def take(self, place_n: np.ndarray) -> Slate:
        """The candidates at some places, in that order: what a re-ranker returns."""
        return replace(
            self,
            item_N=self.item_N[place_n],
            score_N=self.score_N[place_n],
            value_NF=self.value_NF[place_n],
            probability={name: p_N[place_n] for name, p_N in self.probability.items()},
        )
